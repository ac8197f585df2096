"""Frames: a tile of values as it is sent and kept: float16 beside one power of two, and its range.

Little endian: uint32 index, state, rows, columns; float32 multiplier, low, high; uint32 bytes; the payload. A
value is float16 * multiplier. The multiplier lifts the largest value to the top of float16's range, so that
weights far below float16's own smallest survive.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<IIIIfffI")
EXACT, SAMPLED, ERROR = 0, 1, 2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """Encoded values [rows, columns].

    Attributes:
        payload: float16 little endian, row by row; UTF-8 words where the state is ERROR.
        rows, columns: how many values.
        multiplier: a power of two; a value is its float16 times this.
        low, high: the least positive value (of scores: the least value) and the greatest; 0, 0 if none.
        state: EXACT, SAMPLED or ERROR.
    """

    payload: bytes
    rows: int = 0
    columns: int = 0
    multiplier: float = 1.0
    low: float = 0.0
    high: float = 0.0
    state: int = EXACT

    @classmethod
    def of(cls, values: Floats, signed: bool = False, state: int = EXACT) -> Frame:
        """Values as a frame; NaN where nothing was computed. `signed` values may be below zero."""
        rows, columns = values.shape
        known = values[np.isfinite(values)]
        shown = known if signed else known[known > 0]
        largest = float(np.abs(known).max(initial=0.0))
        multiplier = 2.0 ** (int(np.frexp(largest)[1]) - 15) if largest > 0 else 1.0
        multiplier = min(max(multiplier, 2.0**-120), 2.0**100)
        low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 0.0)
        halves = (values * np.float32(1 / multiplier)).astype("<f2")
        return cls(halves.tobytes(), rows, columns, multiplier, low, high, state)

    @classmethod
    def error(cls, words: str) -> Frame:
        """A frame that says why there is none."""
        return cls(words.encode(), state=ERROR)

    def values(self) -> Floats:
        """The values again: float32 [rows, columns]."""
        halves = np.frombuffer(self.payload, dtype="<f2").reshape(self.rows, self.columns)
        return halves.astype(np.float32) * np.float32(self.multiplier)

    def sent(self, index: int) -> bytes:
        """The bytes that travel; `index` says which of the tiles asked for it is."""
        numbers = (self.rows, self.columns, self.multiplier, self.low, self.high, len(self.payload))
        return HEADER.pack(index, self.state, *numbers) + self.payload

    @classmethod
    def read(cls, data: bytes) -> tuple[int, Frame, bytes]:
        """(index, frame, what follows) of bytes that begin with a frame."""
        index, state, rows, columns, multiplier, low, high, size = HEADER.unpack_from(data)
        end = HEADER.size + size
        frame = cls(data[HEADER.size : end], rows, columns, multiplier, low, high, state)
        return index, frame, data[end:]

    def sampled(self) -> Frame:
        """The same, said to be sampled."""
        return replace(self, state=SAMPLED)
