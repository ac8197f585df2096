"""One figure that was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        value: how much; None if it could not be measured, and the note says why.
        unit: of what: "MB", "s", "ms", "%", "GFLOP/s", "TFLOP/s", "GB/s" or "x" (times).
        note: the sizes, and what it is compared with.
        must, aim: what the engine has to reach, and what it is meant to. None where nothing was set.
        two: the same on two threads, by the clock on the wall; None where it was not measured.
        at_most: whether less is better.
    """

    name: str
    value: float | None
    unit: str
    note: str
    must: float | None = None
    aim: float | None = None
    two: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the value is what it must be; None where nothing was set or measured."""
        if self.must is None or self.value is None:
            return None
        return self.value <= self.must if self.at_most else self.value >= self.must

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self)
