"""A problem: what every engine is handed, validated once and frozen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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


def keys_before_triangle(spans: Spans) -> int | None:
    """t if query row r reads keys 0 to t + r, queries being last; Lk if each reads every key; None otherwise.

    What fused kernels know of patterns.
    """
    n_queries, n_keys = spans.n_queries, spans.n_keys
    if spans.count() == n_queries * n_keys:
        return n_keys
    before = n_keys - n_queries
    one_each = len(spans.starts) == n_queries and bool((np.diff(spans.row_ptr) == 1).all())
    if before < 0 or not one_each or spans.starts.any():
        return None
    return before if np.array_equal(spans.stops, np.arange(before + 1, n_keys + 1)) else None
