"""What an observation may ask for, what it gives, and where the pixels of a map lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
import torch

from lookbehind.spans import Ints, Spans

REDUCES = ("mean", "max", "sum")


@dataclass(frozen=True, eq=False)
class Wants:
    """The reductions asked for; an engine pays for no other.

    Attributes:
        received, entropy, max_score, distance, by_distance: see `Observation`.
        top: how many of each query's largest weights; 0 for none.
        mass: spans to measure, by name; already within the problem's own spans.
        map: (rows, columns) of the pooled map, at most (Lq, Lk); None for none.
        map_reduce: "mean", "max" or "sum".
    """

    received: bool = False
    entropy: bool = False
    top: int = 0
    max_score: bool = False
    distance: bool = False
    by_distance: bool = False
    mass: Mapping[str, Spans] = field(default_factory=dict[str, Spans])
    map: tuple[int, int] | None = None
    map_reduce: str = "mean"

    @property
    def only_mass(self) -> bool:
        """Whether products outside the named masses can be left alone."""
        others = (self.received, self.entropy, self.top, self.max_score, self.distance, self.by_distance)
        return not any(others) and self.map is None


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """Reductions of the weights p_ij = exp(s_ij - lse_i). What was not asked for is None.

    All are float32 (float64 for float64 inputs) unless said otherwise, on the inputs' device. Nothing is
    renormalised: with attention sinks a row's weights sum to less than 1, and so does what is made of them.

    Attributes:
        received: [B, Hq, Lk], the mass each key receives, sum_i p_ij.
        visible: int64 [Lk], how many queries could read each key. Comes with `received`.
        entropy: [B, Hq, Lq] in nats, -sum_j p_ij log p_ij.
        top_weights: [B, Hq, Lq, k], each query's largest weights, descending; 0 where it has fewer keys.
        top_keys: int64 [B, Hq, Lq, k], their keys; -1 where it has fewer. Equal weights come in any order.
        max_score: [B, Hq], the largest score s_ij; -inf where no product exists.
        distance: [B, Hq, Lq], the expected distance sum_j p_ij |i - j|, in positions.
        by_distance: [B, Hq, n], the mass at each distance |i - j| = 0 ... n - 1, summed over queries.
        mass: name to [B, Hq, Lq], each query's mass on a named pattern.
        map: [B, Hq, R, C], weights pooled over the computed products of each pixel; NaN where there is none.
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
    map: torch.Tensor | None = None

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
    for row in range(rows):
        part = slice(*(int(spans.row_ptr[query_edges[row + edge]]) for edge in (0, 1)))
        # Keys below an edge e, over all intervals: sum max(e - start, 0) - sum max(e - stop, 0).
        below = _reach(spans.starts[part], key_edges) - _reach(spans.stops[part], key_edges)
        counts[row] = np.diff(below)
    return counts


def _reach(points: Ints, edges: Ints) -> Ints:
    """sum over points of max(edge - point, 0), for each edge."""
    points = np.sort(points)
    total = np.zeros(len(points) + 1, dtype=np.int64)
    np.cumsum(points, out=total[1:])
    passed = np.searchsorted(points, edges)
    return passed * edges - total[passed]
