import numpy as np
import pytest

from lookbehind.atlas.scale import Scale, tick_text
from lookbehind.errors import InputError


def test_equal_factors_are_equal_steps():
    places = Scale(1e-4, 1.0).place(np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0], dtype=np.float32))
    np.testing.assert_allclose(places, [0, 0.25, 0.5, 0.75, 1], atol=1e-6)


def test_what_lies_outside_is_drawn_as_the_end_and_nan_stays_nan():
    places = Scale(0.01, 0.1).place(np.array([0.0, 1e-9, 0.5, np.nan], dtype=np.float32))
    np.testing.assert_array_equal(places, [0, 0, 1, np.nan])


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1.0], 0.1, 1.0),
        ([0.3, 0.03], 0.02, 0.5),
        ([1.0] + [1e-9] * 99, 1e-4, 1.0),
        ([0.0, np.nan], 1e-4, 1.0),
        ([0.1], 0.01, 0.1),
        ([1.00001, 0.5], 0.1, 1.0),
    ],
)
def test_a_scale_fits_its_values(values, low, high):
    found = Scale.of(np.array(values, dtype=np.float32))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_ticks_are_the_ends_and_powers_of_ten_apart_from_them():
    assert Scale(1e-4, 1.0).ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert Scale(0.008, 0.5).ticks() == pytest.approx([0.008, 0.1, 0.5])
    assert Scale(2e-4, 1.0).ticks() == pytest.approx([2e-4, 1e-2, 1e-1, 1.0])


def test_tick_texts_are_short():
    assert [tick_text(v) for v in (1.0, 0.02, 0.001, 1e-4, 2e-5)] == ["1", "0.02", "0.001", "1e-4", "2e-5"]


def test_a_scale_without_extent_is_refused():
    with pytest.raises(InputError, match=r"scale: 0 < low < high is needed; got low 1 and high 1"):
        Scale(1, 1)
