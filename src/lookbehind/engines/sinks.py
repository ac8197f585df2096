"""Sinks: their share taken off attention that was computed without them, exactly."""

from __future__ import annotations

import math

import torch

from lookbehind.engines.problem import Problem


def folded(problem: Problem, out: torch.Tensor, lse: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and lse with the problem's sinks: each is one more term of the softmax, with value 0."""
    if problem.sinks is None:
        return out, lse
    together = folded_lse(problem, lse)
    share = torch.exp(lse - together).masked_fill(lse == -math.inf, 0.0)
    return (out.to(lse.dtype) * share[..., None]).to(out.dtype), together


def folded_lse(problem: Problem, lse: torch.Tensor) -> torch.Tensor:
    """The lse alone. A query without a key stays at -inf; one whose scores all are -inf does not."""
    if problem.sinks is None:
        return lse
    together = torch.logaddexp(lse, problem.sinks.to(lse.dtype)[:, None])
    counts = problem.spans.row_counts()
    if counts.all():
        return together
    return together.masked_fill(torch.from_numpy(counts == 0).to(lse.device), -math.inf)
