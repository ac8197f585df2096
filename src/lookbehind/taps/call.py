"""A call: one attention call as a tap saw it, and the proof that it was understood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lookbehind.errors import RecordError
from lookbehind.spans import Spans

# How far a sampled output row may lie from the kernel's. Half-precision kernels round scores, weights and
# outputs: of the bound for one rounding of each, decoders use up to 0.68; a scale wrong by 15% takes 2.4.
_ROUNDED = 1.5
# In units of the arithmetic's own rounding: kernels sum in another order.
_SUMMED = 32.0


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
        q, output = self.q[batch, :, row].to(dtype), output.to(dtype)
        k, v = (
            (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).to(dtype)
            for parts in (
                [one[batch, :, start:stop] for start, stop in intervals] for one in (self.k, self.v)
            )
        )
        keys = torch.cat([torch.arange(start, stop, device=q.device) for start, stop in intervals])
        scores = (q.unflatten(0, (k.shape[0], -1)) @ k.mT).flatten(0, 1) * self.scale
        largest = scores.abs().amax(1)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if self.alibi is not None:
            scores = scores + self.alibi.to(scores).nan_to_num(0.0)[:, None] * (keys - keys[-1])
        if self.sinks is not None:  # a key more, whose value is 0
            scores = torch.cat([scores, self.sinks.detach().to(scores)[:, None]], 1)
            v = torch.nn.functional.pad(v, (0, 0, 0, 1))
        largest = torch.maximum(largest, scores.abs().amax(1))
        weights = torch.softmax(scores, 1)
        expected = _weighed(weights, v)
        found = (expected - output).abs()
        # A sum's rounding error grows with the sizes of q and k.
        reach = float(q.norm(dim=-1).max() * k.norm(dim=-1).max()) * abs(self.scale)
        summed = _SUMMED * _summing(self.q) * (4.0 + reach) * float(torch.linalg.vector_norm(v, math.inf))
        allowed = _ROUNDED * _rounding(self.q.dtype, largest, weights, v, expected) + summed
        # `not <=`, so that a NaN is refused as well.
        if not bool((found <= allowed).all()):
            if not bool(output.isfinite().all()):
                raise RecordError(
                    f"{self.module}: the model's own output for query {row} of {self.q.shape[2]} is not "
                    "finite, so that nothing proves its weights; find what makes it NaN or infinite"
                )
            worst = (found / allowed).argmax()
            apart, most = (float(one.flatten()[worst]) for one in (found, allowed))
            raise RecordError(
                f"{self.module}: query {row} of {self.q.shape[2]} comes out {apart:.2g} away from what its "
                f"queries, keys and mask give (rounding allows {most:.2g}); this attention does something "
                "that recording does not know, so its weights would be wrong"
            )


def refuse_dropout(module: str, dropout: float) -> None:
    """Refuse attention that leaves weights out at random."""
    if dropout > 0:
        raise RecordError(
            f"{module}: attention dropout {dropout:g} is active, so weights are random; call "
            "model.eval() first"
        )


def _weighed(weights: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """[Hq, Dv] of weights [Hq, n] and values [Hkv, n, Dv]."""
    return (weights.unflatten(0, (v.shape[0], -1)) @ v).flatten(0, 1)


def _rounding(
    dtype: torch.dtype, largest: torch.Tensor, weights: torch.Tensor, v: torch.Tensor, output: torch.Tensor
) -> torch.Tensor:
    """How far rounding scores, weights and outputs to `dtype` may move an output [Hq, Dv].

    Args:
        dtype: the kernel's; float64 is taken for float32, in which eager attention takes its softmax all the
            same.
        largest: [Hq], the largest size of a score.
        weights: [Hq, n]. v: [Hkv, n, Dv]. output: [Hq, Dv], unrounded.
    """
    dtype = torch.float32 if dtype == torch.float64 else dtype
    unit = torch.finfo(dtype).eps
    least = torch.finfo(dtype).smallest_normal * unit
    # Scores off by d change a weight by a factor of at most exp(2 d): the output moves towards other values.
    factor = torch.expm1(2 * unit * (1 + largest))
    group = len(weights) // len(v)
    moved: list[torch.Tensor] = []
    for head in range(len(weights)):  # one at a time, because a difference is as large as a head's values
        apart = (v[head // group] - output[head]).abs()
        # No mixture of values lies farther off than one of them; fmin, because inf * 0 is NaN.
        moved.append(torch.fmin(factor[head] * (weights[head] @ apart), apart.amax(0)))
    return torch.stack(moved) + _weighed(unit * weights + least, v.abs()) + least


def _sampled(spans: Spans) -> list[int]:
    """The last row that reads anything, the middle one and the first with two keys."""
    counts = spans.row_counts()
    reading = counts.nonzero()[0]
    if len(reading) == 0:
        return []
    several = (counts > 1).nonzero()[0]
    first = several[0] if len(several) else reading[0]
    return sorted({int(reading[-1]), int(reading[len(reading) // 2]), int(first)})


def _summing(q: torch.Tensor) -> float:
    """The unit of rounding of products and sums, which half-precision kernels keep in float32."""
    tf32 = q.is_cuda and q.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    return math.ldexp(1.0, -10) if tf32 else float(torch.finfo(wide).eps)
