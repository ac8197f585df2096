"""Plate: one map and all the words that belong to it, before anything is drawn.

PNG, contact sheet and HTML draw the same plate, so they cannot disagree about what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookbehind import checks
from lookbehind.atlas.lens import check_pool
from lookbehind.atlas.onehead import unfit
from lookbehind.errors import InputError
from lookbehind.spans import Spans

if TYPE_CHECKING:
    from lookbehind.tape import Tape

_MOST_TICKED = 48  # more tokens than this are not legible beside the map: positions are ticked instead


@dataclass(frozen=True, eq=False)
class Plate:
    """One head's map, or any matrix of weights over spans.

    Args:
        values: float32 [R, C]; NaN where no product of the pixel was computed.
        spans: what was computed, at full length.
        title: the first line, in words.
        pool: how several products became one pixel ("mean", "max", "sum").
        tokens: one text per key position, or None.
        source: what was recorded, for the foot line.
        first_key: position of the first column, where the map is a region.
    """

    values: NDArray[np.float32] = field(repr=False)
    spans: Spans
    title: str
    pool: str = "mean"
    tokens: tuple[str, ...] | None = None
    source: str = ""
    first_key: int = 0

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise InputError(f"picture: a map [rows, columns] is needed; got shape {list(self.values.shape)}")

    @classmethod
    def of(
        cls,
        tape: Tape,
        layer: int,
        head: int,
        size: int = 512,
        pool: str = "mean",
        queries: slice = slice(None),
        keys: slice = slice(None),
    ) -> Plate:
        """The map of one head of a tape, or a region of it, pooled to at most `size` pixels a side."""
        layer, head = check_head(tape, layer, head, from_last=True)
        check_pool(pool)
        if why := unfit(tape.layers[layer], head):
            raise InputError(why)
        whole = tape.layers[layer].spans
        rows, columns = _within("queries", queries, whole.n_queries), _within("keys", keys, whole.n_keys)
        values = tape.map(layer, head, size=size, reduce=pool, queries=rows, keys=columns)
        return cls(
            values=np.asarray(values.cpu(), dtype=np.float32),
            spans=whole.region(rows, columns),
            title=f"Layer {layer}, head {head}: what each query reads",
            pool=pool,
            tokens=tuple(tape.tokens) if tape.tokens is not None else None,
            source=str(tape.meta.get("model", "")),
            first_key=columns.start,
        )

    @property
    def first_query(self) -> int:
        """Position of the first row."""
        return self.spans.offset + self.first_key

    @property
    def pooled(self) -> tuple[int, int]:
        """Rows and columns of products under one pixel, at most."""
        rows, columns = self.values.shape
        return -(-self.spans.n_queries // rows), -(-self.spans.n_keys // columns)

    @property
    def ticked(self) -> bool:
        """Whether every row and column is one position and few enough to be named."""
        return self.pooled == (1, 1) and max(self.values.shape) <= _MOST_TICKED

    def facts(self) -> str:
        """Pattern, lengths and products in a line."""
        spans = self.spans
        cells = spans.n_queries * spans.n_keys
        where = ""
        if self.first_key or self.first_query:
            where = f"  ·  from query {self.first_query:,} and key {self.first_key:,}"
        return (
            f"{spans.describe()}{where}  ·  {lengths(spans)}  ·  "
            f"{spans.count():,} of {cells:,} products computed"
        )

    def reading(self) -> str:
        """What one pixel is, in a line."""
        if self.pooled == (1, 1):
            return "one cell is one weight p_ij = exp(s_ij - lse_i)"
        rows, columns = self.pooled
        word = {"mean": "mean", "max": "largest", "sum": "sum"}[self.pool]
        return f"one pixel is the {word} of the computed weights p_ij in up to {rows} x {columns} positions"

    def token(self, position: int) -> str | None:
        """The token at a position of the text."""
        return self.tokens[position] if self.tokens is not None and 0 <= position < len(self.tokens) else None


def lengths(spans: Spans) -> str:
    """How many queries and keys, in words."""
    queries, keys = spans.n_queries, spans.n_keys
    return f"{queries:,} {'query' if queries == 1 else 'queries'} x {keys:,} {'key' if keys == 1 else 'keys'}"


def check_head(tape: Tape, layer: int, head: int, from_last: bool = False) -> tuple[int, int]:
    """A layer and a head that the tape has; with `from_last` negative numbers count from the last.

    Raises:
        InputError: it has no such layer or head.
    """
    layer = checks.one_of("layer", layer, len(tape.layers), from_last=from_last)
    return layer, checks.one_of("head", head, tape.layers[layer].n_heads, from_last=from_last)


def position_ticks(length: int, first: int = 0) -> list[int]:
    """Places on an axis worth a number: those at round positions, counted from `first`; about 8."""
    if length <= 1:
        return [0]
    raw = (length - 1) / 8
    decade = 10 ** max(0, len(str(int(raw))) - 1)
    step = max(1, next(decade * factor for factor in (1, 2, 5, 10) if decade * factor >= raw))
    return list(range(-first % step, length, step))


def _within(name: str, part: slice, length: int) -> slice:
    """A slice with both ends, refused where nothing is left to draw."""
    start, stop = checks.part(name, part, length)
    if start >= stop:
        raise InputError(
            f"{name} {part.start}:{part.stop}: nothing to draw; the tape has {length:,}, 0 to {length - 1}"
        )
    return slice(start, stop)
