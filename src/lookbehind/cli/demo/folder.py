"""Folder: where the demo writes, and the proof that it is its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from lookbehind import disk
from lookbehind.errors import InputError

TAPE = "run.tape"
WRITTEN = {
    TAPE: "the tape: queries, keys, patterns",
    "heads.csv": "every head in numbers",
    "all-heads.png": "every head as a small map",
    "last-tokens.png": "the last 40 tokens, each named",
    "previous.png": "the previous-token head",
    "induction.png": "the induction head",
    "atlas.html": "the atlas in one file, to zoom",
}
"""Every name that a demo may write, and what it is."""

_ONCE_WRITTEN = {"previous.html", "induction.html"}  # by earlier versions

_MARK = "lookbehind-demo.json"  # says that a directory is this command's own
_UNFINISHED = "unfinished-demo"


@contextmanager
def fresh(out: Path) -> Generator[Path]:
    """Where a demo writes; once it is done, that takes the place of what an earlier one wrote.

    Until then the earlier one's files stay, and where it fails nothing of it is left. Foreign content is
    refused.
    """
    made = not out.exists()
    unfinished = out / _UNFINISHED
    try:
        earlier = _earlier(out)
        shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed
        unfinished.mkdir()
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or f"{_MARK} is damaged"
        raise InputError(f"{out}: cannot be used ({reason}); choose another place with --out") from error
    try:
        yield unfinished
        with disk.whole(out / _MARK) as mark:
            mark.write_text(json.dumps({"wrote": list(WRITTEN)}) + "\n", encoding="utf-8")
        for name in earlier:
            _remove(out / name)
        for path in unfinished.iterdir():
            path.replace(out / path.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if made:
            with suppress(OSError):  # it is not empty: all went well
                out.rmdir()


def _earlier(out: Path) -> list[str]:
    """Makes the directory, or says what an earlier demo wrote there."""
    if not out.exists():
        out.mkdir(parents=True)
    elif not out.is_dir():
        raise InputError(f"{out}: is a file; choose another place with --out")
    mark = out / _MARK
    if mark.is_file():
        return _named(mark)
    if any(path.name != _UNFINISHED for path in out.iterdir()):
        raise InputError(f"{out}: holds files that no demo wrote; choose another place with --out")
    return []


def _named(mark: Path) -> list[str]:
    """What the mark says an earlier demo wrote: names of this list, and no paths."""
    names = json.loads(mark.read_text(encoding="utf-8"))["wrote"]
    if not set(names) <= WRITTEN.keys() | _ONCE_WRITTEN:
        raise ValueError(names)
    return list(names)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
