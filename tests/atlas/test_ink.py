import numpy as np
import pytest

from lookbehind.atlas import ink
from lookbehind.atlas.palette import HATCH, PAPER
from lookbehind.atlas.scale import Scale


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" def", "·def"),
        ("\n\t", "\\n\\t"),
        ("é中", "\\u00e9\\u4e2d"),
        ("a" * 20, "a" * 13 + "…"),
        ("\x1b[31m", "\\u001b[31m"),
    ],
)
def test_tokens_are_visible_in_a_font_that_knows_ascii(token, shown):
    assert ink.visible(token) == shown


def test_a_weight_of_zero_is_drawn_unlike_a_product_that_was_never_computed():
    values = np.array([[0.0, np.nan]], dtype=np.float32)
    picture = np.asarray(ink.cells(values, Scale(1e-4, 1.0), 24))
    zero, never = picture[:, :24].reshape(-1, 3), picture[:, 24:].reshape(-1, 3)
    assert {tuple(map(int, c)) for c in never} == {PAPER, HATCH}
    assert len({tuple(map(int, c)) for c in zero}) == 1
    assert {tuple(map(int, c)) for c in zero}.isdisjoint({PAPER, HATCH})


def test_cells_are_square_and_sharp():
    picture = ink.cells(np.array([[1.0, 1e-4], [1e-4, 1.0]], dtype=np.float32), Scale(1e-4, 1.0), 10)
    assert picture.size == (20, 20)
    assert picture.getpixel((9, 9)) == picture.getpixel((0, 0)) != picture.getpixel((10, 9))
