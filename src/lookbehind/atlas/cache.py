"""Cache: tiles that took long to make, in files beside the tape. Safe to delete at any time.

A file counts only for the tape it was made from: a digest of the tape's files is part of it. What is foreign,
torn or damaged is made again. Where nothing can be written, tiles stay in memory, as many as fit.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lookbehind.atlas.frame import Frame
from lookbehind.atlas.sheaf import DamagedError, Key, Sheaf, Spot

LIMIT = 2 << 30  # bytes of files of one tape
IN_MEMORY = 96 << 20  # bytes of tiles where no file can be written
FILES = 64  # finished ones held open: some systems give a process 256 in all
_NAME = re.compile(r"[0-9a-f]{0,16}-\d+-\d+-[a-z]+-\d+-[01]\.tiles", re.ASCII)
_ABANDONED = 3600.0  # seconds after which a file that was never finished is a dead process's


class Cache:
    """The sheaves of one tape.

    Args:
        directory: where files go; None keeps all in memory.
        digest: of the tape.
        warn: told, once, why nothing can be written.
        limit: bytes of files; the least recently used go first.
    """

    def __init__(
        self, directory: Path | None, digest: str, warn: Callable[[str], None], limit: int = LIMIT
    ) -> None:
        self._directory, self._digest, self._warn, self._limit = directory, digest, warn, limit
        self._lock = threading.Lock()
        self._open: OrderedDict[Key, Sheaf] = OrderedDict()
        self._number = 0
        self._writes = directory is not None
        self.warning: str | None = None
        if directory is not None:
            try:
                directory.mkdir(exist_ok=True)
                self._sweep(directory)
            except OSError as error:
                self._give_up(error)

    def find(self, key: Key, base: int) -> Sheaf | None:
        """The sheaf of that key, finished or growing, or None if there is none to be trusted."""
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
            if self._directory is None:
                return None
            path = self._path(key)
            sheaf = Sheaf(key, base)
            try:
                sheaf.open(path, self._digest)
            except FileNotFoundError:
                return None
            except (DamagedError, OSError):
                return None  # made again, and replaced
            with suppress(OSError):  # a cache that may only be read is as good
                os.utime(path)
            self._hold(sheaf)
            return sheaf

    def begin(self, key: Key, base: int) -> Sheaf:
        """A new sheaf, to be filled and finished."""
        with self._lock:
            sheaf = Sheaf(key, base)
            if self._directory is not None and self._writes:
                self._number += 1
                name = f".{self._path(key).name}.{os.getpid()}.{self._number}.tmp"
                try:
                    self._directory.mkdir(exist_ok=True)  # another one may have left it empty, and removed it
                    sheaf.begin(self._directory / name)
                except OSError as error:
                    self._give_up(error)
            self._hold(sheaf)
            return sheaf

    def put(self, sheaf: Sheaf, spot: Spot, frame: Frame) -> None:
        """Add a tile to a sheaf; where it cannot be written, in memory."""
        try:
            sheaf.put(spot, frame)
        except OSError as error:
            self._give_up(error)
            sheaf.into_memory()
            sheaf.put(spot, frame)
        self._fit()

    def finish(self, sheaf: Sheaf) -> None:
        """The sheaf is whole."""
        if self._directory is not None and self._writes:
            try:
                sheaf.finish(self._path(sheaf.key), self._digest)
                self._evict(self._directory)
            except OSError as error:
                self._give_up(error)
        if not sheaf.finished:
            sheaf.into_memory()
            sheaf.finished = True

    def drop(self, sheaf: Sheaf) -> None:
        """Forget a sheaf that is damaged or was given up, and its file."""
        with self._lock:
            if self._open.get(sheaf.key) is sheaf:
                del self._open[sheaf.key]
        sheaf.finished = False  # its file goes with it
        sheaf.close()

    def close(self) -> None:
        """Close every file; those not finished are removed, and so is the directory where none is left."""
        with self._lock:
            for sheaf in self._open.values():
                sheaf.close()
            self._open.clear()
            if self._directory is not None:
                with suppress(OSError):
                    self._directory.rmdir()

    def _hold(self, sheaf: Sheaf) -> None:
        """Take it in, and close the files used longest ago: whoever asks for one has it opened again."""
        self._open[sheaf.key] = sheaf
        stored = [one for one in self._open.values() if one.stored]
        for one in stored[:-FILES]:
            del self._open[one.key]
            one.close()

    def _path(self, key: Key) -> Path:
        assert self._directory is not None
        return self._directory / f"{self._digest[:16]}-{key.text}.tiles"

    def _give_up(self, error: OSError) -> None:
        """Write nothing more; say so once."""
        if self.warning is None:
            self.warning = (
                f"{self._directory}: nothing can be kept there ({error.strerror or error}); "
                "what is computed stays in memory and is lost at the end"
            )
            self._warn(self.warning)
        self._writes = False

    def _fit(self) -> None:
        """Keep what lies in memory within its bound: finest levels of the least recently used first."""
        with self._lock:
            held = [sheaf for sheaf in self._open.values() if sheaf.bytes_held]
        for sheaf in held:
            while sum(one.bytes_held for one in held) > IN_MEMORY and sheaf.bytes_held:
                sheaf.thin()

    def _evict(self, directory: Path) -> None:
        """Remove the files used longest ago until the rest is within the limit."""
        found = [(path.stat(), path) for path in directory.iterdir() if _NAME.fullmatch(path.name)]
        found.sort(key=lambda one: one[0].st_mtime)
        total = sum(stat.st_size for stat, _ in found)
        for stat, path in found[:-1]:
            if total <= self._limit:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size

    def _sweep(self, directory: Path) -> None:
        """Remove what processes that were killed left unfinished."""
        for path in directory.glob(".*.tiles.*.tmp"):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)


def digest_of(directory: Path) -> str:
    """What identifies a stored tape: its index, and the size and time of every file of it."""
    found = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        stat = path.stat()
        found.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    found.update((directory / "tape.json").read_bytes())
    return found.hexdigest()
