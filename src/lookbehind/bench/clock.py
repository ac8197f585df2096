"""How time and memory are measured, and what they were read on."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

Call = Callable[[], object]


def machine(device: str = "cpu") -> str:
    """What the figures were read on, in a line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line[:10] == "model name"
        ]
        cpu = names[0] if names else cpu
    parts = [cpu, f"{torch.get_num_threads()} threads", f"torch {torch.__version__}", platform.system()]
    return ", ".join([torch.cuda.get_device_name(), *parts] if device == "cuda" else parts)


def timed(call: Call, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, by a clock; `time.process_time` counts what this process used of the processor."""
    start = clock()
    call()
    return clock() - start


def in_turn(
    ours: Call,
    theirs: Call,
    times: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float, float]:
    """Medians of our seconds, of theirs, and of how many times as fast ours was in the same turn.

    After each call there is a moment of rest: OpenMP's threads, which PyTorch uses, go on spinning for some
    milliseconds, and would take their cores from what is timed next.
    """

    def rested(call: Call) -> float:
        seconds = timed(call, clock)
        time.sleep(min(seconds, 0.02))
        return seconds

    rested(ours)
    rested(theirs)
    pairs = [(rested(ours), rested(theirs)) for _ in range(times)]
    a, b = zip(*pairs, strict=True)
    return median(a), median(b), median(theirs / max(ours, 1e-9) for ours, theirs in pairs)


@contextmanager
def threads(number: int) -> Generator[None]:
    """PyTorch, and with it the native engine, on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resident(reset: bool = False) -> int:
    """The highest resident size so far, in bytes. With `reset`: what is now; the highest starts anew.

    Linux can forget the highest. Elsewhere it is that of the whole process: what a preparation once held may
    hide some of what the call takes.
    """
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if status.exists() and os.access(clear, os.W_OK):
        if reset:
            clear.write_text("5")
        field = "VmRSS:" if reset else "VmHWM:"
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
