"""A walk: the non-empty tiles of a span table as runs that a kernel loops over, on the kernel's device.

A *line* is what one step of the outer loop holds still: a block of queries (`along="rows"`) or of keys
(`along="columns"`). Its tiles come as *runs* of neighbours that are either all full, which need no mask, or
all partial. For each query of a partial tile the walk says which intervals reach into that tile, so that a
mask costs what its few intervals cost, however long the row is. All of it takes the memory of the runs and of
the partial tiles, never that of all tiles.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import torch

from lookbehind.blocks import tiled
from lookbehind.engines.kernels.kept import Kept, place
from lookbehind.engines.observation import pixel_edges
from lookbehind.pattern import First
from lookbehind.spans import Ints, Spans

_FEW = 4


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of a span table whose rows are cut anywhere and whose keys are cut evenly.

    Attributes:
        spans: what was tiled.
        edges: int64 [blocks + 1], the query row at which each block of rows begins.
        keys: keys in a tile.
        full, partial: tiles whose every product is allowed, and the other non-empty ones; as spans over tile
            numbers. A last tile that is cut short by the number of keys is partial.
    """

    spans: Spans
    edges: Ints
    keys: int
    full: Spans
    partial: Spans


@dataclass(frozen=True, eq=False)
class Walk:
    """What a kernel loops over. All int32, on its device.

    Attributes:
        lines: how many lines there are.
        weights: int64 numpy [lines], how many tiles each has.
        most_of_all: the largest of `most`, where it is 1 to 4; else 0. A kernel is made for each.
        rows_at: [blocks + 1], the first query row of each block of rows.
        line_ptr: [lines + 1], the runs of each line.
        first, last: [runs], tile numbers, half open: key tiles of a row block, or row blocks of a key block.
        partial: [runs], -1 where the run is full; else the number of its first partial tile.
        low, high: [partial tiles, rows of a block], the intervals of that query which reach into the tile.
        most: [partial tiles], the largest high - low.
        starts, stops: [intervals], those of the span table.
        shares: what `shares.py` has dealt of it, which goes when it goes.
    """

    lines: int
    weights: Ints
    most_of_all: int
    rows_at: torch.Tensor
    line_ptr: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    partial: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    most: torch.Tensor
    starts: torch.Tensor
    stops: torch.Tensor
    shares: dict[Hashable, tuple[torch.Tensor, torch.Tensor]] = field(init=False, default_factory=dict)


def walk(
    spans: Spans, rows: int, keys: int, along: str, device: torch.device, pixel_rows: int | None = None
) -> Walk:
    """The walk over `spans` in tiles of `rows` x `keys`; the latest few are kept.

    Args:
        spans: which products exist.
        rows, keys: a tile's sides.
        along: "rows", "columns" or "diagonals": what a line is. A diagonal is all tiles with one difference
            of row block and key tile, a run there is one tile, and `first` is its row block.
        device: where the kernel runs.
        pixel_rows: cut the rows so that a row of so many pixels' map is never shared by two blocks unless
            both lie inside it.
    """

    def make() -> Walk:
        edges = row_edges(spans.n_queries, rows, pixel_rows)
        return _walk(tiles(spans, edges, keys), rows, along, device)

    return _known.get(spans, (rows, keys, along, pixel_rows, *place(device)), make)


def row_edges(n_queries: int, rows: int, pixel_rows: int | None = None) -> Ints:
    """Where blocks of at most `rows` query rows begin, and the end.

    With `pixel_rows`, a block is as many whole rows of pixels as fit; or, of one that does not fit, a part.
    """
    if pixel_rows is None:
        return np.append(np.arange(0, n_queries, rows, dtype=np.int64), n_queries)
    pixels = pixel_edges(n_queries, pixel_rows)
    cuts, at = [0], 0
    while at < n_queries:
        whole = int(pixels[np.searchsorted(pixels, at + rows, side="right") - 1])
        if whole <= at:  # one row of pixels is longer than a block
            whole = min(at + rows, int(pixels[np.searchsorted(pixels, at, side="right")]))
        at = whole
        cuts.append(at)
    return np.array(cuts, dtype=np.int64)


def tiles(spans: Spans, edges: Ints, keys: int) -> Tiles:
    """Tile `spans` with rows cut at `edges`."""
    block = np.searchsorted(edges, spans.interval_rows(), side="right") - 1
    visited, full = tiled(spans, block, np.diff(edges), keys)
    if spans.n_keys % keys:  # what is read of the last tile is less than a tile
        full = full & First(full.n_keys - 1).spans(full.n_queries, full.n_keys, full.offset)
    return Tiles(spans, edges, keys, full, visited & ~full)


