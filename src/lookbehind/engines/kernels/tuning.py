"""Sizes of tiles: which a kernel may be launched with, and which is fastest here.

The first time that a kernel meets a large problem of some kind it is run in each of a few sizes and timed;
what won is kept as long as the process lives. Small problems take the first. All sizes give the same sums
in another order, so results of one process are the same bits from call to call, and may differ in rounding
between cards.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch

from lookbehind.engines.problem import Problem

T = TypeVar("T")

# Products below which trying out costs more than it will save.
WORTH_TRYING = 2**28

# The largest weights of each row of a tile are kept in registers: how many of all its rows, and of one. With
# more, compilers take minutes.
ROOM = 2**13
LARGEST = 512


@dataclass(frozen=True)
class Sizes:
    """A tile's query rows and keys, the warps that compute it, and the tiles on their way at once."""

    rows: int
    keys: int
    warps: int = 4
    stages: int = 2


# Hopper: wgmma takes 64 rows a warp group. Two programs on a multiprocessor hide one another's exponentials.
_HALF = {
    "columns": (Sizes(64, 128, 4, 3), Sizes(128, 64, 4, 3), Sizes(128, 128, 8, 3), Sizes(64, 64, 4, 3)),
    "rows": (Sizes(128, 64, 4, 3), Sizes(128, 128, 8, 3), Sizes(64, 64, 4, 3), Sizes(64, 128, 4, 3)),
    "diagonals": (Sizes(64, 64, 4, 2),),
}
_WIDE = {  # heads of more than 128
    "columns": (Sizes(64, 64, 4, 2), Sizes(64, 128, 8, 2)),
    "rows": (Sizes(64, 64, 4, 2), Sizes(128, 64, 8, 2)),
    "diagonals": (Sizes(64, 64, 4, 1),),
}
_SINGLE = {  # float32, multiplied as it is: no tensor cores, and twice the bytes
    "columns": (Sizes(32, 64, 4, 2), Sizes(64, 64, 8, 2)),
    "rows": (Sizes(32, 32, 4, 2), Sizes(64, 32, 8, 2)),
    "diagonals": (Sizes(32, 32, 4, 1),),
}
_SINGLE_WIDE = {  # larger ones would not fit the registers
    "columns": (Sizes(32, 32, 4, 2),),
    "rows": (Sizes(32, 32, 4, 2),),
    "diagonals": (Sizes(32, 32, 4, 1),),
}
# Small, so that small problems have many tiles.
INTERPRETED = {"columns": Sizes(16, 32), "rows": Sizes(32, 16), "diagonals": Sizes(16, 16)}

# Cycles, some three milliseconds, that a card waits before it is timed: all is launched by then.
_AHEAD = 5_000_000

_found: dict[tuple[object, ...], Sizes] = {}


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on CPU tensors. It must be on before they load."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on")


@cache
def processors(device: torch.device) -> int:
    """How many programs run side by side; in the interpreter enough that work is split."""
    if device.type != "cuda":
        return 8
    return torch.cuda.get_device_properties(device).multi_processor_count


def candidates(kind: str, problem: Problem) -> tuple[Sizes, ...]:
    """Sizes for a kernel: "columns", "rows" or "diagonals"."""
    return of_cards(kind, problem) if problem.device.type == "cuda" else (INTERPRETED[kind],)


def of_cards(kind: str, problem: Problem) -> tuple[Sizes, ...]:
    """The same on any card."""
    if problem.q.dtype == torch.float32:
        return (_SINGLE if problem.q.shape[3] <= 128 else _SINGLE_WIDE)[kind]
    choice = (_HALF if problem.q.shape[3] <= 128 else _WIDE)[kind]
    # A softcap needs as many registers again: the smallest tile comes first.
    return choice if problem.softcap is None else tuple(sorted(choice, key=lambda one: one.rows * one.keys))


def best(kind: str, flags: tuple[object, ...], problem: Problem, run: Callable[[Sizes], T]) -> T:
    """`run` in the sizes that suit; what it returned.

    Args:
        kind: which kernel.
        flags: what else the kernel was made for.
        problem: what it runs on.
        run: launches the kernel in given sizes.
    """
    choice = candidates(kind, problem)
    work = problem.batch * problem.n_heads * problem.spans.count()
    if len(choice) == 1 or work < WORTH_TRYING:
        return run(choice[0])
    shape = (problem.n_queries.bit_length(), problem.n_keys.bit_length(), problem.group, problem.q.shape[3])
    name = (kind, flags, shape, problem.q.dtype, torch.cuda.get_device_name(problem.device))
    if name not in _found:
        _found[name] = _fastest(choice, run, problem.device)
    return run(_found[name])


def _fastest(choice: tuple[Sizes, ...], run: Callable[[Sizes], object], device: torch.device) -> Sizes:
    times: dict[Sizes, float] = {}
    failed: Exception | None = None
    with torch.cuda.device(device):
        for sizes in choice:
            try:
                run(sizes)  # compiles
                times[sizes] = min(milliseconds(lambda sizes=sizes: run(sizes)) for _ in range(2))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # too many registers, too much shared memory: another may fit
                failed = error  # Triton's errors have no base in common but this
    if not times:
        assert failed is not None
        raise failed
    return min(times, key=lambda sizes: times[sizes])


def milliseconds(call: Callable[[], object]) -> float:
    """What a call takes on the current card, without what Python takes to launch it."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(_AHEAD)  # pyright: ignore[reportPrivateUsage]
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)
