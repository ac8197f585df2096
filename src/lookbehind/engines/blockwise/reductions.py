"""Reductions: what an observation keeps of each tile of weights, one class each.

Each is made for a whole problem, is handed every non-empty tile once (`add`), and gives its result, with the
heads of the whole batch in one axis, as `fields` of an Observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch

from lookbehind.engines.blockwise.pixels import Maps
from lookbehind.engines.blockwise.strips import Strip
from lookbehind.engines.blockwise.tiles import LOG2E, NEVER, Grid, Place, Scores
from lookbehind.engines.observation import Wants
from lookbehind.spans import Spans


class Tile:
    """Log weights s_ij - lse_i in bits, [heads, rows, keys], NEVER where forbidden; and the weights.

    Attributes:
        bench: what this strip's reductions keep between its tiles.
        place, rows, keys, heads: where it lies; heads are counted over the whole batch.
        log: the log weights.
        highest: [heads, rows], the largest score in bits, -inf where all are forbidden; None unless wanted.
        scores: the scores in bits, what is forbidden not hidden; None unless they are pooled.
    """

    def __init__(
        self,
        bench: Bench,
        place: Place,
        log: torch.Tensor,
        highest: torch.Tensor | None = None,
        scores: torch.Tensor | None = None,
    ) -> None:
        self.bench, self.place, self.log, self.highest, self.scores = bench, place, log, highest, scores
        self.heads, self.rows, self.keys = bench.strip.heads, place.rows, place.keys
        self._weights: torch.Tensor | None = None

    @property
    def weights(self) -> torch.Tensor:
        """p_ij, [heads, rows, keys]; computed when a reduction first asks."""
        if self._weights is None:
            self._weights = torch.exp2(self.log, out=self.bench.upright(self.log))
        return self._weights

    def skewed(self) -> torch.Tensor:
        """[heads, rows, rows + keys - 1]: column t holds the products with j - i = const + t, else zeros."""
        return self.bench.skewed(self.weights)


class Bench:
    """A strip's working memory: its tiles' weights, and what is gathered for reductions that cross strips.

    Where sums by distance are asked for, weights lie in rows padded with zeros such that, read with a row
    stride one longer, column t of the same memory is an anti-diagonal of the tile: sums along a plain axis.
    """

    def __init__(self, strip: Strip, skew: bool) -> None:
        self.strip, self._skew = strip, skew
        self._buffer = torch.empty(0)
        self.parts: dict[object, torch.Tensor] = {}

    def part(self, owner: object, *shape: int, start: float = 0.0) -> torch.Tensor:
        """`start` everywhere, [heads, *shape], the strip's own, made when first asked for."""
        if owner not in self.parts:
            scores = self.strip.scores
            self.parts[owner] = torch.full(
                (self.strip.shape[0], *shape), start, dtype=scores.dtype, device=scores.device
            )
        return self.parts[owner]

    def upright(self, log: torch.Tensor) -> torch.Tensor:
        """Where the weights of a tile are written, [heads, rows, keys]."""
        heads, rows, keys = log.shape
        length = (rows - 1) + rows * (rows + keys - 1) if self._skew else rows * keys
        if self._buffer.shape != (heads, length):
            self._buffer = log.new_zeros(heads, length)
        if not self._skew:
            return self._buffer.view(log.shape)
        return self._buffer.as_strided((heads, rows, keys), (length, rows + keys - 1, 1), rows - 1)

    def skewed(self, weights: torch.Tensor) -> torch.Tensor:
        """The memory of these weights, which lie `upright`, one element further in each row."""
        heads, rows, keys = weights.shape
        stride = rows + keys - 1
        return self._buffer.as_strided((heads, rows, stride), (self._buffer.shape[1], stride + 1, 1), 0)


Result = torch.Tensor | dict[str, torch.Tensor]


class Reduction(Protocol):
    """What the walk needs of a reduction."""

    def add(self, tile: Tile) -> None:
        """Take in one tile. Strips run side by side: write to this strip's rows or to its bench only."""
        ...

    def gather(self, bench: Bench) -> None:
        """Take in what a finished strip left on its bench; called in the order of the strips."""
        ...

    def fields(self) -> Mapping[str, Result]:
        """The results, by their name in Observation; the first axis is all heads of the batch."""
        ...


