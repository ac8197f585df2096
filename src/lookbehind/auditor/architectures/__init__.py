"""Architectures: tiny random models of every decoder in transformers, so that an audit needs no weights.

>>> from lookbehind.auditor.architectures import names, tiny
>>> "Qwen3ForCausalLM" in names()
True
>>> model = tiny("Qwen3ForCausalLM")
>>> model.config.hidden_size
64
"""

from __future__ import annotations

import warnings
from typing import Any

from lookbehind.auditor.architectures import roster
from lookbehind.auditor.architectures.roster import Unbuildable, classes_of
from lookbehind.auditor.architectures.sizes import shrunk
from lookbehind.auditor.architectures.stubborn import REASONS, SETTINGS
from lookbehind.auditor.architectures.weights import redraw

__all__ = ["Unbuildable", "names", "tiny"]


def names() -> list[str]:
    """Every architecture, alphabetically: what transformers lists, and what it forgot to list."""
    return list(roster.names())


def tiny(name: str, seed: int = 0, **overrides: Any) -> Any:
    """A tiny random model of an architecture, in eval mode and float32.

    Args:
        name: one of `names()`.
        seed: draws the weights.
        overrides: settings of its configuration, over those that make it tiny.

    Raises:
        InputError: there is no such architecture.
        Unbuildable: no tiny model of it can be made; the message says why.
    """
    import torch

    model_class, config_class = classes_of(name)
    if name in REASONS:
        raise Unbuildable(f"{name}: {REASONS[name]}")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        try:
            config = config_class(**{**shrunk(config_class()), **SETTINGS.get(name, {}), **overrides})
            model = model_class(config)
        except ImportError as error:
            missing = " ".join(str(error).split()).partition(" but ")[0]  # then follows how to install it
            raise Unbuildable(f"{name}: needs a package that is not installed: {missing}") from error
    redraw(model, seed)
    return model.eval()
