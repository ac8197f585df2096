"""Small models of the audit's own tests."""

import torch
from torch import nn

from tests.leaks.decoder import Attention, decoder


class Ahead(Attention):
    """Reads one token ahead."""

    def reach(self, i, j):
        return j <= i + 1


def honest(**given):
    return decoder(**given)(0)


def leaky(layer=1, **given):
    return decoder(mixer={layer: Ahead}, **given)(0)


def encoder():
    return honest(is_decoder=False)


class OnlyHalf(nn.Module):
    """Looks ahead in bfloat16 only."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11)

    def forward(self, ids):
        x = self.table(ids)
        if x.dtype == torch.bfloat16:
            x = x + 0.1 * x.mean(1, keepdim=True)
        return self.head(x)
