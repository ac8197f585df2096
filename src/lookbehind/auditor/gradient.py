"""Gradient: whether protected outputs depend smoothly on later inputs. Exactly 0 where there is no path."""

from __future__ import annotations

from typing import Any

import torch

from lookbehind.auditor.subject import Subject, UncoveredError


def future_gradient(subject: Subject, ids: torch.Tensor, rows: torch.Tensor, start: int) -> float:
    """Greatest gradient of the outputs at `rows` with respect to the embedded tokens from `start` on.

    A value above 0 proves a path. 0 proves only that none is smooth: routing has no gradient.
    """
    table = subject.embedding
    if table is None:
        raise UncoveredError(f"{subject.name} has no embedding at which a gradient could be taken")
    taken: list[torch.Tensor] = []

    def leaf(module: torch.nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor) and output.shape[:2] == ids.shape and not taken:
            taken.append(output.detach().requires_grad_(True))
            return taken[0]
        return output

    hook = table.register_forward_hook(leaf)
    try:
        with torch.enable_grad():
            words = {"use_cache": False} if subject.accepts("use_cache") else {}
            logits = subject.read(subject.call(ids, **words), ids)[0, rows.to(ids.device)]
            generator = torch.Generator().manual_seed(0)
            weights = torch.randn(logits.shape, generator=generator).to(logits)
            finite = torch.where(torch.isfinite(logits), logits * weights, 0.0)
            gradient: Any = torch.autograd.grad(finite.sum(), taken, allow_unused=True)[0]
    finally:
        hook.remove()
    if gradient is None:
        return 0.0
    return float(gradient[:, start:].abs().max())
