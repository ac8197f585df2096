"""Pixels: the weights of each tile pooled into a map of any size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lookbehind.engines.observation import pixel_counts, pixel_edges

if TYPE_CHECKING:
    from lookbehind.engines.blockwise.reductions import Bench, Tile
    from lookbehind.engines.blockwise.tiles import Scores


class Map:
    """Weights pooled into pixels: rows first, then columns, so that the second step is small."""

    def __init__(self, scores: Scores, size: tuple[int, int], reduce: str) -> None:
        problem = scores.problem
        self.spans, self.size, self.reduce = problem.spans, size, reduce
        self.total = scores.zeros(*size)
        kind = _MaxPool if reduce == "max" else _SumPool
        self.rows = kind(problem.n_queries, size[0], self.total)
        self.columns = kind(problem.n_keys, size[1], self.total)

    def add(self, tile: Tile) -> None:
        """Take in one tile."""
        pooled = self.columns.columns(self.rows.rows(tile.weights, tile.rows), tile.keys)
        rows = self.rows.pixels(tile.rows)
        part = tile.bench.part(self, rows.stop - rows.start, self.size[1])[
            :, :, self.columns.pixels(tile.keys)
        ]
        if self.reduce == "max":
            torch.maximum(part, pooled, out=part)  # weights are >= 0, so starting from 0 is right
        else:
            part += pooled

    def gather(self, bench: Bench) -> None:
        """Take in a strip's pixels; a row of pixels may begin in one strip and end in another."""
        total = self.total[bench.strip.heads, self.rows.pixels(bench.strip.rows)]
        if self.reduce == "max":
            torch.maximum(total, bench.parts[self], out=total)
        else:
            total += bench.parts[self]

    def fields(self) -> dict[str, torch.Tensor]:
        """The finished map."""
        counts = torch.from_numpy(pixel_counts(self.spans, *self.size)).to(self.total.device)
        if self.reduce == "mean":
            self.total /= counts.clamp(min=1).to(self.total.dtype)
        return {"map": self.total.masked_fill_(counts == 0, math.nan)}


class _Pool:
    """Which places of an axis fall into which pixel."""

    def __init__(self, length: int, pixels: int, like: torch.Tensor) -> None:
        self.length, self.n_pixels, self.like = length, pixels, like
        self._edges = pixel_edges(length, pixels)
        self._kept: dict[int, torch.Tensor] = {}

    def pixels(self, places: slice) -> slice:
        """The pixels that these places touch."""
        first, last = (
            ((place + 1) * self.n_pixels - 1) // self.length for place in (places.start, places.stop - 1)
        )
        return slice(first, last + 1)

    def table(self, places: slice) -> torch.Tensor | None:
        """What the pool needs to know about a tile's places; None where each place is its own pixel."""
        if self.n_pixels == self.length:
            return None
        if places.start not in self._kept:
            pixels = self.pixels(places)
            edges = torch.from_numpy(self._edges[pixels.start : pixels.stop + 1]) - places.start
            self._kept[places.start] = self.make(edges.clamp(0, places.stop - places.start))
        return self._kept[places.start]

    def make(self, edges: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def rows(self, weights: torch.Tensor, places: slice) -> torch.Tensor:
        raise NotImplementedError

    def columns(self, weights: torch.Tensor, places: slice) -> torch.Tensor:
        raise NotImplementedError


class _SumPool(_Pool):
    """Sums, as a product with the 0-1 matrix [pixels, places] of who falls where."""

    def make(self, edges: torch.Tensor) -> torch.Tensor:
        places = torch.arange(int(edges[-1]))
        return ((places >= edges[:-1, None]) & (places < edges[1:, None])).to(self.like)

    def rows(self, weights: torch.Tensor, places: slice) -> torch.Tensor:
        table = self.table(places)
        return weights if table is None else torch.matmul(table, weights)

    def columns(self, weights: torch.Tensor, places: slice) -> torch.Tensor:
        table = self.table(places)
        return weights if table is None else torch.matmul(weights, table.t())


class _MaxPool(_Pool):
    """Maxima, of places gathered as [pixels, longest pixel]; short pixels repeat their last place."""

    def make(self, edges: torch.Tensor) -> torch.Tensor:
        most = int((edges[1:] - edges[:-1]).max())
        places = edges[:-1, None] + torch.arange(most)
        return torch.minimum(places, edges[1:, None] - 1).to(self.like.device)

    def rows(self, weights: torch.Tensor, places: slice) -> torch.Tensor:
        table = self.table(places)
        if table is None:
            return weights
        return weights.index_select(1, table.flatten()).unflatten(1, table.shape).amax(2)

    def columns(self, weights: torch.Tensor, places: slice) -> torch.Tensor:
        table = self.table(places)
        if table is None:
            return weights
        return weights.index_select(2, table.flatten()).unflatten(2, table.shape).amax(3)
