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


@pytest.mark.parametrize(
    ("layers", "heads", "across"),
    [(1, 16, 16), (1, 17, 9), (1, 64, 16), (2, 64, 16), (6, 64, 22), (28, 56, 56), (1, 1, 1)],
)
def test_many_heads_of_few_layers_take_several_lines(layers, heads, across):
    image = sheet.draw([[plate(3)] * heads] * layers, "All heads", {(0, heads - 1): "last"})
    lines = -(-heads // across)
    assert image.width < 500 + across * 226 or across < 4
    assert abs(image.height - (layers * lines * (251 + 30 * (lines > 1)) + 400)) < 100
    assert image.width <= max(16 * 226 + 500, 2.2 * image.height)


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
