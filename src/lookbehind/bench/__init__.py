"""The figures of benchmarks/README.md, or on a card those of benchmarks/cuda.md, read on this machine.

Speeds that are compared are measured in turn, again and again, and the median of the ratios is given: a busy
machine slows both. Memory is the highest resident size of a fresh process above what it held before the call.
"""

from __future__ import annotations

import torch

from lookbehind.bench import cuda, engine, verbs
from lookbehind.bench.clock import machine
from lookbehind.bench.row import Row
from lookbehind.errors import InputError

__all__ = ["Row", "machine", "run"]


def run(device: str = "cpu", quick: bool = False) -> list[Row]:
    """Measure everything.

    Args:
        device: "cpu" or "cuda": the native engine, or the triton engine, beside what it has to reach.
        quick: small sizes, a few seconds: to see that it runs, not for figures.

    Raises:
        InputError: the device is not here.
    """
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"bench: device {device!r} is not here; use 'cpu'")
    if device == "cuda":
        return cuda.rows(cuda.QUICK if quick else cuda.FULL)
    return verbs.rows(quick) + engine.rows(quick)
