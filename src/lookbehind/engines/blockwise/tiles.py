"""Tiles: the walk over the non-empty tiles of a problem, and the scores of one tile.

A strip is a few queries of a few heads; its tiles are stretches of keys. Scores of a tile are one matmul for
all query heads that share a kv head, so keys are never repeated. A product that the spans do not allow gets
the score -inf; for reductions, which multiply by scores, NEVER: its weight is 0 as well, and 0 * NEVER is 0
where 0 * -inf would be NaN.

Scores of tiles are in bits, s_ij * log2(e), and weights are exp2 of them: on a CPU exp of what underflows, as
most of what a sharp head does not look at, takes fifty times as long as other numbers; exp2 does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch

from lookbehind.engines.problem import Problem
from lookbehind.spans import Spans

LOG2E = math.log2(math.e)
NEVER = -1e30  # far below any score of real inputs, and far inside float32


@dataclass(frozen=True)
class Sizes:
    """How much is computed at a time: query rows (all heads of a group), keys, and scores held at once."""

    rows: int
    keys: int
    scores: int


# Measured with 2 MB of L2 cache for each core: smaller tiles spend the time on calls, larger on memory.
CPU = Sizes(rows=512, keys=512, scores=2**18)
# An accelerator wants few, large launches; 2**24 float32 scores and as many weights are 128 MB.
ACCELERATOR = Sizes(rows=2048, keys=4096, scores=2**24)

_CACHED_MASKS = 8


def finite(x: torch.Tensor) -> bool:
    """Whether no number is NaN or infinite.

    The largest and the smallest tell, as NaN is both. With `isfinite`, 8 queries over 32,768 keys took 380 ms
    on one core, 325 of them in there; this takes a tenth of that.
    """
    return not x.numel() or all(bool(end.isfinite()) for end in (x.amin(), x.amax()))


@dataclass(frozen=True)
class Place:
    """Where a tile lies: query rows and keys, and whether every product in it is allowed."""

    rows: slice
    keys: slice
    full: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(queries, keys)."""
        return self.rows.stop - self.rows.start, self.keys.stop - self.keys.start


class Grid:
    """The tiles of a span table: which are visited, and what is hidden in those that are partial."""

    def __init__(self, spans: Spans, rows: int, keys: int, device: torch.device) -> None:
        self.spans, self.rows, self.keys, self.device = spans, rows, keys, device
        blocks = spans.blocks(rows, keys)
        self._visited, self._full = blocks.visited, blocks.full
        self._masks: dict[tuple[object, ...], torch.Tensor] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """How many strips."""
        return self._visited.n_queries

    def tiles(self, strip: int) -> Iterator[Place]:
        """The non-empty tiles of a strip, ascending."""
        rows = slice(strip * self.rows, min((strip + 1) * self.rows, self.spans.n_queries))
        whole = self._full.intervals(strip)
        for first, last in self._visited.intervals(strip):
            for column in range(first, last):
                keys = slice(column * self.keys, min((column + 1) * self.keys, self.spans.n_keys))
                yield Place(rows, keys, any(start <= column < stop for start, stop in whole))

    def kind(self, place: Place) -> str:
        """`"empty"`, `"partial"` or `"full"`: what these spans are at the place of another grid's tile."""
        at = place.rows.start // self.rows, place.keys.start // self.keys
        if self._full.allows(*at):
            return "full"
        return "partial" if self._visited.allows(*at) else "empty"

    def hidden(self, rows: slice, keys: slice) -> torch.Tensor:
        """True where these spans do not allow the product: bool [rows, keys].

        Along a causal diagonal or a window's edge the same few masks recur; the latest are kept.
        """
        part = self.spans.region(rows, keys)
        name = (
            part.n_queries,
            part.n_keys,
            part.row_ptr.tobytes(),
            part.starts.tobytes(),
            part.stops.tobytes(),
        )
        with self._lock:
            if name not in self._masks:
                if len(self._masks) == _CACHED_MASKS:
                    del self._masks[next(iter(self._masks))]
                self._masks[name] = self._hidden(part)
            return self._masks[name]

    def _hidden(self, part: Spans) -> torch.Tensor:
        per_row = np.diff(part.row_ptr)
        if (per_row > 1).any():
            return torch.from_numpy(~part.mask()).to(self.device)
        bounds = np.zeros((2, part.n_queries, 1), dtype=np.int64)
        bounds[0, per_row == 1, 0], bounds[1, per_row == 1, 0] = part.starts, part.stops
        starts, stops = torch.from_numpy(bounds).to(self.device)
        keys = torch.arange(part.n_keys, device=self.device)
        return (keys < starts) | (keys >= stops)


