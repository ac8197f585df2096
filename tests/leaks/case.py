"""What a case is: a small model and the right answer about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BOTH = ("float32", "bfloat16")


@dataclass(frozen=True)
class Case:
    """One model and what the audit must say of it.

    Args:
        name: short and unique.
        make: the model for a seed: eval mode, float32.
        rule: the rule it breaks; None where it is honest.
        culprit: the module to name (or one inside it); None where there is no single one.
        options: keyword arguments of the audit.
        note: the bug seen in the world that this mirrors, or why an honest model looks suspicious.
        also: further rules that it breaks, as a consequence or besides.
        dtypes: where the answer holds.
        undecided: rules on which an honest model may remain undecided, which the note explains.
    """

    name: str
    make: Callable[[int], Any]
    rule: str | None
    culprit: str | None
    options: dict[str, Any]
    note: str
    also: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = BOTH
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True)
class Odd:
    """A model about which nothing, or little, can be said: the report must say why in words."""

    name: str
    make: Callable[[int], Any]
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    verdict: str | None = None
