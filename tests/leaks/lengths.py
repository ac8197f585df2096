"""The output depends on how long the text is."""

import math

import torch

from tests.leaks.case import Case
from tests.leaks.decoder import Attention, Cached, Plain, decoder, rotate


class DynamicBase(Attention):
    """Dynamic NTK: beyond the original length, RoPE's base grows with the length of the whole call."""

    def place(self, q, k, view):
        original = self.config.original_max_position_embeddings
        length = int(view.slots[-1]) + 1
        base = 100.0 * max(1.0, 2.0 * length / original - 1.0)
        return rotate(q, view.positions, base), rotate(k, view.positions, base)


class KeptBase(Attention):
    """As transformers do it: the base of the longest text so far stays, until one is within the original."""

    longest = 0

    def place(self, q, k, view):
        original, length = self.config.original_max_position_embeddings, int(view.slots[-1]) + 1
        self.longest = 0 if length < original else max(self.longest, length)
        base = 100.0 * max(1.0, 2.0 * self.longest / original - 1.0)
        return rotate(q, view.positions, base), rotate(k, view.positions, base)


class LongFactors(Attention):
    """LongRoPE: short factors up to the original length, long ones beyond."""

    def place(self, q, k, view):
        base = 100.0 if len(view.slots) <= self.config.original_max_position_embeddings else 1000.0
        return rotate(q, view.positions, base), rotate(k, view.positions, base)


class LogLength(Attention):
    """Scores scaled by the logarithm of the whole length."""

    def scores(self, q, k, view, slots):
        return super().scores(q, k, view, slots) * (math.log(len(slots) + 1) / math.log(8.0))


class PaddedChunks(Attention):
    """Keys are padded with zeros up to a multiple of 8, and the last query's row of the mask covers them."""

    def weigh(self, scores, allowed):
        n = scores.shape[-1]
        extra = -n % 8
        scores = scores.masked_fill(~allowed, -torch.inf)
        return torch.cat((scores, scores.new_zeros(*scores.shape[:-1], extra)), -1).softmax(-1)[..., :n]


class OddLeak(Attention):
    """At odd lengths the last tile is padded, and its mask starts one place late."""

    def reach(self, i, j):
        return j <= i + len(i) % 2


class Interpolated(Plain):
    """Learned positions stretched over the length (position interpolation to the table's end)."""

    def positions(self, slots, mask):
        return (slots * (self.config.max_position_embeddings - 1) // len(slots))[None]


def _length(name, note, options=None, rule="LB102", also=(), **given):
    return Case(name, decoder(**given), rule, None, options or {}, note, also)


CASES = [
    _length(
        "dynamic_ntk",
        "dynamic NTK scaling",
        {"length": 16},
        mixer=DynamicBase,
        original_max_position_embeddings=8,
    ),
    _length(
        "dynamic_ntk_auto",
        "the same; the length is for the audit to find",
        mixer=DynamicBase,
        original_max_position_embeddings=26,
    ),
    _length(
        "dynamic_ntk_kept",
        "dynamic NTK scaling that stays from call to call",
        {"length": 16},
        mixer=KeptBase,
        original_max_position_embeddings=4,
    ),
    _length(
        "long_factors",
        "LongRoPE switches factors with the length",
        {"length": 16},
        mixer=LongFactors,
        original_max_position_embeddings=10,
    ),
    _length("log_length_scale", "log-n scaling by the whole length instead of the query's", mixer=LogLength),
    _length("odd_lengths", "a leak at odd lengths only", {"length": 16}, mixer=OddLeak),
    _length("padded_keys", "keys padded to a multiple, unmasked", mixer=PaddedChunks),
    _length(
        "interpolated_positions",
        "positions stretched over the length",
        model=Interpolated,
        positions="learned",
    ),
    _length(
        "dynamic_ntk_cached",
        "cached keys keep the base of their time",
        {"length": 16},
        rule="LB201",
        also=("LB102",),
        mixer=DynamicBase,
        original_max_position_embeddings=8,
        model=Cached,
    ),
]
