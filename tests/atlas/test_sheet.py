import pytest

from lookbehind.atlas import sheet
from lookbehind.errors import InputError
from lookbehind.pattern import Causal, Window
from tests.atlas.plates import plate
from tests.tapes import tape as random_tape


def test_a_sheet_has_a_row_a_layer_and_a_column_a_head():
    one = [plate(30, Causal() & Window(8), source="model")] * 3
    small = sheet.draw([one], "All heads")
    tall = sheet.draw([one, one, one], "All heads", {(1, 2): "induction 0.61"})
    assert tall.width == small.width
    assert tall.height > small.height + 2 * 200


def test_layers_may_have_different_numbers_of_heads():
    sheet.draw([[plate(300)] * 2, [plate(3)] * 5], "All heads")


def test_a_sheet_without_heads_is_refused():
    with pytest.raises(InputError, match="contact sheet: there is no head to draw"):
        sheet.draw([], "All heads")


def test_a_sheet_too_large_to_open_is_refused_before_it_is_drawn():
    with pytest.raises(InputError, match=r"80 layers of 128 heads would be .* pixels; export single heads"):
        sheet.draw([[plate(2)] * 128] * 80, "All heads")


def test_a_size_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="size: a whole number is needed; got 'a'"):
        random_tape(8).export(tmp_path / "sheet.png", sheet=True, size="a")
    assert list(tmp_path.iterdir()) == []
