"""Small tapes made by hand, for tests of what is made from a tape."""

import torch

from lookbehind.pattern import Causal, Pattern, Window
from lookbehind.tape import Layer, Tape


def tape(
    n: int = 12,
    patterns: tuple[Pattern, ...] = (Causal(), Causal() & Window(4)),
    n_heads: int = 2,
    ids: list[int] | None = None,
    tokens: list[str] | None = None,
    seed: int = 0,
) -> Tape:
    """Random queries and keys under the given patterns, one layer each."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        Layer(
            name=f"layers.{at}",
            q=torch.randn(n_heads, n, 8, generator=generator) * 3,
            k=torch.randn(1, n, 8, generator=generator),
            spans=pattern.spans(n),
            scale=8**-0.5,
        )
        for at, pattern in enumerate(patterns)
    ]
    ids = [i % 5 for i in range(n)] if ids is None else ids
    return Tape(layers, token_ids=ids, tokens=tokens, steps=[n], meta={"model": "random"})
