"""Sheaf: the coarse tiles of one head through one lens, in one file or in memory.

A file is written under another name and moved to its place when finished; at its end stand an index and its
checksum, and each tile has one of its own, so that what is torn, damaged or of another tape is noticed.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lookbehind.atlas.frame import Frame
from lookbehind.atlas.geometry import TILE
from lookbehind.atlas.lens import Lens

MAGIC = b"lbtiles1"
POOLS = ("mean", "max")
_END = struct.Struct("<QI8s")  # length and checksum of the index that ends a file, and the magic again

Spot = tuple[int, int, int, str]  # level, tile row, tile column, pooling
Array = NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True)
class Key:
    """Whose tiles: a head through a lens."""

    layer: int
    head: int
    lens: Lens

    @property
    def text(self) -> str:
        """As a part of a file's name."""
        return f"{self.layer}-{self.head}-{self.lens.of}-{self.lens.skip}-{int(self.lens.renorm)}"


@dataclass(frozen=True)
class _Place:
    offset: int
    size: int
    checksum: int
    multiplier: float = 1.0
    low: float = 0.0
    high: float = 0.0


class DamagedError(Exception):
    """A file of the cache is not what it says."""


class Sheaf:
    """The coarse tiles of one head through one lens, in a file or in memory; readable while it grows.

    Attributes:
        key: whose.
        base: the finest level it holds.
        arrays: row numbers by name.
        finished: whether all is there.
    """

    def __init__(self, key: Key, base: int) -> None:
        self.key, self.base = key, base
        self.arrays: dict[str, Array] = {}
        self.finished = False
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._end = 0
        self._places: dict[Spot, _Place] = {}
        self._held: dict[Spot, Frame] = {}

    def get(self, spot: Spot) -> Frame | None:
        """A tile, or None if it is not there.

        Raises:
            DamagedError: its bytes are not those that were written.
        """
        with self._lock:
            if spot in self._held:
                return self._held[spot]
            place = self._places.get(spot)
            if place is None or self._file is None:
                return None
            return Frame(self._read(place), TILE, TILE, place.multiplier, place.low, place.high)

    def has(self, spot: Spot) -> bool:
        """Whether the tile is there."""
        return spot in self._held or spot in self._places

    @property
    def stored(self) -> bool:
        """Whether all is there, in a file."""
        return self.finished and self._file is not None

    @property
    def bytes_held(self) -> int:
        """Bytes of tiles in memory."""
        return sum(len(frame.payload) for frame in list(self._held.values()))

    def put(self, spot: Spot, frame: Frame) -> None:
        """Add a tile.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            if self._file is None:
                self._held[spot] = frame
            else:
                place = self._written(frame.payload)
                self._places[spot] = _Place(
                    place.offset, place.size, place.checksum, frame.multiplier, frame.low, frame.high
                )

    def thin(self) -> None:
        """Let go of the finest level that is held in memory."""
        with self._lock:
            finest = min((spot[0] for spot in self._held), default=0)
            self._held = {spot: frame for spot, frame in self._held.items() if spot[0] > finest}

    def close(self) -> None:
        """Close its file. A file that is not finished is removed."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
                self._places = {}
            if self._path is not None and not self.finished:
                self._path.unlink(missing_ok=True)

    # -- files ------------------------------------------------------------------------------------------

    def begin(self, path: Path) -> None:
        """Write into this new file from now on."""
        self._path = path
        self._file = path.open("xb+")
        self._file.write(MAGIC)
        self._end = len(MAGIC)

    def finish(self, path: Path, digest: str) -> None:
        """Write the index, and move the file to its place."""
        with self._lock:
            if self._file is None or self._path is None:
                return  # it lies in memory
            arrays: dict[str, Any] = {}
            for name, values in self.arrays.items():
                place = self._written(values.tobytes())
                arrays[name] = [place.offset, place.size, place.checksum, str(values.dtype)]
            index = json.dumps(
                {
                    "digest": digest,
                    "key": self.key.text,
                    "base": self.base,
                    "tiles": [
                        [*spot, p.offset, p.size, p.checksum, p.multiplier, p.low, p.high]
                        for spot, p in self._places.items()
                    ],
                    "arrays": arrays,
                }
            ).encode()
            self._file.seek(self._end)
            self._file.write(index + _END.pack(len(index), zlib.crc32(index), MAGIC))
            self._file.flush()
            self._path.replace(path)
            self._path, self.finished = path, True

    def open(self, path: Path, digest: str) -> None:
        """Read a finished file.

        Raises:
            DamagedError: it is not whole, or of another tape.
            OSError: it cannot be read.
        """
        self._file = path.open("rb")
        try:
            self._open(digest)
        except (DamagedError, OSError, ValueError, TypeError, KeyError, struct.error) as error:
            self._file.close()
            self._file = None
            raise DamagedError(str(error)) from None
        self._path, self.finished = path, True

    def _open(self, digest: str) -> None:
        assert self._file is not None
        size = self._file.seek(0, os.SEEK_END)
        if size < len(MAGIC) + _END.size:
            raise DamagedError("too short")
        self._file.seek(size - _END.size)
        length, checksum, magic = _END.unpack(self._file.read(_END.size))
        begin = size - _END.size - length
        if magic != MAGIC or begin < len(MAGIC):
            raise DamagedError("not finished")
        self._file.seek(begin)
        text = self._file.read(length)
        if zlib.crc32(text) != checksum:
            raise DamagedError("its index is damaged")
        index = json.loads(text)
        if index["digest"] != digest or index["key"] != self.key.text:
            raise DamagedError("of another tape")
        if index["base"] != self.base:
            raise DamagedError("of other levels")
        for z, y, x, pool, offset, count, crc, *numbers in index["tiles"]:
            if pool not in POOLS or count != TILE * TILE * 2 or not 0 <= offset <= begin - count:
                raise DamagedError("its index is damaged")
            self._places[int(z), int(y), int(x), pool] = _Place(offset, count, crc, *map(float, numbers))
        for name, (offset, count, crc, dtype) in index["arrays"].items():
            if dtype not in ("float32", "float64") or not 0 <= offset <= begin - count:
                raise DamagedError("its index is damaged")
            self.arrays[name] = np.frombuffer(self._read(_Place(offset, count, crc)), dtype).copy()

    def _written(self, data: bytes) -> _Place:
        assert self._file is not None
        self._file.seek(self._end)
        self._file.write(data)
        self._file.flush()  # a full disk is told here, not when the next tile is read
        place = _Place(self._end, len(data), zlib.crc32(data))
        self._end += len(data)
        return place

    def _read(self, place: _Place) -> bytes:
        assert self._file is not None
        self._file.seek(place.offset)
        data = self._file.read(place.size)
        if len(data) != place.size or zlib.crc32(data) != place.checksum:
            raise DamagedError("a tile is damaged")
        return data

    def into_memory(self) -> None:
        """Keep what was written in memory from now on, and give the file up."""
        with self._lock:
            if self._file is None:
                return
            for spot, p in self._places.items():
                try:
                    self._held[spot] = Frame(self._read(p), TILE, TILE, p.multiplier, p.low, p.high)
                except (DamagedError, OSError):
                    continue
            self._places = {}
            with suppress(OSError):  # what was buffered found no room either
                self._file.close()
            self._file = None
            if self._path is not None:
                self._path.unlink(missing_ok=True)
                self._path = None
