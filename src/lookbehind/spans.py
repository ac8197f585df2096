"""Spans: the key intervals that each query reads, at given lengths.

A pattern is a rule; spans are that rule for `n_queries` queries over `n_keys` keys. Row r is the query at
absolute position `offset + r`; its keys are disjoint half-open intervals, ascending and never touching, so
that equal sets are equal arrays. Rows are compressed: intervals `row_ptr[r]` to `row_ptr[r + 1]` are row r's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lookbehind import checks, line
from lookbehind.errors import InputError
from lookbehind.line import Ints

if TYPE_CHECKING:
    from lookbehind.blocks import Blocks
    from lookbehind.pattern import Pattern

_LIMIT = 2**62
_DRAWN = 64  # the widest triangle that is drawn cell by cell


def checked_lengths(n_queries: int, n_keys: int | None, offset: int | None) -> tuple[int, int, int]:
    """(n_queries, n_keys, offset) with those that are meant where they are left out: the queries come last.

    Raises:
        InputError: one is no whole number, or pairs could not be numbered in 62 bits.
    """
    n_queries = checks.whole("n_queries", n_queries, 0)
    n_keys = n_queries if n_keys is None else checks.whole("n_keys", n_keys, 0)
    if n_queries * (n_keys + 1) >= _LIMIT:
        raise InputError(
            f"spans: {checks.shown(n_queries)} x {checks.shown(n_keys)} products cannot be numbered in 62 "
            "bits; split the rows"
        )
    return (
        n_queries,
        n_keys,
        n_keys - n_queries if offset is None else checks.whole("offset", offset, -_LIMIT, _LIMIT),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Spans:
    """Key intervals per query, as compressed rows.

    Args:
        n_queries: number of rows.
        n_keys: number of keys; intervals lie in [0, n_keys).
        offset: absolute position of row 0; row r is the query at position offset + r.
        row_ptr: int64 [n_queries + 1], ascending from 0.
        starts: int64 [n_intervals], first key of each interval.
        stops: int64 [n_intervals], one past its last key.

    Raises:
        InputError: the arrays do not describe ascending, disjoint, non-touching intervals within range.
            Methods raise it, too: for a row or a key that does not exist, and for spans of other lengths.
    """

    n_queries: int
    n_keys: int
    offset: int
    row_ptr: Ints
    starts: Ints
    stops: Ints

    def __post_init__(self) -> None:
        lengths = checked_lengths(self.n_queries, self.n_keys, self.offset)
        for name, value in zip(("n_queries", "n_keys", "offset"), lengths, strict=True):
            object.__setattr__(self, name, value)
        for name in ("row_ptr", "starts", "stops"):
            object.__setattr__(self, name, _integers(name, getattr(self, name)))
        if self.row_ptr.shape != (self.n_queries + 1,) or self.starts.shape != self.stops.shape:
            raise InputError(
                f"spans: {self.n_queries} queries need {self.n_queries + 1} row pointers and as many starts "
                f"as stops; got {self.row_ptr.shape[0]}, {self.starts.shape[0]} and {self.stops.shape[0]}"
            )
        pointers = self.row_ptr
        if pointers[0] != 0 or pointers[-1] != len(self.starts) or (pointers[1:] < pointers[:-1]).any():
            raise InputError(
                f"spans: row pointers must ascend from 0 to the {len(self.starts)} intervals given; "
                f"they run from {pointers[0]} to {pointers[-1]}"
            )
        if len(self.starts) == 0:
            return
        if self.starts.min() < 0 or self.stops.max() > self.n_keys or (self.starts >= self.stops).any():
            raise InputError(
                f"spans: each interval must be non-empty and lie in [0, {self.n_keys}); "
                f"got starts from {self.starts.min()} and stops up to {self.stops.max()}"
            )
        # A start that does not lie beyond the previous stop is allowed only where a new row begins.
        crowded = np.empty(len(self.starts) + 1, dtype=np.bool_)
        np.less_equal(self.starts[1:], self.stops[:-1], out=crowded[1:-1])
        crowded[pointers] = False  # its own ends among them
        if crowded.any():
            row = int(np.searchsorted(pointers, int(crowded.argmax()), side="right")) - 1
            raise InputError(
                f"spans: the intervals of query {row} must ascend, apart from one another; join them"
            )

    # -- making ------------------------------------------------------------------------------------------

    @classmethod
    def from_mask(cls, mask: ArrayLike, offset: int | None = None) -> Spans:
        """The spans of a dense boolean mask.

        Args:
            mask: bool [n_queries, n_keys], True where the query reads the key. An array or a torch tensor.
            offset: absolute position of the first query; n_keys - n_queries unless given.

        Raises:
            InputError: the mask has other axes, or is not bool.
        """
        cells = checks.array("mask", mask)
        if cells.ndim != 2 or cells.dtype != np.bool_:
            raise InputError(
                f"mask: a bool array [n_queries, n_keys] is needed; got {cells.dtype} of shape "
                f"{list(cells.shape)}; for additive masks pass `mask == 0`"
            )
        n_queries, n_keys, at = checked_lengths(cells.shape[0], cells.shape[1], offset)
        edges = np.zeros((n_queries, n_keys + 1), dtype=np.int8)
        edges[:, :-1] = cells
        edges[:, 1:] -= cells
        rows, starts = np.nonzero(edges == 1)
        stops = np.nonzero(edges == -1)[1]
        counts = np.bincount(rows, minlength=n_queries)
        return cls.from_counts(counts, starts, stops, n_keys, at)

    @classmethod
    def from_counts(cls, counts: Ints, starts: Ints, stops: Ints, n_keys: int, offset: int) -> Spans:
        """From the number of intervals in each row, and all intervals row by row."""
        counts = _integers("counts", counts)
        row_ptr = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(counts, out=row_ptr[1:])
        return cls(len(counts), n_keys, offset, row_ptr, starts, stops)

    @classmethod
    def stack(cls, parts: Sequence[Spans]) -> Spans:
        """Rows of one part after those of another: consecutive queries over the most keys any part has.

        This is how a prompt and the decode steps after it become one triangle.

        Raises:
            InputError: there is no part, or one does not begin where the one before it ends.
        """
        if not isinstance(parts, (list, tuple)) or not all(isinstance(part, Spans) for part in parts):
            raise InputError(f"stack: a list of Spans is needed; got {checks.shown(parts)}")
        if not parts:
            raise InputError("spans: nothing to stack; give at least one part")
        position = parts[0].offset
        for part in parts:
            if part.offset != position:
                raise InputError(
                    f"spans: rows up to position {position} are followed by position {part.offset}"
                )
            position += part.n_queries
        return cls.from_counts(
            np.concatenate([np.diff(part.row_ptr) for part in parts]),
            np.concatenate([part.starts for part in parts]),
            np.concatenate([part.stops for part in parts]),
            n_keys=max(part.n_keys for part in parts),
            offset=parts[0].offset,
        )

    # -- asking ------------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many products: the number of allowed (query, key) pairs."""
        return int((self.stops - self.starts).sum())

    def row_counts(self) -> Ints:
        """How many keys each query reads: int64 [n_queries]."""
        total = np.zeros(len(self.starts) + 1, dtype=np.int64)
        np.cumsum(self.stops - self.starts, out=total[1:])
        return total[self.row_ptr[1:]] - total[self.row_ptr[:-1]]

    def key_counts(self) -> Ints:
        """How many queries read each key: int64 [n_keys]."""
        change = np.bincount(self.starts, minlength=self.n_keys + 1).astype(np.int64)
        change -= np.bincount(self.stops, minlength=self.n_keys + 1)
        return np.cumsum(change)[:-1]

    def interval_rows(self) -> Ints:
        """Which row each interval belongs to: int64 [n_intervals]."""
        return np.repeat(np.arange(self.n_queries, dtype=np.int64), np.diff(self.row_ptr))

    def intervals(self, query: int) -> list[tuple[int, int]]:
        """The half-open key intervals of one query (a row number), ascending."""
        row = self._row(query)
        mine = slice(int(self.row_ptr[row]), int(self.row_ptr[row + 1]))
        return list(zip(self.starts[mine].tolist(), self.stops[mine].tolist(), strict=True))

    def keys(self, query: int) -> list[int]:
        """Every key that query `query` (a row number) reads, ascending."""
        return [key for start, stop in self.intervals(query) for key in range(start, stop)]

    def forbidden(self, query: int) -> list[int]:
        """Every key that query `query` (a row number) does not read, ascending."""
        row = self._row(query)
        return (~self.region(slice(row, row + 1))).keys(0)

    def allows(self, query: int, key: int) -> bool:
        """Whether query `query` (a row number) reads key `key`."""
        row = self._row(query)
        key = checks.one_of("key", key, self.n_keys)
        first, last = int(self.row_ptr[row]), int(self.row_ptr[row + 1])
        found = first + int(np.searchsorted(self.starts[first:last], key, side="right")) - 1
        return found >= first and key < int(self.stops[found])

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every allowed (query, key), row by row."""
        for row in range(self.n_queries):
            for start, stop in self.intervals(row):
                for key in range(start, stop):
                    yield row, key

    def mask(self) -> NDArray[np.bool_]:
        """The dense mask, bool [n_queries, n_keys]. For small n: it holds every cell."""
        change = np.zeros((self.n_queries, self.n_keys + 1), dtype=np.int8)
        rows = self.interval_rows()
        change[rows, self.starts] = 1
        change[rows, self.stops] = -1
        return np.cumsum(change, axis=1, dtype=np.int8)[:, :-1].astype(np.bool_)

    def region(self, queries: slice = slice(None), keys: slice = slice(None)) -> Spans:
        """The same spans for a range of rows and of keys, renumbered from 0; the offset follows.

        Raises:
            InputError: a slice has another step than 1.
        """
        first, last = checks.part("queries", queries, self.n_queries)
        low, high = checks.part("keys", keys, self.n_keys)
        inside = slice(int(self.row_ptr[first]), int(self.row_ptr[last]))
        starts = np.maximum(self.starts[inside], low) - low
        stops = np.minimum(self.stops[inside], high) - low
        kept = starts < stops
        before = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum(kept, out=before[1:])
        row_ptr = before[self.row_ptr[first : last + 1] - self.row_ptr[first]]
        return Spans(last - first, high - low, self.offset + first - low, row_ptr, starts[kept], stops[kept])

    def blocks(self, query_size: int, key_size: int) -> Blocks:
        """Which tiles of `query_size` x `key_size` products are empty, full or partial.

        Raises:
            InputError: a side is less than 1.
        """
        from lookbehind.blocks import tile  # tiles stand on spans, not under them

        return tile(self, query_size, key_size)

    def pattern(self) -> Pattern | None:
        """The named pattern that gives exactly these spans, or None if there is none."""
        from lookbehind.naming import recognise  # the names of patterns stand on spans, not under them

        return recognise(self)

    def describe(self) -> str:
        """The pattern's text if these spans are one (`"causal & window(4)"`), else a line of counts."""
        found = self.pattern()
        if found is not None:
            return str(found)
        return f"no named pattern: {self.count():,} of {self.n_queries:,} x {self.n_keys:,} products"

    # -- algebra -----------------------------------------------------------------------------------------

    def __and__(self, other: Spans) -> Spans:
        self._match(other)
        return self._from_line(line.all_of([self._line(), other._line()]))

    def __or__(self, other: Spans) -> Spans:
        self._match(other)
        return self._from_line(line.any_of([self._line(), other._line()]))

    def __invert__(self) -> Spans:
        """Every pair that these spans do not allow, at the same lengths."""
        return self._from_line(line.none_of(self._line(), self.n_queries, self.n_keys))

    def __le__(self, other: Spans) -> bool:
        """Whether every pair allowed here is allowed there."""
        return (self & other) == self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spans):
            return NotImplemented
        return (
            (self.n_queries, self.n_keys, self.offset) == (other.n_queries, other.n_keys, other.offset)
            and np.array_equal(self.row_ptr, other.row_ptr)
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.stops, other.stops)
        )

    def __hash__(self) -> int:
        return hash((self.n_queries, self.n_keys, self.offset, self.starts.tobytes(), self.stops.tobytes()))

    # -- showing -----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        at = "" if self.offset == self.n_keys - self.n_queries else f", offset {self.offset}"
        return f"<Spans: {self.n_queries} queries x {self.n_keys} keys{at}, {self.count()} products>"

    def __str__(self) -> str:
        """The picture: a cell per product up to 64 keys, a cell per tile beyond.

        `■` computed, `·` never computed; in tiles `█` all computed, `▒` some, `·` none.
        """
        if self.n_queries <= _DRAWN and self.n_keys <= _DRAWN:
            return "\n".join(" ".join("■" if cell else "·" for cell in row) for row in self.mask())
        size = -(-max(self.n_queries, self.n_keys) // 32)
        blocks = self.blocks(size, size)
        some, whole = blocks.visited.mask(), blocks.full.mask()
        drawn = [
            " ".join("█" if whole[r, c] else "▒" if some[r, c] else "·" for c in range(some.shape[1]))
            for r in range(some.shape[0])
        ]
        return "\n".join([*drawn, f"one cell is {size:,} queries x {size:,} keys"])

    # -- inside ------------------------------------------------------------------------------------------

    def _row(self, query: int) -> int:
        return checks.one_of("query", query, self.n_queries)

    def _match(self, other: Spans) -> None:
        if not isinstance(other, Spans):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"spans: only spans combine with spans; got {type(other).__name__}; "
                "make a pattern's with .spans()"
            )
        mine, theirs = ((s.n_queries, s.n_keys, s.offset) for s in (self, other))
        if mine != theirs:
            raise InputError(
                f"spans: {mine[0]} queries x {mine[1]} keys at offset {mine[2]} cannot be combined with "
                f"{theirs[0]} x {theirs[1]} at offset {theirs[2]}; make both at the same lengths"
            )

    def _line(self) -> line.Line:
        first = self.interval_rows() * (self.n_keys + 1)
        return self.starts + first, self.stops + first

    def _from_line(self, intervals: line.Line) -> Spans:
        cut = line.row_counts(intervals, self.n_queries, self.n_keys)
        return Spans.from_counts(*cut, n_keys=self.n_keys, offset=self.offset)


def _integers(name: str, value: object) -> Ints:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "i" or value.ndim != 1:
        got = f"{value.dtype} {[*value.shape]}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"spans: {name} must be a whole-number array with one axis; got {got}")
    kept = value.astype(np.int64, copy=False).view()
    kept.flags.writeable = False  # tables are shared: see Pattern.spans
    return kept
