"""A call: one attention call as a tap saw it, and the proof that it was understood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lookbehind.errors import RecordError
from lookbehind.spans import Spans

# How far a sampled output row may lie from the kernel's, in units of rounding: kernels in float32 differ by
# sums in another order, half-precision ones also round the scores themselves.
_SLACK = {torch.float64: 64.0, torch.float32: 32.0, torch.bfloat16: 3.0, torch.float16: 4.0}


@dataclass(frozen=True, eq=False)
class Call:
    """One attention call, in the call's own numbering of queries and keys.

    Attributes:
        module: path of the module that made it, within the recorded model.
        q: [B, Hq, Lq, D]. k: [B, Hkv, Lk, D]. v: [B, Hkv', Lk, Dv].
        spans: which products, one per batch row; Lq queries over Lk keys.
        scale, softcap, sinks, alibi: as in `lookbehind.attend`; an alibi slope is NaN where no row tells it.
    """

    module: str
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    spans: Sequence[Spans]
    scale: float
    softcap: float | None = None
    sinks: torch.Tensor | None = None
    alibi: torch.Tensor | None = None

    def __post_init__(self) -> None:
        q, k, v = self.q, self.k, self.v
        if not q.ndim == k.ndim == v.ndim == 4 or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
            raise RecordError(
                f"{self.module}: queries {list(q.shape)}, keys {list(k.shape)} and values {list(v.shape)} "
                "are not [batch, heads, length, dim] of one batch; this layout cannot be recorded"
            )
        if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
            raise RecordError(
                f"{self.module}: {k.shape[1]} kv heads cannot serve {q.shape[1]} query heads; "
                f"{q.shape[1]} must be a multiple of {k.shape[1]}"
            )

    def as_computed(self) -> Call:
        """The same call with its operands in the dtype in which an active autocast computes."""
        device = self.q.device.type
        if not torch.is_autocast_enabled(device) or self.q.dtype != torch.float32:
            return self
        dtype = torch.get_autocast_dtype(device)
        return replace(self, q=self.q.to(dtype), k=self.k.to(dtype), v=self.v.to(dtype))

    def prove(self, output: torch.Tensor) -> None:
        """Recompute a few rows of the output, of a few sequences, from what was taken down, and compare.

        Args:
            output: the kernel's own, [B, Hq, Lq, Dv].

        Raises:
            RecordError: they differ, so the kernel does something that no tap knows of (a bias, another mask,
                a sink, another scale).
        """
        expected_shape = (*self.q.shape[:3], self.v.shape[3])
        if tuple(output.shape) != expected_shape:
            raise RecordError(
                f"{self.module}: attention gave an output of shape {list(output.shape)} where "
                f"{list(expected_shape)} was expected; this attention cannot be recorded"
            )
        last = len(self.spans) - 1
        for batch in sorted({0, last // 2, last}):
            spans = self.spans[batch]
            for row in _sampled(spans):
                self._prove_row(batch, row, spans, output[batch, :, row])

    def _prove_row(self, batch: int, row: int, spans: Spans, output: torch.Tensor) -> None:
        dtype = torch.float64 if self.q.dtype == torch.float64 else torch.float32
        intervals = spans.intervals(row)
        q = self.q[batch, :, row].to(dtype)
        k, v = (
            (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).to(dtype)
            for parts in (
                [one[batch, :, start:stop] for start, stop in intervals] for one in (self.k, self.v)
            )
        )
        keys = torch.cat([torch.arange(start, stop, device=q.device) for start, stop in intervals])
        scores = (q.unflatten(0, (k.shape[0], -1)) @ k.mT).flatten(0, 1) * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if self.alibi is not None:
            scores = scores + self.alibi.to(scores).nan_to_num(0.0)[:, None] * (keys - keys[-1])
        if self.sinks is not None:
            sinks = self.sinks.detach().to(scores)[:, None]
            weights = torch.softmax(torch.cat([scores, sinks], 1), 1)[:, :-1]
        else:
            weights = torch.softmax(scores, 1)
        expected = (weights.unflatten(0, (v.shape[0], -1)) @ v).flatten(0, 1)
        # A score's rounding error grows with the sizes of q and k, and a weight's with its score's.
        reach = float(q.norm(dim=-1).max() * k.norm(dim=-1).max()) * abs(self.scale)
        unit = _unit(self.q)
        largest = float(torch.linalg.vector_norm(v, math.inf))
        allowed = _SLACK.get(self.q.dtype, 32.0) * unit * (4.0 + reach) * max(largest, 1e-30)
        found = float((expected - output.to(dtype)).abs().max())
        # `not <=`, so that a NaN is refused as well.
        if not found <= allowed:
            raise RecordError(
                f"{self.module}: query {row} of {self.q.shape[2]} comes out {found:.2g} away from what its "
                f"queries, keys and mask give (rounding allows {allowed:.2g}); this attention does something "
                "that recording does not know, so its weights would be wrong"
            )


def _sampled(spans: Spans) -> list[int]:
    """The last row that reads anything, the middle one and the first with two keys."""
    counts = spans.row_counts()
    reading = counts.nonzero()[0]
    if len(reading) == 0:
        return []
    several = (counts > 1).nonzero()[0]
    first = several[0] if len(several) else reading[0]
    return sorted({int(reading[-1]), int(reading[len(reading) // 2]), int(first)})


def _unit(q: torch.Tensor) -> float:
    tf32 = q.is_cuda and q.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"
    return math.ldexp(1.0, -10) if tf32 else float(torch.finfo(q.dtype).eps)
