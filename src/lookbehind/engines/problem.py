"""A problem: what every engine is handed, validated once and frozen."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lookbehind.spans import Spans


@dataclass(frozen=True, eq=False)
class Problem:
    """One attention call. Engines trust it: `lookbehind.attention` has checked every field.

    Attributes:
        q: [B, Hq, Lq, D]; float64, float32, bfloat16 or float16, any strides.
        k: [B, Hkv, Lk, D], Hkv divides Hq; the query head h reads kv head h // (Hq // Hkv).
        v: [B, Hkv, Lk, Dv], or None where no output is wanted.
        spans: which products exist; Lq queries, Lk keys.
        scale: finite; s_ij = scale * q_i.k_j.
        softcap: None, or c > 0: s = c * tanh(s / c).
        sinks: None, or [Hq]: one more logit per head, without a key.
        alibi: None, or [Hq] slopes: s += slope * (j - i), i and j absolute positions; after the softcap.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor | None
    spans: Spans
    scale: float
    softcap: float | None = None
    sinks: torch.Tensor | None = None
    alibi: torch.Tensor | None = None

    @property
    def batch(self) -> int:
        """B."""
        return self.q.shape[0]

    @property
    def n_heads(self) -> int:
        """Hq."""
        return self.q.shape[1]

    @property
    def n_kv_heads(self) -> int:
        """Hkv."""
        return self.k.shape[1]

    @property
    def group(self) -> int:
        """Query heads per kv head."""
        return self.n_heads // self.n_kv_heads

    @property
    def n_queries(self) -> int:
        """Lq."""
        return self.q.shape[2]

    @property
    def n_keys(self) -> int:
        """Lk."""
        return self.k.shape[2]

    @property
    def device(self) -> torch.device:
        """Where every tensor of the problem lies, and every result."""
        return self.q.device

    @property
    def dtype(self) -> torch.dtype:
        """What scores, lse and every reduction are computed and returned in."""
        return torch.float64 if self.q.dtype == torch.float64 else torch.float32

    @property
    def n_distances(self) -> int:
        """How many distances |i - j| can occur: 0 up to the largest. Lk where the queries come last."""
        offset = self.spans.offset
        return max(self.n_keys, offset + self.n_queries, self.n_keys - offset)


def aligned(x: torch.Tensor) -> torch.Tensor:
    """`x` as fused kernels on cards read it, or a copy: adjacent numbers, 16 bytes at a time.

    They do not all check: other strides are read wrongly, other addresses end the process's use of the card.
    """
    whole = x.shape[3] * x.element_size() % 16 == 0  # rows of a copy begin at such places too
    odd = [step * x.element_size() % 16 != 0 for step in x.stride()[:3]]
    if whole and any(odd):
        # Where an axis has one row, the step to the next means nothing, but is checked.
        alone = [size == 1 and one for size, one in zip(x.shape, odd, strict=False)]
        steps = [x.shape[3] if one else step for step, one in zip(x.stride(), alone, strict=False)]
        x = x.as_strided(x.shape, (*steps, x.stride(3)))
    fits = not whole or all(step * x.element_size() % 16 == 0 for step in x.stride()[:3])
    if x.stride(3) == 1 and x.data_ptr() % 16 == 0 and fits:
        return x
    return x.clone(memory_format=torch.contiguous_format)  # contiguous() leaves what only begins elsewhere
