"""Pyramid: the coarse tiles of one head through one lens, all from one pass over its products.

The pass goes down the map in strips, each one row of tiles of the base level. A strip is computed in blocks
of a few hundred rows, on all cores; they give way to viewers.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from lookbehind.atlas.cache import Cache
from lookbehind.atlas.frame import Frame
from lookbehind.atlas.geometry import TILE, Geometry
from lookbehind.atlas.levels import Levels, Pooled
from lookbehind.atlas.onehead import RowNumbers, peak, taken
from lookbehind.atlas.sheaf import Sheaf
from lookbehind.atlas.sight import Sight, padded
from lookbehind.atlas.work import StoppedError, Work
from lookbehind.pattern import First
from lookbehind.spans import Ints

BASE = 5  # the finest level kept: what is finer is made again about as fast as it would be read
ROWS = 512  # of a block
KEYS = 1 << 14  # of a block, before it gives way
NUMBERED = 128  # rows whose normaliser is computed before it gives way


class Tracks:
    """Numbers along the axes of a head, as far as they are known.

    Attributes:
        entropy, sink: float32 [Lq], of each query; NaN where not yet computed.
        received: float64 [Lk], the mass of each key so far.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.entropy = np.full(geometry.n_queries, math.nan, dtype=np.float32)
        self.sink = np.full(geometry.n_queries, math.nan, dtype=np.float32)
        self.received = np.zeros(geometry.n_keys, dtype=np.float64)


