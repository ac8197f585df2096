"""Sinks: their share taken off attention that was computed without them."""

from __future__ import annotations

import math

import torch


def folded(
    out: torch.Tensor, lse: torch.Tensor, sinks: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and lse with sinks [Hq]: each is one more term of the softmax, with value 0."""
    if sinks is None:
        return out, lse
    together = folded_lse(lse, sinks)
    share = torch.exp(lse - together).masked_fill(lse == -math.inf, 0.0)
    return (out.to(lse.dtype) * share[..., None]).to(out.dtype), together


def folded_lse(lse: torch.Tensor, sinks: torch.Tensor | None) -> torch.Tensor:
    """The lse alone. A query without a key stays at -inf."""
    if sinks is None:
        return lse
    together = torch.logaddexp(lse, sinks.to(lse.dtype)[:, None])
    return together.masked_fill(lse == -math.inf, -math.inf)
