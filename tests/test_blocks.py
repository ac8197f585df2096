import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lookbehind as lb
from tests import dense


@given(dense.masks(), st.integers(1, 5), st.integers(1, 5))
def test_tiles_equal_those_of_the_dense_mask(mask, query_size, key_size):
    blocks = lb.Spans.from_mask(mask).blocks(query_size, key_size)
    kinds, computed = {"empty": 0, "partial": 0, "full": 0}, 0
    for row in range(-(-mask.shape[0] // query_size)):
        for column in range(-(-mask.shape[1] // key_size)):
            tile = mask[
                row * query_size : (row + 1) * query_size, column * key_size : (column + 1) * key_size
            ]
            kind = "full" if tile.all() else "partial" if tile.any() else "empty"
            kinds[kind] += 1
            computed += tile.size if tile.any() else 0
            assert blocks.kind(row, column) == kind
    assert (blocks.n_empty, blocks.n_partial, blocks.n_full) == tuple(kinds.values())
    assert blocks.computed() == computed
    assert blocks.wasted() == (1 - mask.sum() / computed if computed else 0)
    np.testing.assert_array_equal(blocks.partial.mask(), blocks.visited.mask() & ~blocks.full.mask())


def test_what_a_tile_size_wastes():
    # 64 x 64 tiles over 128 causal positions: two half-empty on the diagonal, one full, one never visited.
    blocks = lb.Causal().spans(128).blocks(64, 64)
    assert (blocks.n_empty, blocks.n_partial, blocks.n_full) == (1, 2, 1)
    assert blocks.computed() == 3 * 64 * 64
    assert blocks.wasted() == 1 - (128 * 129 // 2) / (3 * 64 * 64)


@pytest.mark.parametrize("sides", [(0, 4), (4, 0), (-1, 4), (2.0, 4), (4, 10**30)])
def test_sides_that_are_none_are_refused(sides):
    with pytest.raises(lb.InputError, match=r"(query|key)_size: a whole number .*is needed; got"):
        lb.Causal().spans(4).blocks(*sides)


def test_tiles_may_be_larger_than_all_there_is():
    blocks = lb.Causal().spans(4).blocks(10**18, np.uint8(200))
    assert (blocks.n_partial, blocks.computed()) == (1, 16)
