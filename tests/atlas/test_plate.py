import numpy as np
import pytest

from lookbehind.atlas.plate import Plate, lengths, position_ticks
from lookbehind.errors import InputError
from lookbehind.pattern import Causal, Window
from tests.atlas.plates import plate


def test_facts_state_pattern_lengths_and_products():
    found = plate(6, Causal() & Window(2))
    assert found.facts() == "causal & window(2)  ·  6 queries x 6 keys  ·  11 of 36 products computed"
    assert lengths(Causal().spans(1)) == "1 query x 1 key"
    assert found.reading() == "one cell is one weight p_ij = exp(s_ij - lse_i)"


def test_a_pooled_map_says_how_it_was_pooled():
    pooled = Plate(np.ones((4, 4), dtype=np.float32), Causal().spans(10), "x", pool="max")
    assert pooled.pooled == (3, 3)
    assert pooled.reading() == (
        "one pixel is the largest of the computed weights p_ij in up to 3 x 3 positions"
    )
    assert not pooled.ticked


def test_few_positions_are_named_and_many_are_counted():
    assert plate(48).ticked
    assert not plate(49).ticked


def test_a_region_knows_its_positions():
    spans = Causal().spans(100).region(slice(60, 70), slice(50, 60))
    found = Plate(np.ones((10, 10), dtype=np.float32), spans, "x", first_key=50)
    assert (found.first_query, found.first_key) == (60, 50)
    assert "from query 60 and key 50" in found.facts()


@pytest.mark.parametrize(
    ("length", "first", "ticks"),
    [
        (1, 0, [0]),
        (5, 0, [0, 1, 2, 3, 4]),
        (1000, 0, [0, 200, 400, 600, 800]),
        (40, 1890, [0, 5, 10, 15, 20, 25, 30, 35]),
        (10, 3, [1, 3, 5, 7, 9]),
    ],
)
def test_ticks_lie_on_round_positions(length, first, ticks):
    assert position_ticks(length, first) == ticks


def test_a_map_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"picture: a map \[rows, columns\] is needed; got shape \[0, 3\]"):
        Plate(np.zeros((0, 3), dtype=np.float32), Causal().spans(0, 3), "x")
