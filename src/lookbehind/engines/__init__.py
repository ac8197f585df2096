"""Engines: interchangeable ways to compute the same thing. Each is one module that imports no other engine.

An engine is a module with

- `NAME`;
- `why_not(problem, wants=None) -> str | None`: why it cannot run this call here, or None if it can; `wants`
  is what an observation asks for;
- `attend(problem) -> (out, lse)`, `logsumexp(problem) -> lse`, `observe(problem, lse, wants) -> Observation`.

To add one, write its file and put its name into `ORDER`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

# Not `import torch`: once the engine of that name is imported, it is what `torch` means in this package.
from torch import Tensor, bfloat16, cuda, float32, zeros

from lookbehind.engines.observation import Observation, Wants
from lookbehind.engines.problem import Problem
from lookbehind.errors import EngineError, InputError
from lookbehind.pattern import Causal

# "auto" takes the first that can run the call.
ORDER = ("native", "triton", "torch", "reference")


class Engine(Protocol):
    """What an engine's module offers."""

    NAME: str

    def why_not(self, problem: Problem, wants: Wants | None = None) -> str | None:
        """Why it cannot run this call here."""
        ...

    def attend(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """(out, lse)."""
        ...

    def logsumexp(self, problem: Problem) -> Tensor:
        """The lse alone."""
        ...

    def observe(self, problem: Problem, lse: Tensor, wants: Wants) -> Observation:
        """What was asked for of the weights."""
        ...


@dataclass(frozen=True)
class Verdict:
    """Whether an engine can run a plain call on a device, and why (not).

    Attributes:
        name: the engine.
        device: "cpu", "cuda", ...
        can_run: whether it can.
        reason: what stops it, or that "auto" picks it, or which engine "auto" prefers.
    """

    name: str
    device: str
    can_run: bool
    reason: str


def choose(problem: Problem, name: str = "auto", wants: Wants | None = None) -> Engine:
    """The engine for a call; `wants` where that is an observation.

    Raises:
        InputError: there is no engine of that name.
        EngineError: the engine named cannot run this call here, or none can; never another one instead.
    """
    if name != "auto" and name not in ORDER:
        raise InputError(f"engine: there is no {name!r}; choose from {', '.join(('auto', *ORDER))}")
    reasons: list[str] = []
    for candidate in ORDER if name == "auto" else (name,):
        engine, reason = _asked(candidate, problem, wants)
        if engine is not None and reason is None:
            return engine
        reasons.append(f"{candidate}: {reason}")
    if name == "auto":
        raise EngineError(f"engine: none can run this call; {'; '.join(reasons)}")
    raise EngineError(f"engine {reasons[0]}; engine='auto' picks one that can")


def survey() -> list[Verdict]:
    """Every engine on every kind of device here, asked about a small causal call. For `lookbehind doctor`.

    In float32; on a card in bfloat16, which is what fused kernels take.
    """
    found: list[Verdict] = []
    for device in ["cpu"] + (["cuda"] if cuda.is_available() else []):
        q = zeros(1, 1, 2, 64, device=device, dtype=bfloat16 if device == "cuda" else float32)
        problem = Problem(q, q, q, Causal().spans(2), scale=1.0)
        picked = None
        for name in ORDER:
            reason = _asked(name, problem)[1]
            if reason is None and picked is None:
                picked = name
                note = f"picked by auto on {device}"
            else:
                note = reason or f"runs when asked for by name; auto prefers {picked}"
            found.append(Verdict(name, device, reason is None, note))
    return found


def _asked(name: str, problem: Problem, wants: Wants | None = None) -> tuple[Engine | None, str | None]:
    try:
        engine = cast(Engine, import_module(f"{__name__}.{name}"))
    except ImportError as error:
        return None, f"it is not installed here ({error})"
    return engine, engine.why_not(problem, wants)
