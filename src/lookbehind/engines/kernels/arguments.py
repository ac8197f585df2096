"""What kernels are handed: how a score is made of a dot, where tiles lie, where results go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from lookbehind.engines.kernels.walk import Walk
from lookbehind.engines.problem import Problem

LOG2E = math.log2(math.e)


@dataclass(frozen=True)
class Maths:
    """How a score is made of a dot, as the kernels take it; see `scores.ranked`."""

    factor: float
    cap: float
    unit: float
    slopes: torch.Tensor | None
    capped: bool
    plain: bool

    @classmethod
    def of(cls, problem: Problem) -> Maths:
        """That of a problem."""
        capped = problem.softcap is not None
        factor = problem.scale * LOG2E if problem.softcap is None else problem.scale / problem.softcap
        plain = not capped and problem.alibi is None and problem.scale > 0
        slopes = None if problem.alibi is None else (problem.alibi.float() * LOG2E).contiguous()
        cap = 0.0 if problem.softcap is None else problem.softcap * LOG2E
        return cls(factor, cap, factor if plain else 1.0, slopes, capped, plain)

    def arguments(self, instead: torch.Tensor) -> tuple[Any, ...]:
        """The numbers; `instead` stands for slopes where there are none."""
        return (instead if self.slopes is None else self.slopes, self.factor, self.cap, self.unit)

    def flags(self) -> dict[str, Any]:
        """What kernels are compiled for."""
        return {
            "CAPPED": self.capped,
            "SLOPED": self.slopes is not None,
            "PLAIN": self.plain,
        }


def filled(
    problem: Problem,
    wanted: bool | int,
    value: float,
    *shape: int,
    splits: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor | None:
    """[B, Hq, *shape], or one for each split, full of a value; None where it is not wanted."""
    if not wanted:
        return None
    lead = (problem.batch, problem.n_heads) if splits is None else (splits, problem.batch, problem.n_heads)
    return torch.full((*lead, *shape), value, dtype=dtype, device=problem.device)


def pointers(found: dict[str, torch.Tensor | None], instead: torch.Tensor) -> list[torch.Tensor]:
    """Where the kernel writes, in the order of its arguments; what is not asked for is never touched."""
    return [instead if value is None else value for value in found.values()]


def runs(way: Walk) -> tuple[torch.Tensor, ...]:
    """Where tiles lie, in the order of the kernels' arguments."""
    return way.line_ptr, way.first, way.last, way.partial, way.low, way.high, way.most, way.starts, way.stops


def dimensions(problem: Problem) -> dict[str, int]:
    """Heads, and the width of a query with the power of two it is read in."""
    width = problem.q.shape[3]
    return {"n_heads": problem.n_heads, "group": problem.group, "width": width, "BD": wide(width)}


def wide(width: int) -> int:
    """The width a product of matrices is made for."""
    return max(16, power(width))


def power(number: int) -> int:
    """The power of two that is not below."""
    return 1 << max(number - 1, 0).bit_length()
