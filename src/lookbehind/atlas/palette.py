"""Colours of a map: pale for little, dark for much, told apart by lightness alone.

Lightness falls evenly along the ramp, so a difference in weight looks equally large everywhere, survives
grey-scale print and needs no colour vision. Paper (a product that was never computed) is not on the ramp.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

PAPER: Rgb = (255, 255, 255)
INK: Rgb = (38, 42, 48)
SOFT_INK: Rgb = (112, 117, 125)
RULE: Rgb = (190, 193, 198)
HATCH: Rgb = (214, 216, 220)

# From warm cream over green and blue to near black, at equal steps of CIE lightness (95 to 15).
_ANCHORS: tuple[Rgb, ...] = (
    (253, 240, 212),
    (219, 219, 160),
    (168, 201, 130),
    (108, 183, 127),
    (56, 159, 135),
    (27, 133, 140),
    (24, 106, 138),
    (38, 78, 129),
    (42, 53, 107),
    (37, 32, 73),
)


def ramp(steps: int = 256) -> NDArray[np.uint8]:
    """The ramp as uint8 [steps, 3], from little to much."""
    at = np.linspace(0, len(_ANCHORS) - 1, steps)
    anchors = np.array(_ANCHORS, dtype=np.float64)
    channels = [np.interp(at, np.arange(len(_ANCHORS)), anchors[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)
