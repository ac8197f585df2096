"""Difference: how far two outputs are apart at each position, and how large outputs are at all."""

from __future__ import annotations

import torch

_ENDLESS = 1e30  # no logit is so large; finfo.min, which stands for minus infinity, is
_FAR = 1e4  # times every other number: what is so far below them, and there more than once, was put there


class Difference:
    """Two outputs [..., vocab] that should be equal.

    Attributes:
        apart: their greatest difference at each position, [...].
        scale: the largest number of the first, that differences are shares of.
        size: the greatest difference of all, as such a share.
    """

    def __init__(self, expected: torch.Tensor, got: torch.Tensor) -> None:
        self.apart = distance(expected, got)
        self.scale = scale_of(expected)
        self.size = float(self.apart.max()) / self.scale if self.apart.numel() else 0.0

    def sizes(self, expected: torch.Tensor) -> torch.Tensor:
        """The largest number of each position, at most `scale`: [...]."""
        finite = torch.where(expected.abs() < _ENDLESS, expected, 0.0)
        return finite.abs().amax(-1).double().cpu().clamp(1e-30, self.scale)

    def beyond(self, share: float) -> torch.Tensor:
        """Where they differ by more than this share: bool [...]."""
        return self.apart > share * self.scale


def distance(expected: torch.Tensor, got: torch.Tensor) -> torch.Tensor:
    """Greatest absolute difference at each position: [...] of two [..., vocab]. Equal infinities count 0."""
    if expected.numel() == 0:
        return expected.new_zeros(expected.shape[:-1])
    quick = (expected - got).abs().amax(-1)
    if expected.dtype in (torch.float32, torch.float64) and bool(torch.isfinite(quick).all()):
        return quick.double().cpu()
    same = expected == got
    apart = torch.where(same, 0.0, (expected.double() - got.double()).abs())
    return torch.nan_to_num(apart, nan=torch.inf, posinf=torch.inf).amax(-1).cpu()


def scale_of(output: torch.Tensor) -> float:
    """The largest number of [..., vocab] that differences are shares of.

    Tokens ruled out by a huge number say nothing of its size: columns that are the same everywhere, numbers
    near the dtype's end, and one number, far below all others, that is there more than once.
    """
    flat = output.reshape(-1, output.shape[-1])
    varying = (flat != flat[:1]).any(0)
    found = flat[:, varying] if bool(varying.any()) else flat
    finite = found[found.abs() < _ENDLESS]
    while finite.numel():
        rest = finite[finite > finite.min()]
        largest = float(rest.abs().max()) if rest.numel() else 0.0
        if len(finite) - len(rest) < 2 or not 0 < largest * _FAR < -float(finite.min()):
            break
        finite = rest
    return max(float(finite.abs().max()) if finite.numel() else 1.0, 1e-30)
