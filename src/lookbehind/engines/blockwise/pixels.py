"""Pixels: the weights or scores of each tile pooled into maps of any size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lookbehind.engines.blockwise.tiles import LOG2E
from lookbehind.engines.observation import pixel_counts, pixel_edges

if TYPE_CHECKING:
    from lookbehind.engines.blockwise.reductions import Bench, Tile
    from lookbehind.engines.blockwise.tiles import Scores


class Maps:
    """Weights or scores pooled into pixels, by sums, maxima or both; a mean is a sum over its count."""

    def __init__(self, scores: Scores, size: tuple[int, int], reduces: tuple[str, ...], of: str) -> None:
        self.spans, self.size, self.reduces = scores.problem.spans, size, reduces
        # Scores of tiles are in bits, weights are what they are.
        self.unit = 1.0 if of == "weight" else 1 / LOG2E
        self.sums = _Map(scores, size, _SumPool, of) if {"sum", "mean"} & set(reduces) else None
        self.maxima = _Map(scores, size, _MaxPool, of) if "max" in reduces else None
        self.parts = [one for one in (self.sums, self.maxima) if one is not None]

    def add(self, tile: Tile) -> None:
        """Take in one tile."""
        for one in self.parts:
            one.add(tile)

    def gather(self, bench: Bench) -> None:
        """Take in a strip's pixels."""
        for one in self.parts:
            one.gather(bench)

    def fields(self) -> dict[str, dict[str, torch.Tensor]]:
        """The finished maps."""
        like = self.parts[0].total
        counts = torch.from_numpy(pixel_counts(self.spans, *self.size)).to(like.device)
        share = self.unit / counts.clamp(min=1).to(like.dtype)
        found: dict[str, torch.Tensor] = {}
        for reduce in self.reduces:
            one = self.maxima if reduce == "max" else self.sums
            assert one is not None
            pooled = one.total * (share if reduce == "mean" else self.unit)
            found[reduce] = pooled.masked_fill_(counts == 0, math.nan)
        return {"maps": found}


class _Map:
    """One kind of pool over both axes: rows first, then columns, so that the second step is small."""

    def __init__(self, scores: Scores, size: tuple[int, int], kind: type[_Pool], of: str) -> None:
        problem = scores.problem
        self.scores, self.size, self.of = scores, size, of
        self.largest = kind is _MaxPool
        # Weights are >= 0, so that maxima may start from 0, and what is forbidden weighs 0 already.
        self.start = -math.inf if self.largest and of == "score" else 0.0
        self.total = scores.zeros(*size).fill_(self.start)
        self.rows = kind(problem.n_queries, size[0], self.total)
        self.columns = kind(problem.n_keys, size[1], self.total)

    def values(self, tile: Tile) -> torch.Tensor:
        """What is pooled, [heads, rows, keys]; `start` where the product is forbidden."""
        if self.of == "weight":
            return tile.weights
        assert tile.scores is not None  # they were asked for
        return self.scores.hidden(tile.scores, tile.place, self.start)

    def add(self, tile: Tile) -> None:
        values = self.values(tile)
        pooled = self.columns.pool(self.rows.pool(values, tile.rows, 1), tile.keys, 2)
        if not self.largest and not bool(pooled.isfinite().all()):
            # Times 0, a NaN would enter the sums of other pixels.
            pooled = self.rows.apart(values, tile.rows, 1)
            pooled = self.columns.apart(pooled, tile.keys, 2)
        rows = self.rows.pixels(tile.rows)
        part = tile.bench.part(self, rows.stop - rows.start, self.size[1], start=self.start)[
            :, :, self.columns.pixels(tile.keys)
        ]
        if self.largest:
            torch.maximum(part, pooled, out=part)
        else:
            part += pooled

    def gather(self, bench: Bench) -> None:
        # A row of pixels may begin in one strip and end in another.
        total = self.total[bench.strip.heads, self.rows.pixels(bench.strip.rows)]
        if self.largest:
            torch.maximum(total, bench.parts[self], out=total)
        else:
            total += bench.parts[self]


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

    def apart(self, weights: torch.Tensor, places: slice, axis: int) -> torch.Tensor:
        """Sums along an axis, place by place: slower than a product, and each place meets its pixel alone."""
        pixels = self.pixels(places)
        shape = [*weights.shape]
        shape[axis] = pixels.stop - pixels.start
        at = torch.arange(places.start, places.stop, device=weights.device)
        which = ((at + 1) * self.n_pixels - 1) // self.length - pixels.start
        return weights.new_zeros(shape).index_add_(axis, which, weights)

    def pool(self, weights: torch.Tensor, places: slice, axis: int) -> torch.Tensor:
        """A tile's weights [heads, rows, keys] along an axis, 1 or 2."""
        table = self.table(places)
        return weights if table is None else self.reduce(weights, table, axis)

    def make(self, edges: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def reduce(self, weights: torch.Tensor, table: torch.Tensor, axis: int) -> torch.Tensor:
        raise NotImplementedError


class _SumPool(_Pool):
    """Sums, as a product with the 0-1 matrix [pixels, places] of who falls where."""

    def make(self, edges: torch.Tensor) -> torch.Tensor:
        places = torch.arange(int(edges[-1]), device="cpu")
        return ((places >= edges[:-1, None]) & (places < edges[1:, None])).to(self.like)

    def reduce(self, weights: torch.Tensor, table: torch.Tensor, axis: int) -> torch.Tensor:
        return torch.matmul(table, weights) if axis == 1 else torch.matmul(weights, table.t())


class _MaxPool(_Pool):
    """Maxima, of places gathered as [pixels, longest pixel]; short pixels repeat their last place."""

    def make(self, edges: torch.Tensor) -> torch.Tensor:
        most = int((edges[1:] - edges[:-1]).max())
        places = edges[:-1, None] + torch.arange(most, device="cpu")
        return torch.minimum(places, edges[1:, None] - 1).to(self.like.device)

    def reduce(self, weights: torch.Tensor, table: torch.Tensor, axis: int) -> torch.Tensor:
        if table.numel() != weights.shape[axis]:  # pixels of one size that fill the tile lie as they have to
            weights = weights.index_select(axis, table.flatten())
        return weights.unflatten(axis, table.shape).amax(axis + 1)
