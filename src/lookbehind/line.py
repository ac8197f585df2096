"""Sets of intervals on one line, as sorted starts and sorted stops.

Rows of keys laid end to end, with a gap of one between rows, are one line: row r starts at r * (n_keys + 1).
A set of intervals is then its sorted starts S and its sorted stops E, no matter which start belonged to which
stop: a place x is covered #{S <= x} - #{E <= x} times. So wherever no place is covered more than c times, the
places covered exactly c times are the intervals [S[k + c - 1], E[k]). Everything here is that sentence:
intersection of c sets, complement (count a set's stops as starts), and the tiles that all their queries read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Line = tuple[Ints, Ints]  # ascending starts, ascending stops; disjoint and never touching


def union(starts: Ints, stops: Ints) -> Line:
    """Where any of the intervals lies; they may come in any order and overlap."""
    starts, stops = _sorted(starts), _sorted(stops)
    fresh = np.empty(len(starts) + 1, dtype=np.bool_)
    fresh[:1] = fresh[-1:] = True
    np.greater(starts[1:], stops[:-1], out=fresh[1:-1])  # all before have ended: a gap lies between
    return _kept(fresh[:-1], starts), _kept(fresh[1:], stops)


def deepest(starts: Ints, stops: Ints, depth: int | Ints) -> Line:
    """Where the intervals lie `depth` deep, given that they nowhere lie deeper.

    `depth` may differ between stretches of the line that no interval joins: then it is given for each
    interval, in the order of the stretches.
    """
    starts, stops = _sorted(starts), _sorted(stops)
    if isinstance(depth, int):
        starts, stops = starts[depth - 1 :], stops[: max(len(stops) - depth + 1, 0)]
    else:
        partner = np.arange(len(starts), dtype=np.int64) + (depth - 1)
        inside = partner < len(starts)
        starts, stops = starts[partner[inside]], stops[inside]
    deep = starts < stops
    return _kept(deep, starts), _kept(deep, stops)


def any_of(lines: Sequence[Line]) -> Line:
    """Union of sets."""
    return union(*_joined(lines))


def all_of(lines: Sequence[Line]) -> Line:
    """Intersection of sets."""
    return deepest(*_joined(lines), len(lines))


def none_of(line: Line, n_rows: int, n_keys: int) -> Line:
    """Complement within the rows."""
    first = np.arange(n_rows, dtype=np.int64) * (n_keys + 1)
    return deepest(np.concatenate([first, line[1]]), np.concatenate([first + n_keys, line[0]]), 1)


def row_counts(line: Line, n_rows: int, n_keys: int) -> tuple[Ints, Ints, Ints]:
    """The line cut into rows again: intervals per row, and starts and stops counted from the row's start."""
    rows = line[0] // (n_keys + 1)
    counts = np.bincount(rows, minlength=n_rows)
    rows *= n_keys + 1
    return counts, line[0] - rows, line[1] - rows


def _joined(lines: Sequence[Line]) -> Line:
    return np.concatenate([line[0] for line in lines]), np.concatenate([line[1] for line in lines])


def _sorted(values: Ints) -> Ints:
    return np.sort(values, kind="stable")  # a few ascending runs: timsort merges them in one pass


def _kept(which: NDArray[np.bool_], values: Ints) -> Ints:
    return values if which.all() else values[which]
