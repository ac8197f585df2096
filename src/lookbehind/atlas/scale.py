"""Scale: which weight gets which place on the colour ramp.

Weights of one row add up to at most 1 and span many orders of magnitude, so the scale is logarithmic. What
lies below its low end is drawn as the low end, and the legend says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookbehind.errors import InputError

_MOST_DECADES = 4


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale from `low` to `high`.

    Args:
        low: the weight drawn palest; smaller ones look the same.
        high: the weight drawn darkest.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise InputError(f"scale: 0 < low < high is needed; got low {self.low} and high {self.high}")

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Scale:
        """The scale that shows these values best: at most four decades, ending at round numbers."""
        shown = values[np.isfinite(values) & (values > 0)]
        if not len(shown):
            return cls(1e-4, 1.0)
        high = _round(float(shown.max()), up=True)
        low = _round(float(np.quantile(shown, 0.02)), up=False)
        return cls(min(max(low, high * 10.0**-_MOST_DECADES), high / 10), high)

    def place(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Where values lie on the ramp, 0 to 1. NaN stays NaN."""
        clipped = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        return np.log(clipped / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """The ends, and the powers of ten far enough from them that the numbers do not touch."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        inner = np.array([10.0**e for e in range(first, last + 1)], dtype=np.float32)
        places = self.place(inner)
        kept = (places > 0.2) & (places < 0.9)
        return [self.low, *(float(value) for value in inner[kept]), self.high]


def tick_text(value: float) -> str:
    """A weight in few characters: 1, 0.02, 1e-5."""
    return f"{value:.6g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def _round(value: float, up: bool) -> float:
    """The nearest of 1, 2 or 5 times a power of ten, above or below."""
    decade = 10.0 ** math.floor(math.log10(value))
    steps = [decade * factor for factor in (1, 2, 5, 10)]
    # A hair of slack: a weight of 1 comes out as 1.000001 in float32, and is still 1.
    if up:
        return next(step for step in steps if step >= value * (1 - 1e-4))
    return next(step for step in reversed(steps) if step <= value * (1 + 1e-4))