def _walk(cut: Tiles, rows: int, along: str, device: torch.device) -> Walk:
    blocks, columns = cut.full.n_queries, cut.full.n_keys
    runs = {"rows": _by_rows, "columns": _by_columns, "diagonals": _by_diagonals}[along]
    lines = {"rows": blocks, "columns": columns, "diagonals": max(blocks + columns - 1, 0)}[along]
    kinds = [runs(one) for one in (cut.full, cut.partial)]
    at, first, last = (np.concatenate(parts) for parts in zip(*kinds, strict=True))
    partial = np.arange(len(at)) >= len(kinds[0][0])
    order = np.lexsort((first, at))
    at, first, last, partial = at[order], first[order], last[order], partial[order]
    line_ptr = np.searchsorted(at, np.arange(lines + 1))
    lengths = np.where(partial, last - first, 0)
    numbers = np.where(partial, np.cumsum(lengths) - lengths, -1)
    # Each partial tile: where it lies.
    places = np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    fixed = np.repeat(at, lengths)
    if along == "rows":
        block, column = fixed, places
    elif along == "columns":
        block, column = places, fixed
    else:
        block, column = places, places - (fixed - (columns - 1))
    low, high = _reach(cut, block, column, rows)
    most = (high - low).max(1, initial=0)
    whole = np.zeros(lines, dtype=np.int64)
    np.add.at(whole, at, last - first)

    def there(values: Ints) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int32)).to(device)

    spans = cut.spans
    parts = (cut.edges, line_ptr, first, last, numbers, low, high, most, spans.starts, spans.stops)
    largest = max(int(most.max(initial=0)), 1)
    return Walk(lines, whole, largest if largest <= _FEW else 0, *map(there, parts))


def _reach(cut: Tiles, block: Ints, column: Ints, rows: int) -> tuple[Ints, Ints]:
    """For each tile and each of its rows, the half-open range of intervals that reach into the tile."""
    spans = cut.spans
    row = cut.edges[block][:, None] + np.arange(rows)
    there = row < cut.edges[block + 1][:, None]
    begin = np.where(there, row, 0) * (spans.n_keys + 1)
    line_rows = spans.interval_rows() * (spans.n_keys + 1)
    first, stop = column * cut.keys, np.minimum((column + 1) * cut.keys, spans.n_keys)
    low = np.searchsorted(spans.stops + line_rows, begin + first[:, None], side="right")
    high = np.searchsorted(spans.starts + line_rows, begin + stop[:, None], side="left")
    return np.where(there, low, 0), np.where(there, np.maximum(high, low), 0)


def _by_rows(some: Spans) -> tuple[Ints, Ints, Ints]:
    return some.interval_rows(), some.starts, some.stops


def _by_columns(some: Spans) -> tuple[Ints, Ints, Ints]:
    """Runs down the columns: a run begins at a tile that has none of its kind above, and ends likewise."""
    counts = np.diff(some.row_ptr)
    if not len(some.starts):
        return some.starts, some.starts, some.starts
    head, tail = int(counts[0]), len(some.starts) - int(counts[-1])
    above = Spans.from_counts(
        np.append(0, counts[:-1]), some.starts[:tail], some.stops[:tail], some.n_keys, some.offset
    )
    below = Spans.from_counts(
        np.append(counts[1:], 0), some.starts[head:], some.stops[head:], some.n_keys, some.offset
    )
    (column, first), (again, last) = (_cells(some & ~one) for one in (above, below))
    assert np.array_equal(column, again)  # each run has both its ends in its column
    return column, first, last + 1


def _by_diagonals(some: Spans) -> tuple[Ints, Ints, Ints]:
    """Every tile by itself; the line is row block - key tile, counted from the smallest."""
    column, row = _cells(some)
    return row - column + some.n_keys - 1, row, row + 1


def _cells(some: Spans) -> tuple[Ints, Ints]:
    """(columns, rows) of every pair, by columns, then rows."""
    lengths = some.stops - some.starts
    rows = np.repeat(some.interval_rows(), lengths)
    columns = np.repeat(some.starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    order = np.lexsort((rows, columns))
    return columns[order], rows[order]


_known: Kept[Walk] = Kept(32)
