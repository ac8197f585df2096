"""Levels: pixels pooled further, four into one, while the map is still being made from the top down.

Sums and counts add up and maxima are compared, so each level is as exact as the first. One row of tiles of
each level is held, whatever the length of the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookbehind.atlas.frame import Floats
from lookbehind.atlas.geometry import TILE, Geometry


@dataclass(frozen=True)
class Pooled:
    """Pixels [rows, columns].

    Attributes:
        total: sums over the products of each pixel; 0 where there is none.
        most: their maxima; -inf where there is none.
        counts: how many products.
    """

    total: Floats
    most: Floats
    counts: NDArray[np.int32]

    @classmethod
    def empty(cls, rows: int, columns: int) -> Pooled:
        """Pixels without products."""
        shape = rows, columns
        return cls(
            np.zeros(shape, dtype=np.float32),
            np.full(shape, -math.inf, dtype=np.float32),
            np.zeros(shape, dtype=np.int32),
        )

    def part(self, rows: slice, columns: slice = slice(None)) -> Pooled:
        """Some of the pixels; the same memory."""
        return Pooled(self.total[rows, columns], self.most[rows, columns], self.counts[rows, columns])

    def put(self, rows: slice, other: Pooled) -> None:
        """Take over other pixels."""
        self.total[rows], self.most[rows], self.counts[rows] = other.total, other.most, other.counts

    def halved(self) -> Pooled:
        """Four pixels in one; odd ones at the edges stay alone."""
        return Pooled(
            _quads(self.total, 0.0).sum((1, 3)),
            _quads(self.most, -math.inf).max((1, 3)),
            _quads(self.counts, 0).sum((1, 3)),
        )

    def maps(self) -> dict[str, Floats]:
        """What is kept: mean and maximum, NaN where there is no product."""
        some = self.counts > 0
        mean = np.divide(
            self.total, self.counts, out=np.full(self.total.shape, math.nan, np.float32), where=some
        )
        return {"mean": mean, "max": np.where(some, self.most, np.float32(math.nan))}


class Levels:
    """Every level from a base up.

    Args:
        geometry: of the map.
        base: the finest level.
        write: told (level, tile row, its pixels) when a row of tiles is whole.
    """

    def __init__(self, geometry: Geometry, base: int, write: Callable[[int, int, Pooled], None]) -> None:
        self._write, self._base, self._top = write, base, geometry.top
        # A strip is a whole row of tiles of the base level; only what lies above has to be gathered.
        self._open = {z: Pooled.empty(TILE, geometry.shape(z)[1]) for z in range(base + 1, geometry.top + 1)}
        self._filled = dict.fromkeys(self._open, 0)
        self._rows = dict.fromkeys(range(base, geometry.top + 1), 0)

    def add(self, pixels: Pooled, last: bool) -> None:
        """The next pixel rows of the base level: a row of tiles, or what is left of the last one."""
        self._whole(self._base, pixels)
        for z in range(self._base + 1, self._top + 1):
            pixels = pixels.halved()
            filled = self._filled[z] + len(pixels.total)
            self._open[z].put(slice(self._filled[z], filled), pixels)
            self._filled[z] = filled
            if filled == TILE or last:
                self._whole(z, self._open[z].part(slice(0, filled)))
                self._filled[z] = 0

    def _whole(self, z: int, pixels: Pooled) -> None:
        self._write(z, self._rows[z], pixels)
        self._rows[z] += 1


def _quads(values: NDArray[np.generic], empty: float) -> NDArray[np.generic]:
    rows, columns = values.shape
    if rows % 2 or columns % 2:
        values = np.pad(values, ((0, rows % 2), (0, columns % 2)), constant_values=empty)
    return values.reshape(-(-rows // 2), 2, -(-columns // 2), 2)
