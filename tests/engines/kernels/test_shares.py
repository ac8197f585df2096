"""Which program takes which lines: each line once, and what is added to without atomics by one program."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.engines.kernels.shares import dealt, rows_of_pixels
from lookbehind.engines.kernels.walk import walk
from lookbehind.engines.observation import pixel_edges
from lookbehind.pattern import Causal, First

CPU = torch.device("cpu")


def lists(pointers: torch.Tensor, values: torch.Tensor) -> list[list[int]]:
    assert pointers[0] == 0 and pointers[-1] == len(values)
    assert pointers.dtype == values.dtype == torch.int32
    return [values[a:b].tolist() for a, b in pairwise(pointers.tolist())]


def touched(shares: list[list[int]], cuts: list[int], n: int, pixels: int) -> list[set[int]]:
    """The rows of pixels that each program adds to."""
    edges = pixel_edges(n, pixels)
    return [
        {
            int(np.searchsorted(edges, row, side="right")) - 1
            for block in one
            for row in range(cuts[block], cuts[block + 1])
        }
        for one in shares
    ]


@given(n=st.integers(0, 70), splits=st.integers(1, 12), along=st.sampled_from(["rows", "columns"]))
def test_every_line_is_dealt_once_and_the_work_evenly(n, splits, along):
    way = walk(Causal().spans(n), 4, 4, along, CPU)
    shares = lists(*dealt(way, splits))
    assert len(shares) == splits
    assert sorted(line for one in shares for line in one) == list(range(way.lines))
    work = [int(way.weights[one].sum()) for one in shares]
    assert max(work) - min(work) <= way.weights.max(initial=0)


@given(n=st.integers(1, 60), rows=st.integers(1, 8), pixels=st.integers(1, 15))
def test_a_row_of_pixels_is_one_program_s(n, rows, pixels):
    pixels = min(n, pixels)
    way = walk(Causal().spans(n), rows, 4, "rows", CPU, pixels)
    shares = lists(*rows_of_pixels(way, n, pixels, CPU))
    assert sorted(block for one in shares for block in one) == list(range(way.lines))
    each = touched(shares, way.rows_at.tolist(), n, pixels)
    assert sum(map(len, each)) == len(set().union(*each)) == pixels


def test_rows_of_pixels_of_a_long_map_are_counted_beyond_int32():
    n, pixels = 1 << 17, 1 << 15
    way = walk(First(1).spans(n), 16, 128, "rows", CPU, pixels)
    assert lists(*rows_of_pixels(way, n, pixels, CPU)) == [[block] for block in range(n // 16)]
