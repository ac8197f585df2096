import numpy as np
import pytest

from lookbehind.atlas import ink, picture, sheet
from lookbehind.atlas.palette import PAPER
from lookbehind.atlas.plate import Plate
from lookbehind.pattern import Causal, Window
from tests.atlas.plates import plate


def test_the_map_lies_in_the_picture_pixel_for_pixel():
    found = plate(6)
    drawn = np.asarray(picture.draw(found))
    from lookbehind.atlas.scale import Scale

    cells = np.asarray(ink.cells(found.values, Scale.of(found.values), 88))
    rows = range(drawn.shape[0] - cells.shape[0])
    columns = range(drawn.shape[1] - cells.shape[1])
    corner = cells[:, 0]
    hits = [
        (y, x)
        for x in columns
        for y in rows
        if (drawn[y, x] == corner[0]).all()
        and (drawn[y : y + len(cells), x : x + len(cells[0])] == cells).all()
    ]
    assert len(hits) == 1


@pytest.mark.parametrize("n", [1, 2, 48, 49, 700])
def test_every_length_can_be_drawn(n):
    drawn = picture.draw(plate(n, Causal() & Window(5)))
    assert drawn.mode == "RGB"
    assert max(drawn.size) < 2000


def test_tokens_make_room_for_themselves():
    short = picture.draw(plate(4, tokens=("a",) * 4))
    long = picture.draw(plate(4, tokens=("abcdefghijk",) * 4))
    assert long.height > short.height


def test_a_region_that_is_not_square_is_drawn():
    spans = Causal().spans(100).region(slice(60, 100), slice(0, 10))
    drawn = picture.draw(Plate(np.full((40, 10), 0.1, dtype=np.float32), spans, "x"))
    assert drawn.height > drawn.width


@pytest.mark.parametrize("n", [1, 3, 20])
def test_words_neither_leave_the_picture_nor_lie_on_one_another(n):
    """A map or a sheet narrower than its legend."""
    bare, named = plate(n), plate(n, source="a model with quite a long name")
    for drawn, alone in (
        (picture.draw(named), picture.draw(bare)),
        (sheet.draw([[named]], "x"), sheet.draw([[bare]], "x")),
    ):
        with_source, without = np.asarray(drawn), np.asarray(alone)
        assert (without[:, -40:] == PAPER).all()
        rows = (with_source != without).any((1, 2))
        assert rows.any() and (without[rows] == PAPER).all()
