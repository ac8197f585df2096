"""Coarse: the tiles that take a pass over a whole head: those in the cache, and the passes under way."""

from __future__ import annotations

import itertools
import threading
from typing import Any

from lookbehind.atlas.cache import Cache
from lookbehind.atlas.frame import Frame
from lookbehind.atlas.geometry import Geometry
from lookbehind.atlas.onehead import RowNumbers
from lookbehind.atlas.pyramid import BASE, Pyramid
from lookbehind.atlas.sheaf import DamagedError, Key
from lookbehind.atlas.sight import Sight
from lookbehind.atlas.work import Work

Spot = tuple[int, int, int]  # level, tile row, tile column


class Coarse:
    """Coarse tiles of a tape's heads. Used from any thread.

    Args:
        geometry: of the maps.
        cache: where tiles are kept.
        work: the queue.
        base: the finest level that is kept.
    """

    def __init__(self, geometry: Geometry, cache: Cache, work: Work, base: int = BASE) -> None:
        self.base = base
        self._geometry, self._cache, self._work = geometry, cache, work
        self._lock = threading.Lock()
        self._passes: dict[Key, Pyramid] = {}
        self._failed: dict[Key, str] = {}
        self._turns = itertools.count(1)

    def holds(self, key: Key, spot: Spot) -> bool:
        """Whether the tile can be read."""
        sheaf = self._cache.find(key, self.base) if spot[0] >= self.base else None
        if sheaf is None:
            return False
        return sheaf.has((*spot, "mean"))

    def read(self, key: Key, spot: Spot, pool: str, sight: Sight) -> Frame | None:
        """The tile, or None if it cannot be read; what is damaged is forgotten and made again."""
        sheaf = self._cache.find(key, self.base)
        if sheaf is None:
            return None
        try:
            frame = sheaf.get((*spot, "max" if pool == "max" else "mean"))
        except DamagedError:
            self._cache.drop(sheaf)
            return None
        if frame is None or pool != "sum":
            return frame
        rows, keys = self._geometry.place(*spot)
        values, counts = frame.values(), sight.counts(rows, keys, spot[0])
        values[: counts.shape[0], : counts.shape[1]] *= counts
        return Frame.of(values, sight.signed)

    def finished(self, key: Key) -> bool:
        """Whether a pass for these tiles has come to its end."""
        sheaf = self._cache.find(key, self.base)
        return sheaf is not None and sheaf.finished

    def arrays(self, key: Key) -> dict[str, Any] | None:
        """The row numbers of a finished sheaf."""
        sheaf = self._cache.find(key, self.base)
        return sheaf.arrays if sheaf is not None and sheaf.finished and sheaf.arrays else None

    def under_way(self, key: Key) -> Pyramid | None:
        """The pass that is making these tiles."""
        with self._lock:
            return self._passes.get(key)

    def failure(self, key: Key) -> str | None:
        """Why the pass ended early, if it did."""
        return self._failed.get(key)

    def want(self, key: Key, sight: Sight, own: RowNumbers) -> None:
        """Have the tiles made, unless they are or will be. The pass wanted last goes first."""
        with self._lock:
            found = self._passes.get(key)
            if found is not None:
                found.turn = next(self._turns)
                return
            sheaf = self._cache.find(key, self.base)
            if key in self._failed or (sheaf is not None and sheaf.finished):
                return
            sheaf = self._cache.begin(key, self.base)
            made = Pyramid(sight, own, self._geometry, self._cache, sheaf, self._work, self._ended)
            made.turn = next(self._turns)
            self._passes[key] = made
        made.begin()

    def jobs(self) -> list[dict[str, Any]]:
        """The passes under way, as plain data."""
        with self._lock:
            passes = list(self._passes.values())
        return [
            {
                "layer": one.sheaf.key.layer,
                "head": one.sheaf.key.head,
                "of": one.sheaf.key.lens.of,
                "pool": None,
                "skip": one.sheaf.key.lens.skip,
                "renorm": int(one.sheaf.key.lens.renorm),
                "done": one.done,
                "total": one.total,
            }
            for one in sorted(passes, key=lambda one: -one.turn)
        ]

    def _ended(self, one: Pyramid) -> None:
        if one.failed is not None:
            self._failed[one.sheaf.key] = one.failed
            self._cache.drop(one.sheaf)
        with self._lock:
            self._passes.pop(one.sheaf.key, None)
