"""Batch: what is kept of sequences that grow together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from lookbehind.engines.observation import Observation
from lookbehind.spans import Spans
from lookbehind.taps.logits import Said


@dataclass(frozen=True, eq=False)
class Rows:
    """What one forward added to one layer: its queries and keys in host memory, and which products they make.

    Attributes:
        q: [B, Hq, n, D]. k: [B, Hkv, n, D]. Both are of width 0 where statistics are kept in their place.
        spans: per batch row, keys at their positions in the sequence.
        seen: per batch row, the statistics of the call, where those are kept.
        first_key: position of the first key that the statistics count.
    """

    q: torch.Tensor
    k: torch.Tensor
    spans: Sequence[Spans]
    seen: Sequence[Observation] = ()
    first_key: int = 0


@dataclass(frozen=True, eq=False)
class Step:
    """One forward: the rows that it added to each layer, and its token ids and what it said would come next,
    where these are known."""

    n_queries: int
    rows: dict[str, Rows]
    token_ids: torch.Tensor | None
    said: Said | None


@dataclass(eq=False)
class LayerGrowth:
    """One layer of a batch: what all its calls share, and a fingerprint of each key kept.

    Attributes:
        prints: int64 [B, length], on the model's device.
    """

    scale: float
    softcap: float | None
    sinks: torch.Tensor | None
    alibi: torch.Tensor | None
    prints: torch.Tensor


@dataclass(eq=False)
class Batch:
    """Sequences that grow together: `size` of them, of `length` positions each.

    Attributes:
        layers: by name.
        steps: one for each forward; whoever writes them to a disk takes them away.
        n_steps: how many forwards there were.
        cache: `id` of the cache that holds their keys; keys tell whether it is still that one.
        meta: of the model, as it was when they began.
        last: log-probabilities [B, vocabulary] after the last row, if they are known.
    """

    size: int
    length: int = 0
    layers: dict[str, LayerGrowth] = field(default_factory=dict[str, LayerGrowth])
    steps: list[Step] = field(default_factory=list[Step])
    n_steps: int = 0
    cache: int | None = None
    meta: dict[str, str] = field(default_factory=dict[str, str])
    last: torch.Tensor | None = None
