"""Padding, and rows of a batch, that change what they should not."""

import torch
from torch import nn

from tests.leaks.case import Case
from tests.leaks.decoder import MLP, Attention, Decoder, Masked, Plain, decoder
from tests.leaks.experts import Experts, fill
from tests.leaks.mixers import Scan

LEFT, RIGHT, NEIGHBOUR = "LB301", "LB302", "LB303"


class MaskIgnored(Masked):
    def view(self, input_ids, mask, position_ids, cache):
        return super().view(input_ids, None, position_ids, cache)


class IgnoredAlone(Masked):
    """A batch of one is thought to need no padding."""

    def view(self, input_ids, mask, position_ids, cache):
        return super().view(input_ids, mask if len(input_ids) > 1 else None, position_ids, cache)


class IgnoredTogether(Masked):
    """Only row 0 is looked at to see whether there is padding."""

    def view(self, input_ids, mask, position_ids, cache):
        return super().view(input_ids, None if mask is None or mask[0].all() else mask, position_ids, cache)


class FirstRowsMask(Masked):
    """Row 0's mask is used for all."""

    def view(self, input_ids, mask, position_ids, cache):
        return super().view(
            input_ids, None if mask is None else mask[:1].expand_as(mask), position_ids, cache
        )


class PositionsOfSlots(Decoder):
    """Learned positions by slot: left padding moves a text along (GPT-2 without position_ids)."""

    def forward(self, input_ids, attention_mask=None):
        return self.run(input_ids, attention_mask)

    def positions(self, slots, mask):
        return slots[None]


class PositionIdsIgnored(Masked):
    """position_ids are accepted and not used; positions come from the slots."""

    def view(self, input_ids, mask, position_ids, cache):
        view = super().view(input_ids, mask, position_ids, cache)
        view.positions = view.slots[None].expand(input_ids.shape)
        return view


class AlwaysLeft(Masked):
    """Padding is taken to be on the left, wherever it is: positions are moved back by its amount."""

    def positions(self, slots, mask):
        if mask is None:
            return slots[None]
        return (slots[None] - (1 - mask.long()).sum(1, keepdim=True)).clamp(min=0)


class MaskReplaces(Attention):
    """A given mask replaces the causal one (is_causal = attention_mask is None)."""

    def allowed(self, view, slots, places):
        if view.padding is None:
            return super().allowed(view, slots, places)
        return (view.padding[:, None, slots] | torch.eye(len(slots), dtype=torch.bool))[:, None]


class OnesReplace(MaskReplaces):
    """A shortcut where nothing is padded: no mask is made, and the causal one is forgotten with it."""

    def allowed(self, view, slots, places):
        if view.padding is None or bool(view.padding.all()):
            return super().allowed(view, slots, places)
        return Attention.allowed(self, view, slots, places)


class EmptyRows(Attention):
    """Queries with no key give NaN, which the next layer multiplies by 0."""

    def weigh(self, scores, allowed):
        own = torch.eye(scores.shape[-1], dtype=torch.bool)
        if self.padding is not None:
            allowed = allowed & (self.padding[:, None, :, None] | ~own)
        return super().weigh(scores, allowed)

    def forward(self, x, view):
        self.padding = view.padding
        return super().forward(x, view)


class SoftPadding(Attention):
    """Padding is taken off by a finite number."""

    def allowed(self, view, slots, places):
        self.padding, view.padding = view.padding, None
        allowed = super().allowed(view, slots, places)
        view.padding = self.padding
        return allowed

    def weigh(self, scores, allowed):
        if self.padding is not None:
            scores = scores - 6.0 * (~self.padding[:, None, None]).to(scores.dtype)
        return super().weigh(scores, allowed)


class DeafScan(Scan):
    """A scan that never heard of the mask: padding on the left enters its state."""


class PaddedExperts(Experts):
    """Experts fill up in order of position, padding first."""

    def route(self, scores):
        weights = super().route(scores)
        return fill(weights, torch.arange(scores.shape[1])[None, :, None].expand_as(weights), 3)


class RightLength(Attention):
    """Scores scaled by the number of real tokens over the whole padded length."""

    def scores(self, q, k, view, slots):
        scores = super().scores(q, k, view, slots)
        if view.padding is None:
            return scores
        real = view.padding.sum(1).to(scores.dtype) / view.padding.shape[1]
        return scores * real[:, None, None, None].sqrt()


class LongestRow(Masked):
    """Positions are counted from the longest row's first token."""

    def positions(self, slots, mask):
        if mask is None:
            return slots[None]
        return (slots[None] - (mask == 0).sum(1).min()).clamp(min=0)


class NotBatchFirst(nn.Module):
    """nn.MultiheadAttention without batch_first: it attends across the batch."""

    def __init__(self, config, layer):
        super().__init__()
        self.inner = nn.MultiheadAttention(config.hidden_size, 4)

    def forward(self, x, view):
        mask = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        return self.inner(x, x, x, attn_mask=mask, need_weights=False)[0]


class BatchMaxScale(MLP):
    """One dynamic quantization scale per position, over the whole batch."""

    def forward(self, x):
        scale = x.abs().amax((0, 2), keepdim=True) / 127
        return super().forward((x / scale).round() * scale)


class ByRow(Plain):
    """A buffer by row of the batch that is written by row 0 and read by all."""

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        return logits + 0.01 * logits[:1]


def _pad(name, note, rule=LEFT, also=(), culprit=None, **given):
    given.setdefault("model", Masked)
    return Case(name, decoder(**given), rule, culprit, {}, note, also)


CASES = [
    _pad("mask_ignored", "attention_mask is accepted and not used", model=MaskIgnored),
    _pad("mask_ignored_alone", "a shortcut for batch size 1", model=IgnoredAlone),
    _pad("mask_ignored_together", "row 0 decides whether there is padding", model=IgnoredTogether),
    _pad("first_rows_mask", "mask[0] for all rows", model=FirstRowsMask),
    _pad("positions_of_slots", "learned positions by slot", model=PositionsOfSlots, positions="learned"),
    _pad(
        "position_ids_ignored",
        "position_ids accepted and not used",
        model=PositionIdsIgnored,
        positions="learned",
    ),
    _pad(
        "always_left",
        "positions moved back as for left padding",
        RIGHT,
        model=AlwaysLeft,
        positions="learned",
    ),
    _pad("mask_replaces_causal", "is_causal = attention_mask is None", RIGHT, mixer=MaskReplaces),
    _pad("ones_replace_causal", "is_causal is lost where a mask masks nothing", RIGHT, mixer=OnesReplace),
    _pad("empty_rows", "queries of padding have no key: NaN spreads", mixer=EmptyRows),
    _pad("soft_padding", "a finite number taken off padded keys", mixer={1: SoftPadding}),
    _pad("deaf_scan", "recurrent state takes padding in (Mamba, RWKV)", mixer={0: DeafScan}),
    _pad("padded_experts", "padding takes the experts' places", mlp={0: PaddedExperts}),
    _pad("share_of_real_tokens", "a scale by the share of real tokens", RIGHT, mixer={0: RightLength}),
    _pad("longest_row", "the batch's longest row sets positions", model=LongestRow, positions="learned"),
    _pad("not_batch_first", "nn.MultiheadAttention without batch_first", NEIGHBOUR, mixer={1: NotBatchFirst}),
    _pad("scale_over_batch", "a quantization scale over the batch", NEIGHBOUR, mlp={0: BatchMaxScale}),
    _pad("row_zero_added", "a buffer of row 0 read by all", NEIGHBOUR, model=ByRow),
]
