"""Weights: drawn again, from one seed, so that every path of a model carries signal.

What training starts from hides leaks: biases and gates of zero, matrices of 0.02, attention all but uniform.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from lookbehind.errors import InputError

# Their distribution is part of how the layer works: decays decay, steps are positive, sines stay sines.
_KEPT = re.compile(
    r"(.*\.)?(A_log|dt_bias|dt_proj\.bias|time_decay|time_first|recurrent_param|inv_freq|.*decay.*)"
)
_NOISE = 0.1
_GATE = 0.3


@torch.no_grad()
def redraw(model: nn.Module, seed: int) -> None:
    """Draw every parameter of a model again, in place.

    Embeddings have standard deviation 1, matrices 1/sqrt(fan in); what was constant (norms, biases, sinks,
    gates) becomes that constant and noise.

    Raises:
        InputError: some are quantised.
    """
    for name, parameter in model.named_parameters():
        if type(parameter.data) is not torch.Tensor:
            kind = type(parameter.data).__name__
            raise InputError(f"redraw: {name} is quantised ({kind}), and cannot be drawn; leave redraw out")
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    convolutions = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv1d)}
    transposed = {id(m.weight) for m in model.modules() if type(m).__name__ == "Conv1D"}
    tables = {id(p) for m in model.modules() if "Sinusoid" in type(m).__name__ for p in m.parameters()}
    for name, parameter in model.named_parameters():
        if _KEPT.fullmatch(name) or id(parameter) in tables or not parameter.is_floating_point():
            continue
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32).to(parameter.dtype)
        if id(parameter) in embeddings:
            parameter.copy_(noise)
        elif id(parameter) in convolutions:
            parameter.copy_(noise * _fan(parameter.shape[1:]))
        elif id(parameter) in transposed:
            parameter.copy_(noise * _fan(parameter.shape[:1]))
        elif _constant(parameter):
            value = float(parameter.flatten()[0])
            scale = 1.0 if "sink" in name else _GATE if value == 0 else _NOISE * abs(value)
            parameter.copy_(value + scale * noise)
        elif parameter.ndim >= 2:
            parameter.copy_(noise * _fan(parameter.shape[-1:]))


def _fan(shape: Any) -> float:
    return torch.Size(shape).numel() ** -0.5


def _constant(parameter: nn.Parameter) -> bool:
    return parameter.ndim < 2 and parameter.numel() > 0 and bool((parameter == parameter.flatten()[0]).all())
