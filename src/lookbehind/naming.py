"""Naming: the pattern that gives exactly these spans, if a pattern does.

No list of patterns is searched. Each family (a window, a prefix, documents, ...) reads its parameters off the
rows: the tightest that still hold every product. Where the family fits at all, the tightest member fits, so
one candidate a family is enough; it is kept only if its spans equal the given ones, bit for bit.

Small spans have many names: at n = 3 `causal & window(4)` is `causal`. The first in this order is taken:
plain names before those with a number, one number before two; two documents of 7 and 5 are `chunk(7)`:

1. `causal`, `full`, `~full` (no product at all), `~causal`, `~causal | diagonal(0)` (upper triangles);
2. `diagonal(d)`, `causal & window(w)`, `window(w)`, `first(p)`, `causal | first(p)` (prefix LM),
   `causal & ~diagonal(0)`;
3. `causal & ~first(p)` (left padding), `~first(p)`, `causal & first(p)` (right padding), both paddings;
4. `causal & chunk(s)`, `chunk(s)`, `causal & documents(...)`, `documents(...)`;
5. `causal & (window(w) | first(s))`, `window(w) | first(s)`, `causal | window(w)` (reads w - 1 keys ahead),
   `causal & ~window(w)`;
6. windows inside chunks or documents: `causal & window(w) & chunk(s)`, ...;
7. 2, 4, 5 and 6 with `& ~first(p)` (left padding), then `& first(p)` (right padding), then both;
8. `~diagonal(d)`, `~window(w)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookbehind import checks
from lookbehind.errors import InputError
from lookbehind.pattern import Causal, Chunk, Diagonal, Documents, First, Full, Pattern, Window
from lookbehind.spans import Ints, Spans

# Additive masks spell "never" as -inf, as the lowest number of their dtype, or, in older models, as -10000;
# a product that far below the others weighs exactly 0 in every float type.
_NEVER = -1e4
_PROBES = 7


def recognise(spans: Spans) -> Pattern | None:
    """The named pattern that gives exactly these spans at their lengths and offset, or None.

    Time is linear in the number of intervals; a candidate that fails on a few probed rows costs almost
    nothing.

    >>> recognise((Causal() & Window(2)).spans(6))
    causal & window(2)
    >>> recognise(Causal().spans(1, 9))
    causal
    """
    rows = np.unique(np.linspace(0, max(spans.n_queries - 1, 0), _PROBES, dtype=np.int64)).tolist()
    probes = [(row, spans.intervals(row)) for row in rows[: spans.n_queries]]
    for candidate in _candidates(spans):
        if all(
            candidate.spans(1, spans.n_keys, spans.offset + row).intervals(0) == intervals
            for row, intervals in probes
        ):
            found = candidate.spans(spans.n_queries, spans.n_keys, spans.offset)
            if found == spans:
                return candidate
    return None


def identify(weights_or_mask: Any) -> Pattern | None:
    """The named pattern of a heatmap [n_queries, n_keys], or None if it has none.

    Queries are the last positions where there are fewer of them than keys. What counts as computed:

    - a bool array: True;
    - integers, or floats of which none is negative (weights): everything but 0 and NaN. A weight that
      underflowed to 0 cannot be told from one never computed: give a mask or scores where that happens;
    - floats with a negative one (scores, or an additive mask): everything but NaN and what lies at or below
      -10000, -inf included.

    Args:
        weights_or_mask: a numpy array, a torch tensor or nested lists.

    Raises:
        InputError: not two axes, not numbers, or +inf, which is neither a weight nor a score.

    >>> identify([[1.0, 0.0], [0.3, 0.7]])
    causal
    >>> identify([[True, False, True], [False, True, False], [True, False, True]]) is None
    True
    """
    array = checks.array("identify", weights_or_mask)
    if array.ndim != 2:
        raise InputError(
            f"identify: one heatmap [n_queries, n_keys] is needed; got shape {list(array.shape)}"
            + ("; pass one head's, as in weights[0, 0]" if array.ndim > 2 else "")
        )
    if array.dtype == np.bool_:
        return recognise(Spans.from_mask(array))
    if array.dtype.kind not in "iuf":
        raise InputError(f"identify: a heatmap of bools or real numbers is needed; got {array.dtype}")
    known = ~np.isnan(array)
    if (array[known] == np.inf).any():
        raise InputError("identify: +inf is neither a weight nor a score; mask it, or pass a bool array")
    scores = array.dtype.kind == "f" and bool((array[known] < 0).any())
    return recognise(Spans.from_mask(known & (array > _NEVER if scores else array != 0)))


@dataclass(frozen=True)
class _Rows:
    """What the families read, of the rows that read any key: positions and the ends of their intervals.

    Keys outside [low, high) are taken as cut off (padding), so an end that lies on the cut says nothing.
    """

    i: Ints
    start: Ints  # of the first interval
    stop: Ints  # of the last interval
    first_stop: Ints
    last_start: Ints
    low: int
    high: int
    end: int  # one past the last position, of queries or of keys

    @classmethod
    def of(cls, spans: Spans) -> _Rows:
        rows = np.flatnonzero(np.diff(spans.row_ptr))
        first, last = spans.row_ptr[rows], spans.row_ptr[rows + 1] - 1
        return cls(
            i=rows + spans.offset,
            start=spans.starts[first],
            stop=spans.stops[last],
            first_stop=spans.stops[first],
            last_start=spans.starts[last],
            low=0,
            high=spans.n_keys,
            end=max(spans.n_keys, spans.offset + spans.n_queries),
        )

    def cut(self, low: int, high: int) -> _Rows:
        return _Rows(self.i, self.start, self.stop, self.first_stop, self.last_start, low, high, self.end)

    @property
    def behind(self) -> int:
        """The size of the causal window that just holds every row."""
        return int((self.i - self.start).max()) + 1

    @property
    def around(self) -> int:
        """The size of the two-sided window that just holds every row."""
        return max(self.behind, int((self.stop - self.i).max()))

    def edges(self, window: int | None = None) -> list[int]:
        """Where chunks or documents begin, inside the cut, under a causal window if one is given.

        None at all if the query on some edge reads across it: then this is no packing.
        """
        starts = self.start if window is None else self.start[self.i - self.start + 1 < window]
        ends = self.stop[self.stop > self.i + 1] if window is None else self.stop[:0]
        found = np.unique(np.concatenate([starts[starts > self.low], ends[ends < self.high]]))
        found = found[(found > 0) & (found < self.end)]
        on_edge = np.isin(self.i, found, assume_unique=True)
        return [] if (self.start[on_edge] < self.i[on_edge]).any() else found.tolist()


def _candidates(spans: Spans) -> Iterator[Pattern]:
    causal, full = Causal(), Full()
    yield from (causal, full, ~full, ~causal, ~causal | Diagonal(0))
    rows = _Rows.of(spans)
    if not len(rows.i):
        return
    low, high = int(rows.start.min()), int(rows.stop.max())
    yield from _one_parameter(rows)
    left, right = ~First(low), First(high)
    yield from (causal & left, left, causal & right, causal & left & right, left & right)
    yield from _packed(rows)
    yield from _two_parameters(rows)
    for at_least, below in ((low, spans.n_keys), (0, high), (low, high)):
        cut = rows.cut(at_least, below)
        for family in (_one_parameter, _packed, _two_parameters):
            for pattern in family(cut):
                if at_least > 0:
                    pattern = pattern & ~First(at_least)
                yield pattern & First(below) if below < spans.n_keys else pattern
    missing = _Rows.of(~spans)
    if len(missing.i):
        yield from (~Diagonal(int(missing.i[0] - missing.start[0])), ~Window(missing.around))


def _one_parameter(rows: _Rows) -> Iterator[Pattern]:
    causal = Causal()
    yield Diagonal(int(rows.i[0] - rows.start[0]))
    if rows.behind > 0:
        yield causal & Window(rows.behind)
    yield Window(rows.around)
    if rows.low == 0 and rows.high > int(rows.stop.max()):
        yield First(int(rows.stop.max()))
    ahead = rows.stop[rows.stop > rows.i + 1]
    if len(ahead):
        yield causal | First(int(ahead.max()))
    yield causal & ~Diagonal(0)


def _packed(rows: _Rows) -> Iterator[Pattern]:
    edges = rows.edges()
    if not edges:
        return
    packings = (Chunk(int(np.gcd.reduce(edges))), _documents(edges, rows.end))
    for packing in packings:
        yield Causal() & packing
        yield packing


def _two_parameters(rows: _Rows) -> Iterator[Pattern]:
    causal = Causal()
    split = rows.last_start > rows.first_stop
    if split.any():
        sinks = int(rows.first_stop[split].max())
        behind = int((rows.i - rows.last_start)[split].max()) + 1
        if behind > 0:
            yield causal & (Window(behind) | First(sinks))
        around = int((rows.stop - rows.i)[rows.stop > sinks].max())  # the sinks may lie farther ahead
        yield Window(max(behind, around, 1)) | First(sinks)
    ahead = int((rows.stop - rows.i).max())
    if ahead > 1:
        yield causal | Window(ahead)
    gap = int((rows.i - rows.stop).min()) + 1
    if gap > 0:
        yield causal & ~Window(gap)
    size = rows.behind
    edges = rows.edges(window=size)
    if size > 1 and edges:
        window = causal & Window(size)
        yield window & Chunk(int(np.gcd.reduce(edges)))
        yield window & _documents(edges, rows.end)


def _documents(edges: list[int], end: int) -> Documents:
    return Documents(np.diff([0, *edges, end]).tolist())
