"""Declared: what a model says of itself: whether it is a decoder, and how far back its layers may look."""

from __future__ import annotations

from typing import Any

import torch

from lookbehind.auditor.subject import Subject, text_config
from lookbehind.pattern import Causal, Chunk, Pattern, Window

_BIDIRECTIONAL = ("ForMaskedLM", "ForMaskGeneration", "Diffusion", "ForPreTraining", "EncoderModel")


def no_decoder(model: Any) -> str | None:
    """Why a model is no decoder by its own word; None if it does not say so."""
    name = type(model).__name__
    whole, config = getattr(model, "config", None), text_config(model)
    if getattr(whole, "is_encoder_decoder", False) is True:
        return f"{name} is an encoder-decoder by its config; audit its decoder alone"
    for part in _BIDIRECTIONAL:
        if part in name:
            return f"{name} is no decoder: it reads both sides; pass expect= to audit it anyway"
    for flag in ("use_bidirectional_attention", "is_bidirectional", "bidirectional"):
        if getattr(config, flag, False) is True:
            return f"{name} declares {flag}=True; pass expect= to audit it anyway"
    if getattr(config, "is_causal", None) is False:
        return f"{name} declares is_causal=False; pass expect= to audit it anyway"
    if getattr(config, "is_decoder", None) is False or getattr(model, "is_decoder", None) is False:
        # transformers' configs say is_decoder=False of every decoder-only model too. Where classes serve
        # both, their layers repeat it.
        parts = model.modules() if isinstance(model, torch.nn.Module) else []
        foreign = not hasattr(config, "to_dict")
        if foreign or any(part.__dict__.get("is_decoder") is False for part in parts):
            return f"{name} declares is_decoder=False: an encoder; set it True, or pass expect="
    return None


def layer_patterns(subject: Subject) -> list[Pattern | None] | None:
    """What the config declares of each layer's attention: a pattern, or None for layers of another kind.

    None as a whole where it declares no window and no chunk.
    """
    config, count = subject.config, subject.n_layers
    if config is None or not count:
        return None
    windowed = _pattern("window", getattr(config, "sliding_window", None))
    chunked = _pattern("chunk", getattr(config, "attention_chunk_size", None))
    kinds = getattr(config, "layer_types", None)
    if kinds:
        known = {"full_attention": Causal(), "sliding_attention": windowed, "chunked_attention": chunked}
        found = [known.get(str(kind)) for kind in kinds]
        limited = {"sliding_attention", "chunked_attention"}
        if any(str(kind) in limited and one is not None for kind, one in zip(kinds, found, strict=True)):
            return list(found)
        return None
    if getattr(config, "use_sliding_window", True) is False:
        return None
    one = windowed if windowed is not None else chunked
    return None if one is None else list[Pattern | None]([one]) * count


def _pattern(kind: str, size: Any) -> Pattern | None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return None
    return Causal() & (Window(size) if kind == "window" else Chunk(size))