def chosen(scores: Scores, wants: Wants) -> list[Reduction]:
    """The reductions that were asked for, and no other."""
    found: list[Reduction] = []
    if wants.received:
        found.append(_Received(scores))
    if wants.entropy:
        found.append(_Entropy(scores))
    if wants.top:
        found.append(_Top(scores, wants.top))
    if wants.max_score:
        found.append(_MaxScore(scores))
    if wants.distance:
        found.append(_Distance(scores))
    if wants.by_distance:
        found.append(_ByDistance(scores))
    if wants.mass:
        found.append(_Masses(scores, wants.mass))
    if wants.map is not None:
        found.append(Maps(scores, wants.map, wants.map_reduces, wants.map_of))
    return found


class _ByRow:
    """A reduction whose strips write apart: nothing is left to gather."""

    def gather(self, bench: Bench) -> None:
        pass


class _Received:
    """Sum over queries."""

    def __init__(self, scores: Scores) -> None:
        self.total = scores.zeros(scores.problem.n_keys)

    def add(self, tile: Tile) -> None:
        tile.bench.part(self, self.total.shape[1])[:, tile.keys] += tile.weights.sum(1)

    def gather(self, bench: Bench) -> None:
        self.total[bench.strip.heads] += bench.parts[self]

    def fields(self) -> dict[str, torch.Tensor]:
        return {"received": self.total}


class _Entropy(_ByRow):
    """- sum p log p."""

    def __init__(self, scores: Scores) -> None:
        self.total = scores.zeros(scores.problem.n_queries)

    def add(self, tile: Tile) -> None:
        self.total[tile.heads, tile.rows] -= torch.linalg.vecdot(tile.weights, tile.log)

    def fields(self) -> dict[str, torch.Tensor]:
        return {"entropy": self.total / LOG2E}


class _Top(_ByRow):
    """The k largest of each row, merged tile by tile; ranked by log weight, which does not underflow."""

    def __init__(self, scores: Scores, k: int) -> None:
        n = scores.problem.n_queries
        self.k = k
        self.log = scores.zeros(n, k).fill_(NEVER)
        self.keys = torch.full_like(self.log, -1, dtype=torch.int64)
        # Most tiles hold nothing for most rows. Where looking is free of a device round trip, look first.
        self.look_first = scores.device.type == "cpu"

    def add(self, tile: Tile) -> None:
        log, keys = self.log[tile.heads, tile.rows], self.keys[tile.heads, tile.rows]
        if self.look_first:
            better = ~(tile.log.amax(-1) <= log[..., -1])  # a NaN ranks before every number
            log[better], keys[better] = self._merged(log[better], keys[better], tile.log[better], tile.keys)
        else:
            new_log, new_keys = self._merged(log, keys, tile.log, tile.keys)
            log.copy_(new_log)
            keys.copy_(new_keys)

    def _merged(
        self, log: torch.Tensor, keys: torch.Tensor, tile: torch.Tensor, where: slice
    ) -> tuple[torch.Tensor, torch.Tensor]:
        best, place = tile.topk(min(self.k, tile.shape[-1]), dim=-1)
        log, order = torch.cat([log, best], -1).topk(self.k, dim=-1)
        return log, torch.cat([keys, place + where.start], -1).gather(-1, order)

    def fields(self) -> dict[str, torch.Tensor]:
        none = self.log <= NEVER / 2
        return {"top_weights": self.log.exp2(), "top_keys": self.keys.masked_fill(none, -1)}


class _MaxScore(_ByRow):
    """The largest score."""

    def __init__(self, scores: Scores) -> None:
        self.best = scores.zeros(max(scores.problem.n_queries, 1)).fill_(-math.inf)

    def add(self, tile: Tile) -> None:
        assert tile.highest is not None  # it was asked for
        best = self.best[tile.heads, tile.rows]
        torch.maximum(best, tile.highest, out=best)

    def fields(self) -> dict[str, torch.Tensor]:
        return {"max_score": self.best.amax(-1) / LOG2E}


