import numpy as np

from lookbehind.atlas.palette import HATCH, PAPER, ramp


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours [..., 3], 0 (black) to 100 (white)."""
    linear = np.asarray(colours, dtype=np.float64) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_lightness_falls_evenly_so_that_no_colour_vision_is_needed():
    steps = np.diff(lightness(ramp(10)))
    assert (steps < 0).all()
    assert steps.max() - steps.min() < 2.0


def test_paper_and_hatching_are_not_on_the_ramp():
    colours = {tuple(colour) for colour in ramp().tolist()}
    assert PAPER not in colours
    assert HATCH not in colours


def test_a_ramp_has_as_many_steps_as_asked():
    assert ramp(17).shape == (17, 3)
    assert ramp(17).dtype == np.uint8
