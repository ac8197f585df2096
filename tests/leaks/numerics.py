"""Leaks at the edge of what arithmetic shows: tiny, without a gradient, in one dtype only, at ties only."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.leaks.case import Case
from tests.leaks.decoder import MLP, Attention, decoder
from tests.leaks.mixers import FourierConv

M0, M1 = "blocks.0.mlp", "blocks.1.mlp"


def ahead(x):
    """The mean of the sequence, which any position should not know."""
    return x.mean(1, keepdim=True)


class Tiny(MLP):
    """1e-7 of the signal."""

    def forward(self, x):
        return super().forward(x) + 1e-7 * ahead(x)


class TinyDetached(MLP):
    def forward(self, x):
        return super().forward(x) + 1e-7 * ahead(x.detach())


class TinySign(MLP):
    """The sign of the mean: no gradient anywhere, 1e-6 of the signal."""

    def forward(self, x):
        return super().forward(x) + 1e-6 * ahead(x).sign()


class TinyInFloat(MLP):
    """1e-6 of the signal, within a part that computes in float32 whatever comes in."""

    def forward(self, x):
        wide = x.float()
        return super().forward(x) + (0.1 * wide + 1e-6 * ahead(wide)).to(x.dtype)


class TinyBesideNoise(FourierConv):
    """1e-6 of the signal, beside an honest convolution whose rounding sees the future as well."""

    def forward(self, x, view):
        return super().forward(x, view) + 1e-6 * ahead(x)


class Stabilized(Attention):
    """exp(s - the largest score of all), and an eps below: the eps makes the future's maximum matter."""

    def weigh(self, scores, allowed):
        raised = (scores - scores.amax((-1, -2), keepdim=True)).exp() * allowed
        return raised / (raised.sum(-1, keepdim=True) + 1e-6)


class OnlyBfloat16(MLP):
    """A kernel for bfloat16 sums over the tile it was given."""

    def forward(self, x):
        y = super().forward(x)
        return y + 0.25 * ahead(x) if x.dtype == torch.bfloat16 else y


class OnlyFloat32(MLP):
    """The same for float32, at 1e-3: float64 knows nothing of it."""

    def forward(self, x):
        y = super().forward(x)
        return y + 1e-3 * ahead(x) if x.dtype == torch.float32 else y


class KernelForBfloat16(MLP):
    """As a kernel compiled for two-byte numbers does it: nothing that asks for the dtype shows in Python."""

    def forward(self, x):
        y = super().forward(x)
        return y + 0.25 * ahead(x) if x.element_size() == 2 else y


class KernelForFloat32(MLP):
    """The same for four-byte numbers, at 1e-3."""

    def forward(self, x):
        y = super().forward(x)
        return y + 1e-3 * ahead(x) if x.element_size() == 4 else y


class OnlyBfloat16Mask(Attention):
    """A mask filled with a number that bfloat16 attention adds to and float32 attention does not need."""

    def weigh(self, scores, allowed):
        if scores.dtype == torch.bfloat16:
            return (scores - 4.0 * (~allowed).to(scores.dtype)).softmax(-1)
        return super().weigh(scores, allowed)


class TiedRouter(MLP):
    """Top-1 of two experts; scores are rounded, and a tie goes to the expert with the smaller load of all."""

    def __init__(self, config):
        super().__init__(config)
        self.router = nn.Linear(config.hidden_size, 2)
        self.other = MLP(config)

    def forward(self, x):
        scores = (self.router(x) / 0.5).round()
        first = scores.argmax(-1)
        load = F.one_hot(first, 2).sum(1, keepdim=True)
        tie = scores[..., 0] == scores[..., 1]
        choice = torch.where(tie, load.argmin(-1), first)[..., None]
        return torch.where(choice == 0, super().forward(x), self.other(x))


class FarAway(Attention):
    """Reads 13 ahead, through a weight of 1e-3."""

    def weigh(self, scores, allowed):
        n = scores.shape[-1]
        weights = super().weigh(scores, allowed)
        return weights + 1e-3 * torch.eye(n, dtype=weights.dtype).roll(13, 1).triu(13)


class ZeroGate(MLP):
    """A leak behind a gate that starts at 1e-4 (ReZero, LayerScale)."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("gate", torch.full((1,), 1e-4))

    def forward(self, x):
        return super().forward(x) + self.gate * ahead(x).tanh()


def _small(name, culprit, note, dtypes=None, **given):
    return Case(name, decoder(**given), "LB101", culprit, {}, note, **({"dtypes": dtypes} if dtypes else {}))


CASES = [
    _small("tiny_leak", M1, "1e-7 of the signal: below any usual tolerance", mlp={1: Tiny}),
    _small("tiny_detached_leak", M1, "the same without a gradient", mlp={1: TinyDetached}),
    _small("tiny_sign_leak", M0, "a step function of the future: the gradient is zero", mlp={0: TinySign}),
    _small(
        "tiny_leak_in_float",
        M1,
        "within a part that casts to float32, as norms and routers do",
        mlp={1: TinyInFloat},
    ),
    _small(
        "tiny_leak_beside_noise",
        "blocks.0.mixer",
        "beside an FFT whose rounding hides it in float32",
        mixer={0: TinyBesideNoise},
    ),
    _small(
        "stabilized_with_eps",
        "blocks.1.mixer",
        "a softmax by hand: global maximum, eps below",
        mixer={1: Stabilized},
    ),
    _small("only_bfloat16", M1, "a fast path taken for bfloat16 only", ("bfloat16",), mlp={1: OnlyBfloat16}),
    _small(
        "kernel_for_bfloat16",
        M1,
        "a fused kernel that exists for bfloat16 only",
        ("bfloat16",),
        mlp={1: KernelForBfloat16},
    ),
    _small(
        "kernel_for_float32",
        M0,
        "a fused kernel that exists for float32 only",
        ("float32",),
        mlp={0: KernelForFloat32},
    ),
    _small("only_float32", M0, "a kernel for float32 only", ("float32",), mlp={0: OnlyFloat32}),
    _small(
        "only_bfloat16_mask",
        "blocks.0.mixer",
        "a mask value for half precision, too small",
        ("bfloat16",),
        mixer={0: OnlyBfloat16Mask},
    ),
    _small("tied_router", M1, "ties of a rounded router are broken by load", mlp={1: TiedRouter}),
    _small("far_ahead", "blocks.1.mixer", "one diagonal, 13 ahead, at 1e-3", mixer={1: FarAway}),
    _small("small_gate", M0, "a gate that is all but closed", mlp={0: ZeroGate}),
]