class Pyramid:
    """One pass, in the background until its sheaf is finished.

    Args:
        sight: the head and the lens.
        own: the head's row numbers, which a pass through the plain lens completes.
        geometry: of the map.
        cache: where finished tiles go.
        sheaf: which of it; readable from the start.
        work: the queue.
        ended: told when the pass has ended, or failed.

    Attributes:
        done, total: blocks.
        tracks: what comes with a pass through the plain lens; None with others.
        failed: why it ended early, or None.
        turn: of several passes, the highest goes first.
    """

    def __init__(
        self,
        sight: Sight,
        own: RowNumbers,
        geometry: Geometry,
        cache: Cache,
        sheaf: Sheaf,
        work: Work,
        ended: Callable[[Pyramid], None],
    ) -> None:
        self._sight, self._own, self._geometry = sight, own, geometry
        self._cache, self.sheaf, self._work, self._ended = cache, sheaf, work, ended
        self._levels = Levels(geometry, sheaf.base, self._write)
        self._height = TILE << sheaf.base
        self._lock = threading.Lock()
        self._strip = Pooled.empty(0, 0)
        self._left = 0  # blocks of the strip
        self.tracks = Tracks(geometry) if sight.lens.of == "weight" and sight.lens.skip == 0 else None
        self.done, self.total = 0, -(-geometry.n_queries // ROWS)
        self.failed: str | None = None
        self.turn = 0

    def begin(self) -> None:
        """Ask for the first strip; each asks for the next when it ends."""
        self._begin(0)

    def _begin(self, first: int) -> None:
        rows = slice(first, min(first + self._height, self._geometry.n_queries))
        blocks = range(rows.start, rows.stop, ROWS)
        self._strip = Pooled.empty(-(-(rows.stop - rows.start) // (1 << self.sheaf.base)), self._wide)
        self._left = len(blocks)
        for row in blocks:
            block = slice(row, min(row + ROWS, rows.stop))
            self._work.ask(
                ("pass", self.sheaf.key, row),
                partial(self._block, rows, block),
                ROWS * self._geometry.n_keys,
                background=self.turn,
            )

    @property
    def _wide(self) -> int:
        return self._geometry.shape(self.sheaf.base)[1]

    def _block(self, strip: slice, rows: slice) -> None:
        if self.failed is not None:
            return
        try:
            self._observe(rows, (rows.start - strip.start) >> self.sheaf.base)
            with self._lock:
                self.done += 1
                self._left -= 1
                left = self._left
            if not left:
                self._end(strip)
        except StoppedError:
            raise
        except Exception as error:
            self.failed = str(error) or type(error).__name__
            self._ended(self)

    def _observe(self, rows: slice, down: int) -> None:
        """A block's pixels into the strip, from its pixel row `down` on; a stretch of keys at a time."""
        at = np.arange(rows.start, rows.stop)
        above: list[torch.Tensor] = []
        for first in range(0, len(at), NUMBERED):
            self._work.give_way()
            above.append(self._sight.above(at[first : first + NUMBERED]))
        numbers = _Numbers(torch.cat(above))
        for first in range(0, self._geometry.n_keys, KEYS):
            keys = slice(first, min(first + KEYS, self._geometry.n_keys))
            if taken(self._sight.spans, at, keys).count():
                self._work.give_way()
                self._stretch(at, keys, down, numbers)
        if self.tracks is not None:
            self.tracks.entropy[rows], self.tracks.sink[rows] = numbers.entropy, numbers.sink
            self._own.peak[rows] = peak(numbers.above, numbers.top)

    def _stretch(self, at: Ints, keys: slice, down: int, numbers: _Numbers) -> None:
        side, sight = 1 << self.sheaf.base, self._sight
        n_rows, n_columns = -(-len(at) // side), -(-(keys.stop - keys.start) // side)
        wants: dict[str, Any] = {}
        if self.tracks is not None:
            wants = {"received": True, "entropy": True, "top": 1, "mass": {"sink": First(1)}}
            if keys.start:
                del wants["mass"]
        seen = sight.head.observe(
            sight.spans,
            at,
            keys,
            numbers.above,
            (side, side),
            map=(n_rows, n_columns),
            map_reduce=("sum", "max"),
            map_of="score" if sight.signed else "weight",
            **wants,
        )
        assert seen.maps is not None  # they were asked for
        part = self._strip.part(
            slice(down, down + n_rows),
            slice(keys.start >> self.sheaf.base, (keys.start >> self.sheaf.base) + n_columns),
        )
        total, most = (seen.maps[pool][0, 0].float().cpu().numpy() for pool in ("sum", "max"))
        empty = np.isnan(total)
        part.total[:], part.most[:] = np.where(empty, 0.0, total), np.where(empty, -math.inf, most)
        if self.tracks is None:
            return
        assert seen.received is not None and seen.entropy is not None and seen.top_weights is not None
        n = len(at)  # what follows was filled up
        numbers.entropy += seen.entropy[0, 0, :n].cpu().numpy()
        numbers.top = torch.maximum(numbers.top, seen.top_weights[0, 0, :n, 0].cpu())
        if seen.mass:
            numbers.sink += seen.mass["sink"][0, 0, :n].cpu().numpy()
        with self._lock:
            self.tracks.received[keys] += seen.received[0, 0, : keys.stop - keys.start].cpu().numpy()

    def _end(self, rows: slice) -> None:
        """Hand the strip to the levels, and begin the next one."""
        self._strip.counts[:] = self._sight.counts(rows, slice(0, self._geometry.n_keys), self.sheaf.base)
        last = rows.stop == self._geometry.n_queries
        self._levels.add(self._strip, last)
        if not last:
            self._begin(rows.stop)
            return
        if self.tracks is not None:
            self.sheaf.arrays = {
                "lse": self._own.lse.numpy(),
                "peak": self._own.peak.numpy(),
                "entropy": self.tracks.entropy,
                "sink": self.tracks.sink,
                "received": self.tracks.received.astype(np.float32),
            }
        self._cache.finish(self.sheaf)
        self._ended(self)

    def _write(self, z: int, y: int, pixels: Pooled) -> None:
        """The tiles of one row of a level."""
        for x in range(self._geometry.tiles(z)[1]):
            part = pixels.part(slice(None), slice(x * TILE, (x + 1) * TILE))
            if part.counts.any():
                for pool, values in part.maps().items():
                    frame = Frame.of(padded(values, TILE, TILE), self._sight.signed)
                    self._cache.put(self.sheaf, (z, y, x, pool), frame)


class _Numbers:
    """What a block gathers for its rows, over its stretches of keys."""

    def __init__(self, above: torch.Tensor) -> None:
        self.above = above
        self.top = torch.zeros_like(above)
        self.entropy, self.sink = (np.zeros(len(above), dtype=np.float64) for _ in range(2))
