"""Fingerprint: by which keys that are handed in again are told from others, without keeping them twice."""

from __future__ import annotations

from functools import lru_cache

import torch

_BITS = {1: torch.uint8, 2: torch.int16}  # bytes of an element -> its bits as a whole number
_AT_ONCE = 1 << 22  # key elements


def fingerprint(key: torch.Tensor) -> torch.Tensor:
    """A number per position that changes with any bit of its keys: int64 [B, n] of [B, Hkv, n, D].

    A sum of bit patterns times random odd numbers, in whole numbers: exact, and the same whatever order it is
    summed in.
    """
    batch, heads, length, dim = key.shape
    words = dim * key.element_size() % 4 == 0  # whole 32-bit words: no bits need widening
    factors = _odd_factors(heads, dim * key.element_size() // 4 if words else dim).to(key.device)
    step = max(1, _AT_ONCE // max(batch * heads * dim, 1))
    parts = [torch.empty(batch, 0, dtype=torch.int64, device=key.device)]
    for first in range(0, length, step):
        part = key[:, :, first : first + step].detach().contiguous()
        bits = part.view(torch.int32) if words else part.view(_BITS[key.element_size()]).to(torch.int32)
        parts.append((bits * factors).sum((1, 3), dtype=torch.int64))
    return torch.cat(parts, 1)


@lru_cache(maxsize=16)
def _odd_factors(heads: int, width: int) -> torch.Tensor:
    """Random odd numbers, int32 [heads, 1, width]; the global generator is the model's, and is left alone."""
    source = torch.Generator("cpu").manual_seed(heads * 1_000_003 + width)
    drawn = torch.randint(-(2**30), 2**30, (heads, 1, width), generator=source, device="cpu") * 2 + 1
    return drawn.to(torch.int32)
