"""Disk: what is written is there whole or not at all, and what the disk refuses is said with the path."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from safetensors import SafetensorError

from lookbehind.errors import InputError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole(path: Path, directory: bool = False) -> Generator[Path]:
    """A new file or directory beside `path`, to be filled, which then takes its place in one step.

    Until then what is at `path` stays as it is: a reader sees all of the old one or all of the new one. Where
    filling it fails or is interrupted, nothing of it is left; where the process is killed, the hidden one is.

    Raises:
        StorageError: the disk refuses it.
    """
    path = path.resolve() if path.is_symlink() else path  # what is linked to is replaced, not the link
    # Another name for each writer, and one that is never too long.
    beside = path.parent / f".{path.name[:32]}.{token_hex(8)}.tmp"
    with writing(path):
        try:
            if directory:
                beside.mkdir(parents=True)
            else:
                beside.touch(exist_ok=False)
            mode = beside.stat().st_mode
            yield beside
            if not directory:
                beside.chmod(mode)  # as the system gives it; safetensors makes files for their owner alone
                with beside.open("rb+") as file:
                    os.fsync(file.fileno())
            beside.replace(path)
        finally:
            if directory:
                shutil.rmtree(beside, ignore_errors=True)
            else:
                beside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """What the disk refuses meanwhile is a StorageError that names the path."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else " ".join(str(error).split())
        full = number in _FULL or "No space" in reason
        advice = "free some space" if full else "choose another place"
        raise StorageError(f"{path}: cannot be written: {reason}; {advice}") from None


def size_of(directory: Path) -> int:
    """Bytes of the files in a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def check_parent(path: Path) -> None:
    """Refuse a place where nothing can be made, before any work is done for it."""
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the directory {path.parent} is not writable; choose another place")
