"""Blocks: which tiles of query-key products a kernel visits, and what a tile size wastes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookbehind import checks, line
from lookbehind.line import Ints
from lookbehind.spans import Spans

_MOST = 10**18  # of a tile's side: its places are counted in 64 bits


@dataclass(frozen=True)
class Blocks:
    """Tiles of a span table, themselves as spans: rows are tiles of queries, keys are tiles of keys.

    Attributes:
        spans: what was tiled.
        query_size, key_size: a tile's sides; the last row and column of tiles may be smaller.
        visited: tiles with at least one product.
        full: tiles whose every product is allowed, so that no mask is needed.
    """

    spans: Spans
    query_size: int
    key_size: int
    visited: Spans
    full: Spans

    @property
    def partial(self) -> Spans:
        """Tiles with some products but not all."""
        return self.visited & ~self.full

    @property
    def n_empty(self) -> int:
        """Tiles that no query of theirs reads, never visited."""
        return self.visited.n_queries * self.visited.n_keys - self.visited.count()

    @property
    def n_full(self) -> int:
        """Tiles without a forbidden product."""
        return self.full.count()

    @property
    def n_partial(self) -> int:
        """Tiles that need a mask."""
        return self.visited.count() - self.full.count()

    def kind(self, row: int, column: int) -> str:
        """`"empty"`, `"partial"` or `"full"`."""
        if self.full.allows(row, column):
            return "full"
        return "partial" if self.visited.allows(row, column) else "empty"

    def computed(self) -> int:
        """Products that a kernel computes when it visits every non-empty tile whole."""
        rows, columns = self.visited.n_queries, self.visited.n_keys
        ragged_row = rows * self.query_size - self.spans.n_queries
        ragged_column = columns * self.key_size - self.spans.n_keys
        tiles = self.visited.row_counts() * self.key_size
        if columns:
            last = self.visited.region(keys=slice(columns - 1, columns)).row_counts()
            tiles = tiles - last * ragged_column
        total = int(tiles.sum()) * self.query_size
        return total - int(tiles[-1]) * ragged_row if rows else total

    def wasted(self) -> float:
        """Share of the computed products that the spans do not allow, in [0, 1)."""
        computed = self.computed()
        return 1.0 - self.spans.count() / computed if computed else 0.0


def tile(spans: Spans, query_size: int, key_size: int) -> Blocks:
    """Tile `spans`.

    Args:
        spans: what to tile.
        query_size: queries in a tile, at least 1.
        key_size: keys in a tile, at least 1.

    Raises:
        InputError: a side is less than 1.
    """
    query_size, key_size = (
        checks.whole("query_size", query_size, 1, _MOST),
        checks.whole("key_size", key_size, 1, _MOST),
    )
    edges = np.minimum(np.arange(-(-spans.n_queries // query_size) + 1) * query_size, spans.n_queries)
    visited, full = tiled(spans, spans.interval_rows() // query_size, np.diff(edges), key_size)
    return Blocks(spans, query_size, key_size, visited, full)


def tiled(spans: Spans, tile_row: Ints, heights: Ints, key_size: int) -> tuple[Spans, Spans]:
    """(visited, full) tiles, as `Blocks` has them, of rows that may be cut anywhere.

    Args:
        spans: what to tile.
        tile_row: int64 [n_intervals], which row of tiles each interval lies in.
        heights: int64 [rows of tiles], how many queries each holds.
        key_size: keys in a tile.
    """
    rows, columns = len(heights), -(-spans.n_keys // key_size)
    # Visited: each interval widened to whole tiles; overlapping and touching ones joined.
    first = tile_row * (columns + 1)
    visited = line.union(first + spans.starts // key_size, first - (-spans.stops // key_size))
    # Full: read by every query of the tile row, then cut down to whole tiles.
    first = tile_row * (spans.n_keys + 1)
    shared = line.deepest(first + spans.starts, first + spans.stops, heights[tile_row])
    counts, starts, stops = line.row_counts(shared, rows, spans.n_keys)
    first = np.repeat(np.arange(rows, dtype=np.int64), counts) * (columns + 1)
    low = -(-starts // key_size)
    high = np.where(stops == spans.n_keys, columns, stops // key_size)
    whole = low < high
    full = (first + low)[whole], (first + high)[whole]
    some, every = (
        Spans.from_counts(*line.row_counts(tiles, rows, columns), n_keys=columns, offset=columns - rows)
        for tiles in (visited, full)
    )
    return some, every
