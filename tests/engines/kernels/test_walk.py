"""What kernels are told to visit: the products of the spans, each once, and no other."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.engines.kernels.walk import row_edges, tiles, walk
from lookbehind.engines.observation import pixel_edges
from lookbehind.grammar import parse
from lookbehind.pattern import Causal, First, Window
from lookbehind.spans import Spans
from tests.engines.cases import PATTERNS

CPU = torch.device("cpu")
ALONG = ("rows", "columns", "diagonals")


def visited(spans: Spans, rows: int, keys: int, along: str, pixel_rows: int | None = None) -> np.ndarray:
    """How often each product would be computed, int [Lq, Lk], by the loops that the kernels make."""
    way = walk(spans, rows, keys, along, CPU, pixel_rows)
    seen = np.zeros((spans.n_queries, spans.n_keys), dtype=int)
    key_tiles = -(-spans.n_keys // keys)
    total = 0
    for line in range(way.lines):
        for run in range(way.line_ptr[line], way.line_ptr[line + 1]):
            first, last, partial = (int(x[run]) for x in (way.first, way.last, way.partial))
            total += last - first
            for at in range(first, last):
                block, column = {
                    "rows": (line, at),
                    "columns": (at, line),
                    "diagonals": (at, at - (line - (key_tiles - 1))),
                }[along]
                there = slice(int(way.rows_at[block]), int(way.rows_at[block + 1]))
                tile = seen[there, column * keys : (column + 1) * keys]
                if partial < 0:
                    assert tile.shape[1] == keys  # nothing checks for the end of the keys
                    tile += 1
                    continue
                number = partial + at - first
                most = 0
                for row in range(rows):
                    low, high = int(way.low[number, row]), int(way.high[number, row])
                    most = max(most, high - low)
                    for start, stop in zip(way.starts[low:high], way.stops[low:high], strict=True):
                        begin, end = (
                            np.clip(int(x) - column * keys, 0, tile.shape[1]) for x in (start, stop)
                        )
                        tile[row, begin:end] += 1
                assert most == way.most[number]
                assert way.most_of_all == 0 or most <= way.most_of_all
    assert total == way.weights.sum()
    return seen


@st.composite
def tables(draw: st.DrawFn) -> Spans:
    n_queries, n_keys = draw(st.integers(0, 40)), draw(st.integers(0, 50))
    offset = draw(st.one_of(st.none(), st.integers(-20, 60)))
    if draw(st.booleans()):
        return draw(st.sampled_from(PATTERNS)).spans(n_queries, n_keys, offset)
    share = draw(st.sampled_from([0.02, 0.5, 0.95]))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    return Spans.from_mask(generator.random((n_queries, n_keys)) < share, offset)


@given(
    spans=tables(),
    rows=st.sampled_from([1, 4, 16]),
    keys=st.sampled_from([1, 8, 16]),
    along=st.sampled_from(ALONG),
    pixels=st.one_of(st.none(), st.integers(1, 12)),
)
def test_every_product_is_visited_once_and_no_other(spans, rows, keys, along, pixels):
    if along == "diagonals":
        rows, pixels = keys, None
    pixels = pixels and min(pixels, max(spans.n_queries, 1))
    assert np.array_equal(visited(spans, rows, keys, along, pixels), spans.mask())


@pytest.mark.parametrize("along", ALONG)
def test_every_pattern_of_the_corpus(along):
    corpus = json.loads((Path(__file__).parents[2] / "conformance" / "patterns.json").read_text())
    assert len(corpus) > 200
    for one in corpus:
        spans = parse(one["pattern"]).spans(one["n_queries"], one["n_keys"], one["offset"])
        assert np.array_equal(visited(spans, 4, 4, along), spans.mask()), one["pattern"]


@given(spans=tables(), rows=st.integers(1, 9), keys=st.integers(1, 9))
def test_tiles_are_those_of_blocks_but_for_a_last_one_cut_short(spans, rows, keys):
    cut, blocks = tiles(spans, row_edges(spans.n_queries, rows), keys), spans.blocks(rows, keys)
    assert np.array_equal((cut.full | cut.partial).mask(), blocks.visited.mask())
    whole = blocks.full.mask()
    if spans.n_keys % keys:
        whole[:, -1:] = False
    assert np.array_equal(cut.full.mask(), whole)


@given(n=st.integers(1, 60), rows=st.integers(1, 20), pixels=st.integers(1, 60))
def test_no_row_of_pixels_is_shared_by_blocks_unless_they_lie_inside_it(n, rows, pixels):
    pixels = min(n, pixels)
    cuts, edges = row_edges(n, rows, pixels), pixel_edges(n, pixels)
    assert cuts[0] == 0 and cuts[-1] == n and (np.diff(cuts) > 0).all() and np.diff(cuts).max() <= rows
    for begin, end in pairwise(cuts):
        first, last = np.searchsorted(edges, [begin, end - 1], side="right") - 1
        assert first == last or (begin in edges and end in edges)


def test_a_long_triangle_takes_little_room():
    """Runs and partial tiles only: some numbers for each query, and none for each tile."""
    n = 1 << 17
    for pattern in (Causal(), Causal() & (Window(4096) | First(4))):
        spans = pattern.spans(n)
        for along in ("rows", "columns"):
            way = walk(spans, 128, 128, along, CPU)
            tables = [x for x in vars(way).values() if isinstance(x, torch.Tensor)]
            assert sum(x.numel() for x in tables) < 16 * n
            assert way.most_of_all == (1 if pattern == Causal() else 2)


def test_the_same_table_is_walked_as_before():
    spans = Causal().spans(64)
    assert walk(spans, 16, 16, "rows", CPU) is walk(spans, 16, 16, "rows", CPU)
    assert walk(spans, 16, 16, "rows", CPU) is not walk(spans, 16, 32, "rows", CPU)
