"""Pool: one process an architecture, a few at a time, each with its limits of time and memory.

The parent imports torch and transformers once and forks: a child starts with them loaded, and what it does to
itself (a crash, memory run out, a hang) ends with it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from census.one import CUT_SHORT
from lookbehind import disk

Work = Callable[[str, Callable[[dict[str, Any]], None]], None]


@dataclass(frozen=True)
class Limits:
    """What one architecture may use."""

    seconds: float = 180.0
    gigabytes: float = 6.0
    nice: int = 10


def run(
    names: Sequence[str],
    work: Work,
    path_of: Callable[[str], Path],
    *,
    jobs: int = 2,
    limits: Limits | None = None,
    told: Callable[[str, str, float], None] | None = None,
) -> None:
    """Runs `work(name, keep)` for every name in its own process; what it keeps is JSON at `path_of(name)`.

    Args:
        names: what to do.
        work: called in the child.
        path_of: the file of a name.
        jobs: children at a time.
        limits: of each child.
        told: called in the parent with (name, how it ended, seconds) after each.
    """
    limits = limits or Limits()
    waiting, running = list(reversed(names)), dict[int, tuple[str, float]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop()
            running[_start(name, work, path_of(name), limits)] = (name, time.monotonic())
        ended = _ended(running, limits)
        for pid, how in ended:
            name, began = running.pop(pid)
            if how != "done":
                _note(path_of(name), name, how)
            if told is not None:
                told(name, how, time.monotonic() - began)
        if not ended:
            time.sleep(0.05)


def _start(name: str, work: Work, path: Path, limits: Limits) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.nice(limits.nice)
        room = int(limits.gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        log = path.with_suffix(".log").open("w", encoding="utf-8", buffering=1)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdout = sys.stderr = log
        work(name, lambda row: _write(path, row))
        code = 0
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)  # the parent's buffers and exit handlers are not this child's to run


def _ended(running: dict[int, tuple[str, float]], limits: Limits) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for pid, (_, began) in running.items():
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            found.append((pid, _how(status)))
        elif time.monotonic() - began > limits.seconds:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            found.append((pid, f"stopped after {limits.seconds:.0f} s"))
    return found


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return "done" if os.WEXITSTATUS(status) == 0 else "failed"


def _note(path: Path, name: str, how: str) -> None:
    """How a child that did not finish ended, beside what it kept."""
    row: dict[str, Any] = {"name": name, "built": False, "reason": None, "backends": {}}
    if path.exists():
        row = json.loads(path.read_text(encoding="utf-8"))
    for told in row["backends"].values():
        if told["reason"] == CUT_SHORT:
            told["reason"] = f"its process {how}" if how != "failed" else f"its process failed: {_last(path)}"
    if not row["backends"]:
        row["reason"] = f"its process {how}: {_last(path)}"
    row["cut short"] = how
    _write(path, row)


def _last(path: Path) -> str:
    log = path.with_suffix(".log")
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:200] if lines else "it said nothing"


def _write(path: Path, row: dict[str, Any]) -> None:
    with disk.whole(path) as beside:
        beside.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