class Scores:
    """The scores of a problem, tile by tile, a few (batch, kv head) at a time.

    `chunks` numbers the heads of the whole batch: head b * Hq + h.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.dtype, self.device = problem.dtype, problem.device
        sizes = CPU if self.device.type == "cpu" else ACCELERATOR
        group, kv_heads = problem.group, problem.batch * problem.n_kv_heads
        rows = min(max(sizes.rows // group, 1), max(problem.n_queries, 1))
        keys = min(sizes.keys, max(problem.n_keys, 1))
        self.grid = Grid(problem.spans, rows, keys, self.device)
        # Short problems take several kv heads at once, as long as their keys stay small beside the scores.
        width = max(problem.q.shape[3], 1 if problem.v is None else problem.v.shape[3])
        at_once = min(sizes.scores // (group * rows * keys), 4 * sizes.scores // (keys * width), kv_heads)
        self._step = max(at_once, 1)
        self._q = problem.q.reshape(kv_heads, group, problem.n_queries, problem.q.shape[3])
        self._k = problem.k.reshape(kv_heads, problem.n_keys, problem.k.shape[3])
        self._v = (
            None if problem.v is None else problem.v.reshape(kv_heads, problem.n_keys, problem.v.shape[3])
        )
        # With a softcap, tanh is taken of scale / softcap times the product.
        self._factor = problem.scale * LOG2E if problem.softcap is None else problem.scale / problem.softcap
        self._slopes = (
            None
            if problem.alibi is None
            else (problem.alibi.to(self.dtype) * LOG2E).repeat(problem.batch)[:, None, None]
        )

    def zeros(self, *shape: int) -> torch.Tensor:
        """Zeros [heads of the whole batch, *shape] to gather a reduction in."""
        heads = self.problem.batch * self.problem.n_heads
        return torch.zeros(heads, *shape, dtype=self.dtype, device=self.device)

    def chunks(self) -> Iterator[tuple[slice, slice]]:
        """(heads, kv heads) of each chunk, counted over the whole batch."""
        group = self.problem.group
        for first in range(0, len(self._k), self._step):
            last = min(first + self._step, len(self._k))
            yield slice(first * group, last * group), slice(first, last)

    def queries(self, kv_heads: slice, rows: slice) -> torch.Tensor:
        """Scaled queries [kv heads, group * rows, D] of a strip."""
        q = self._q[kv_heads, :, rows].to(self.dtype) * self._factor
        return q.flatten(1, 2)

    def values(self, kv_heads: slice, keys: slice) -> torch.Tensor:
        """Values [kv heads, keys, Dv] of a tile."""
        assert self._v is not None
        return self._v[kv_heads, keys].to(self.dtype)

    def tile(
        self, q: torch.Tensor, heads: slice, kv_heads: slice, place: Place, buffer: torch.Tensor
    ) -> torch.Tensor:
        """Scores in bits [heads, rows, keys] of a tile, in `buffer`; what is forbidden is not yet hidden."""
        n_rows, n_keys = place.shape
        out = buffer[: len(q) * q.shape[1] * n_keys].view(len(q), q.shape[1], n_keys)
        torch.bmm(q, self._k[kv_heads, place.keys].to(self.dtype).transpose(1, 2), out=out)
        s = out.view(-1, n_rows, n_keys)
        if self.problem.softcap is not None:
            s.tanh_().mul_(self.problem.softcap * LOG2E)
        if self._slopes is not None:
            s.addcmul_(self._slopes[heads], self.apart(place))
        return s

    def hide(self, s: torch.Tensor, place: Place, value: float = NEVER) -> torch.Tensor:
        """Put a value where the spans allow no product; in place."""
        return s if place.full else s.masked_fill_(self.grid.hidden(place.rows, place.keys), value)

    def hidden(self, s: torch.Tensor, place: Place, value: float) -> torch.Tensor:
        """The same with `value` where the spans allow no product; `s` is left as it is."""
        return s if place.full else s.masked_fill(self.grid.hidden(place.rows, place.keys), value)

    def apart(self, place: Place) -> torch.Tensor:
        """j - i for each product of a tile, [rows, keys]."""
        offset = self.problem.spans.offset
        i = torch.arange(place.rows.start + offset, place.rows.stop + offset, device=self.device)
        j = torch.arange(place.keys.start, place.keys.stop, device=self.device)
        return (j[None, :] - i[:, None]).to(self.dtype)
