import numpy as np

from lookbehind.atlas.palette import HATCH, PAPER, lightness, ramp


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