class _Distance(_ByRow):
    """Sum of p |i - j| in each row.

    Beside the diagonal |i - j| is the distance to the tile's nearest key plus the way within the tile; both
    terms are >= 0, so that nothing cancels however far from 0 the positions are.
    """

    def __init__(self, scores: Scores) -> None:
        self.total = scores.zeros(scores.problem.n_queries)
        self.scores = scores

    def add(self, tile: Tile) -> None:
        rows, keys = tile.rows, tile.keys
        offset, like = self.scores.problem.spans.offset, self.total
        behind = rows.start + offset >= keys.stop - 1
        ahead = rows.stop - 1 + offset <= keys.start
        if not (behind or ahead):
            added = torch.linalg.vecdot(tile.weights, self.scores.apart(tile.place).abs())
        else:
            within = torch.arange(keys.stop - keys.start, device=like.device)
            i = torch.arange(rows.start + offset, rows.stop + offset, device=like.device)
            if behind:
                within, to_nearest = within.flip(0), i - (keys.stop - 1)
            else:
                to_nearest = keys.start - i
            columns = torch.stack([torch.ones_like(within), within], dim=1).to(like.dtype)
            mass, inside = (tile.weights @ columns).unbind(-1)
            added = mass * to_nearest.to(like.dtype) + inside
        self.total[tile.heads, rows] += added

    def fields(self) -> dict[str, torch.Tensor]:
        return {"distance": self.total}


class _ByDistance:
    """Sum over queries at each |i - j|: sums along the anti-diagonals of a tile."""

    def __init__(self, scores: Scores) -> None:
        self.total = scores.zeros(scores.problem.n_distances)
        self.offset = scores.problem.spans.offset

    def add(self, tile: Tile) -> None:
        sums = tile.skewed().sum(1)
        # Column t of `sums` is j - i = first + t.
        first = tile.keys.start - (tile.rows.stop - 1 + self.offset)
        last = first + sums.shape[-1] - 1
        total = tile.bench.part(self, self.total.shape[1])
        if last > 0:  # keys ahead of their query
            total[:, max(first, 1) : last + 1] += sums[:, max(first, 1) - first :]
        if first <= 0:  # keys behind, and the query's own
            near = min(last, 0)
            total[:, -near : -first + 1] += sums[:, : near - first + 1].flip(-1)

    def gather(self, bench: Bench) -> None:
        self.total[bench.strip.heads] += bench.parts[self]

    def fields(self) -> dict[str, torch.Tensor]:
        return {"by_distance": self.total}


class _Mass:
    """Sum over the keys of a named pattern. Tiles without one of them cost nothing."""

    def __init__(self, scores: Scores, spans: Spans) -> None:
        self.total = scores.zeros(scores.problem.n_queries)
        grid = scores.grid
        self.grid = Grid(spans, grid.rows, grid.keys, scores.device)

    def add(self, tile: Tile) -> None:
        kind, place = self.grid.kind(tile.place), tile.place
        if kind == "empty":
            return
        weights = tile.weights
        if kind == "partial":
            # Only the columns between the first key and the last: one for first(1), however wide the tile.
            part = self.grid.spans.region(place.rows, place.keys)
            low, high = int(part.starts.min()), int(part.stops.max())
            start = place.keys.start
            hidden = self.grid.hidden(place.rows, slice(start + low, start + high))
            weights = weights[..., low:high].masked_fill(hidden, 0.0)
        self.total[tile.heads, tile.rows] += weights.sum(-1)


class _Masses(_ByRow):
    """Every named mass."""

    def __init__(self, scores: Scores, named: Mapping[str, Spans]) -> None:
        self.named = {name: _Mass(scores, spans) for name, spans in named.items()}

    def add(self, tile: Tile) -> None:
        for one in self.named.values():
            one.add(tile)

    def fields(self) -> dict[str, Result]:
        return {"mass": {name: one.total for name, one in self.named.items()}}
