"""Receptive field: how far back one layer looks, found by changing what goes into that layer alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lookbehind.auditor.subject import Subject, seed_everything

Shares = NDArray[np.float64]


def layer_reach(subject: Subject, ids: torch.Tensor) -> dict[str, Shares]:
    """How far each input of each layer moves its outputs, as a share of the largest: {path: [n, n]}.

    Each layer is called as the model called it, with one hidden state moved at a time. Layers that cannot be
    called by themselves are left out.
    """
    n = ids.shape[1]
    found: dict[str, Shares] = {}
    for path, (layer, args, kwargs) in _calls(subject, ids).items():
        try:
            found[path] = _probe(layer, args, kwargs, n)
        except Exception:  # a layer that keeps books with its neighbours cannot be called alone
            continue
    return found


def _calls(subject: Subject, ids: torch.Tensor) -> dict[str, tuple[torch.nn.Module, Any, Any]]:
    calls: dict[str, tuple[torch.nn.Module, Any, Any]] = {}

    def watch(path: str) -> Callable[..., None]:
        def hook(layer: torch.nn.Module, args: Any, kwargs: Any) -> None:
            calls.setdefault(path, (layer, _copied(args), _copied(kwargs)))

        return hook

    hooks = [layer.register_forward_pre_hook(watch(path), with_kwargs=True) for path, layer in subject.blocks]
    try:
        subject.logits(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _probe(layer: torch.nn.Module, args: Any, kwargs: Any, n: int) -> Shares:
    first = args[0] if args else kwargs["hidden_states"]
    if not isinstance(first, torch.Tensor) or first.shape[:2] != (1, n):
        raise ValueError("the first input is no sequence of hidden states")

    def run(hidden: torch.Tensor) -> torch.Tensor:
        seed_everything(0)
        given = _copied(args), _copied(kwargs)
        with torch.no_grad():
            out = (
                layer(hidden, *given[0][1:], **given[1])
                if args
                else layer(**{**given[1], "hidden_states": hidden})
            )
        out = out[0] if isinstance(out, (tuple, list)) else out
        if not isinstance(out, torch.Tensor) or out.shape[:2] != (1, n):
            raise ValueError("the output is no sequence of hidden states")
        return out[0]

    base = run(first.clone())
    size = max(float(base.abs().max()), 1e-30)
    shares = np.zeros((n, n))
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        moves = torch.randn(first.shape[1:], generator=generator).to(first)
        for j in range(n):
            moved = first.clone()
            moved[0, j] += moves[j]
            apart = (run(moved) - base).abs().flatten(1).amax(-1).double().cpu().numpy()
            shares[:, j] = np.maximum(shares[:, j], apart / size)
    return shares


def _copied(value: Any) -> Any:
    """Tensors copied, containers rebuilt; what else there is, shared."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if type(value) in (tuple, list):
        return type(value)(_copied(one) for one in value)
    if type(value) is dict:
        return {key: _copied(one) for key, one in value.items()}
    return value
