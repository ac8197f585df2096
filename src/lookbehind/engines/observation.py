"""What an observation may ask for, what it gives, and where the pixels of a map lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from operator import or_

import numpy as np
import torch

from lookbehind.spans import Ints, Spans

REDUCES = ("mean", "max", "sum")
QUANTITIES = ("weight", "score")
_COUNTED = 1 << 18  # pixels whose products are counted at once


@dataclass(frozen=True, eq=False)
class Wants:
    """The reductions asked for; an engine pays for no other.

    Attributes:
        received, entropy, max_score, distance, by_distance: see `Observation`.
        top: how many of each query's largest weights; 0 for none.
        mass: spans to measure, by name; already within the problem's own spans.
        map: (rows, columns) of the pooled maps, at most (Lq, Lk); None for none.
        map_reduces: how to pool, each of "mean", "max" and "sum" at most once; all from one pass.
        map_of: what to pool, "weight" or "score".
    """

    received: bool = False
    entropy: bool = False
    top: int = 0
    max_score: bool = False
    distance: bool = False
    by_distance: bool = False
    mass: Mapping[str, Spans] = field(default_factory=dict[str, Spans])
    map: tuple[int, int] | None = None
    map_reduces: tuple[str, ...] = ("mean",)
    map_of: str = "weight"

    def walked(self, spans: Spans) -> Spans:
        """The products of `spans` that have to be looked at: those of the named masses, if these are all."""
        others = (self.received, self.entropy, self.top, self.max_score, self.distance, self.by_distance)
        if not self.mass or any(others) or self.map is not None:
            return spans
        return reduce(or_, self.mass.values())


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """Reductions of the weights p_ij = exp(s_ij - lse_i). What was not asked for is None.

    All are float32 (float64 for float64 inputs) unless said otherwise, on the inputs' device. Nothing is
    renormalised: with attention sinks a row's weights sum to less than 1, and so does what is made of them.

    Attributes:
        received: [B, Hq, Lk], the mass each key receives, sum_i p_ij.
        visible: int64 [Lk], how many queries could read each key. Comes with `received`.
        entropy: [B, Hq, Lq] in nats, -sum_j p_ij log p_ij; where rounding would leave it below 0, it is 0.
        top_weights: [B, Hq, Lq, k], each query's largest weights, descending; 0 where it has fewer keys.
        top_keys: int64 [B, Hq, Lq, k], their keys; -1 where it has fewer. Equal weights come in any order.
        max_score: [B, Hq], the largest score s_ij; -inf where no product exists.
        distance: [B, Hq, Lq], the expected distance sum_j p_ij |i - j|, in positions.
        by_distance: [B, Hq, n], the mass at each distance |i - j| = 0 ... n - 1, summed over queries.
        mass: name to [B, Hq, Lq], each query's mass on a named pattern.
        maps: pooling to [B, Hq, R, C], in the order asked: weights p_ij, or scores s_ij where they were asked
            for, pooled over the computed products of each pixel; NaN where there is none.
    """

    received: torch.Tensor | None = None
    visible: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    top_weights: torch.Tensor | None = None
    top_keys: torch.Tensor | None = None
    max_score: torch.Tensor | None = None
    distance: torch.Tensor | None = None
    by_distance: torch.Tensor | None = None
    mass: dict[str, torch.Tensor] | None = None
    maps: dict[str, torch.Tensor] | None = None

    @property
    def map(self) -> torch.Tensor | None:
        """The first of `maps`."""
        return next(iter(self.maps.values())) if self.maps else None

    def __repr__(self) -> str:
        parts: list[str] = []
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, torch.Tensor):
                parts.append(f"{one.name} {list(value.shape)}")
            elif value is not None:
                parts.append(f"{one.name} of {', '.join(value) or 'nothing'}")
        return f"<Observation: {'; '.join(parts) or 'nothing was asked'}>"


def pixel_edges(length: int, pixels: int) -> Ints:
    """Where pixels begin: pixel p covers places edges[p] to edges[p + 1] - 1. int64 [pixels + 1]."""
    return np.arange(pixels + 1, dtype=np.int64) * length // max(pixels, 1)


def pixel_counts(spans: Spans, rows: int, columns: int) -> Ints:
    """How many computed products each pixel of a rows x columns map holds: int64 [rows, columns]."""
    query_edges, key_edges = pixel_edges(spans.n_queries, rows), pixel_edges(spans.n_keys, columns)
    counts = np.zeros((rows, columns), dtype=np.int64)
    at_once = max(_COUNTED // max(columns, 1), 1)
    for first in range(0, rows, at_once):
        last = min(first + at_once, rows)
        ends = spans.row_ptr[query_edges[first : last + 1]]  # intervals of each row of pixels
        pixel_rows = np.repeat(np.arange(last - first), np.diff(ends))
        # Keys below an edge e, over all intervals: sum max(e - start, 0) - sum max(e - stop, 0).
        part = slice(int(ends[0]), int(ends[-1]))
        below = _reach(pixel_rows, spans.starts[part], last - first, key_edges)
        below -= _reach(pixel_rows, spans.stops[part], last - first, key_edges)
        counts[first:last] = np.diff(below, axis=1, prepend=0)
    return counts


def _reach(rows: Ints, points: Ints, n_rows: int, edges: Ints) -> Ints:
    """sum max(edge - point, 0) over each row's points, for every edge but the first."""
    n_edges = len(edges)
    at = rows * n_edges + np.searchsorted(edges, points, side="right") - 1
    passed = np.bincount(at, minlength=n_rows * n_edges).reshape(n_rows, n_edges)[:, :-1].cumsum(1)
    # Exact: a sum of float64 whole numbers, far below 2**53.
    total = (
        np.bincount(at, weights=points, minlength=n_rows * n_edges).reshape(n_rows, n_edges)[:, :-1].cumsum(1)
    )
    return passed * edges[1:] - total.astype(np.int64)
