"""Statistics taken over the wrong axes."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.leaks.case import Case
from tests.leaks.decoder import MLP, Head, Plain, RMSNorm, decoder


class BatchStatistics(nn.Module):
    """BatchNorm that never keeps running statistics."""

    def __init__(self, config):
        super().__init__()
        self.inner = nn.BatchNorm1d(config.hidden_size, track_running_stats=False)

    def forward(self, x):
        return self.inner(x.flatten(0, 1)).view_as(x)


class SequenceNorm(RMSNorm):
    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean((1, 2), keepdim=True) + 1e-6)


class Instance(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inner = nn.InstanceNorm1d(config.hidden_size, affine=True)

    def forward(self, x):
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class Group(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inner = nn.GroupNorm(4, config.hidden_size)

    def forward(self, x):
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class MaxScale(RMSNorm):
    def forward(self, x):
        return self.weight * x / x.abs().amax((1, 2), keepdim=True)


class AcrossRows(RMSNorm):
    """The mean over the batch is taken off, position by position."""

    def forward(self, x):
        return super().forward(x - 0.5 * x.mean(0, keepdim=True))


class DetachedCentre(RMSNorm):
    """The mean over the sequence, without a gradient."""

    def forward(self, x):
        return super().forward(x - 0.1 * x.detach().mean(1, keepdim=True))


class QuantizedMLP(MLP):
    """Dynamic int8 per tensor: one scale for the whole sequence."""

    def forward(self, x):
        scale = x.abs().amax((1, 2), keepdim=True) / 127
        return super().forward((x / scale).round() * scale)


class ClippedMLP(MLP):
    """Activations clipped at the sequence's own 90th percentile."""

    def forward(self, x):
        limit = x.flatten(1).float().quantile(0.9, dim=1)[:, None, None].to(x.dtype)
        return super().forward(x.clamp(max=limit))


class CentredHead(Head):
    """Logits centred along the sequence instead of the vocabulary."""

    def forward(self, x):
        logits = super().forward(x)
        return logits - logits.mean(1, keepdim=True)


class RuledOut(Plain):
    """A vocabulary padded with tokens that are ruled out by the smallest number there is."""

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        return F.pad(logits, (0, 2), value=torch.finfo(logits.dtype).min)


class NoRepeat(Plain):
    """Tokens that the text holds already are ruled out by the smallest number there is."""

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        seen = F.one_hot(input_ids, logits.shape[-1]).cumsum(1) > 0
        return logits.masked_fill(seen, torch.finfo(logits.dtype).min)


class SequenceSoftmaxHead(Head):
    def forward(self, x):
        return F.log_softmax(super().forward(x), dim=1)


def _stat(name, culprit, note, rule="LB101", also=(), **given):
    return Case(name, decoder(**given), rule, culprit, {}, note, also)


CASES = [
    _stat(
        "batch_norm",
        "blocks.0.norm1",
        "BatchNorm without running statistics",
        norm=BatchStatistics,
        also=("LB102", "LB303"),
    ),
    _stat("sequence_norm", "blocks.1.norm1", "normalised over positions and width", norm={1: SequenceNorm}),
    _stat("instance_norm", "blocks.0.norm1", "InstanceNorm over [B, d, n]", norm=Instance),
    _stat("group_norm", "blocks.0.norm1", "GroupNorm over [B, d, n], as in Conv-TasNet", norm=Group),
    _stat(
        "max_scale", "blocks.1.norm1", "scaled by the largest activation of the sequence", norm={1: MaxScale}
    ),
    _stat("batch_mean", None, "statistics shared by the rows of a batch", rule="LB303", norm={0: AcrossRows}),
    _stat(
        "detached_mean",
        "blocks.1.norm1",
        "a statistic without a gradient, which gradients cannot find",
        norm={1: DetachedCentre},
    ),
    _stat(
        "dynamic_quantization",
        "blocks.0.mlp",
        "int8 with one dynamic scale per tensor",
        mlp={0: QuantizedMLP},
    ),
    _stat(
        "quantile_clip",
        "blocks.1.mlp",
        "outliers clipped at the sequence's own quantile",
        mlp={1: ClippedMLP},
    ),
    _stat(
        "centred_beside_huge",
        "head",
        "the same beside tokens ruled out by the smallest number, of which it is no share",
        model=RuledOut,
        head=CentredHead,
    ),
    _stat(
        "centred_beside_ruled_out",
        "head",
        "the same where the text decides which tokens are ruled out",
        model=NoRepeat,
        head=CentredHead,
    ),
    _stat("centred_logits", "head", "logits centred on dim 1", head=CentredHead),
    _stat("log_softmax_dim", "head", "log_softmax(dim=1)", head=SequenceSoftmaxHead),
]
