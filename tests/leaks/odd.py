"""Models about which little can be said: they fail, forget nothing, throw dice, or are no decoders."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.leaks.case import Odd
from tests.leaks.decoder import MLP, Attention, Plain, decoder


class Crashing(Plain):
    def forward(self, input_ids):
        raise RuntimeError("this kernel needs another card")


class CrashingLong(Plain):
    """Works up to 8 tokens."""

    def forward(self, input_ids):
        if input_ids.shape[1] > 8:
            raise ValueError("at most 8 tokens")
        return super().forward(input_ids)


class NotANumber(Plain):
    def forward(self, input_ids):
        return super().forward(input_ids) * float("nan")


class WantsMore(Plain):
    """Needs an argument that nobody can guess."""

    def forward(self, input_ids, pixel_values):
        return super().forward(input_ids) + pixel_values.mean()


class Remembers(MLP):
    """Adds what it saw in the last call."""

    last = None

    def forward(self, x):
        y = super().forward(x)
        before, self.last = self.last, y.detach().mean()
        return y if before is None else y + before


class Dice(MLP):
    """F.dropout without `training`: active in evaluation."""

    def forward(self, x):
        return F.dropout(super().forward(x), 0.1)


class OwnDice(MLP):
    """Noise from a generator of its own, which no seed reaches."""

    def __init__(self, config):
        super().__init__(config)
        self.dice = torch.Generator()

    def forward(self, x):
        return super().forward(x) + 0.01 * torch.randn(x.shape, generator=self.dice).to(x.dtype)


class OneRow(Plain):
    def forward(self, input_ids):
        if len(input_ids) > 1:
            raise ValueError("one row at a time")
        return super().forward(input_ids)


class NoLogits(Plain):
    """Gives hidden states of the last position only."""

    def forward(self, input_ids):
        return super().forward(input_ids)[:, -1]


class ReadsAll(Attention):
    def reach(self, i, j):
        return j < i + 10**6


class ChangesItself(Plain):
    """Leaves training mode on and draws from the global generator."""

    def forward(self, input_ids):
        torch.rand(3)
        return super().forward(input_ids)


class WritesIntoIds(Plain):
    """Maps its tokens to others where they are."""

    def forward(self, input_ids):
        input_ids.add_(1).remainder_(self.config.vocab_size)
        return super().forward(input_ids)


class OneOutput(Plain):
    """Writes the logits of every call into the same memory, as a captured CUDA graph does."""

    kept = None

    def forward(self, input_ids):
        logits = self.judged(super().forward(input_ids))
        if self.kept is None or self.kept.dtype != logits.dtype:
            self.kept = logits.new_zeros(64, 128, logits.shape[-1])
        return self.kept[: logits.shape[0], : logits.shape[1]].copy_(logits)

    def judged(self, logits):
        return logits


def _training(seed):
    return decoder()(seed).train()


def _nested(seed):
    """A decoder whose parts are in different modes: both must be as before."""
    model = decoder()(seed)
    model.blocks[0].train()
    return model


ODD = [
    Odd("crashes", decoder(model=Crashing), note="an exception in every call"),
    Odd(
        "crashes_long",
        decoder(model=CrashingLong),
        note="an exception past 8 tokens: audited up to there",
        verdict="pass",
    ),
    Odd("not_a_number", decoder(model=NotANumber), note="NaN everywhere"),
    Odd("wants_more", decoder(model=WantsMore), note="an argument nobody can guess"),
    Odd("remembers", decoder(mlp={1: Remembers}), note="state between calls"),
    Odd(
        "dice",
        decoder(mlp={1: Dice}),
        note="dropout active in evaluation: one seed, one call, and no more",
        verdict="pass",
    ),
    Odd("own_dice", decoder(mlp={1: OwnDice}), note="noise that no seed reaches"),
    Odd("one_row", decoder(model=OneRow), note="refuses a batch", verdict="pass"),
    Odd("no_logits", decoder(model=NoLogits), note="the last position only"),
    Odd(
        "encoder",
        decoder(mixer=ReadsAll, is_decoder=False),
        note="says that it is no decoder",
        verdict="not applicable",
    ),
    Odd("draws", decoder(model=ChangesItself), note="draws from the global generator", verdict="pass"),
    Odd(
        "writes_into_ids", decoder(model=WritesIntoIds), note="changes the tokens it is given", verdict="pass"
    ),
    Odd("one_output", decoder(model=OneOutput), note="every call's logits in one tensor", verdict="pass"),
    Odd("training", _training, note="handed over in training mode", verdict="pass"),
    Odd("nested_modes", _nested, note="modules in different modes", verdict="pass"),
    Odd("no_parameters", lambda seed: nn.Identity(), note="no model at all"),
]
