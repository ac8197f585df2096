"""Documents packed into one row with restarting position_ids, that see one another."""

import torch
from torch.nn import functional as F

from tests.leaks.case import Case
from tests.leaks.decoder import Attention, Masked, decoder
from tests.leaks.mixers import Conv, Scan


class Together(Masked):
    """position_ids only move the positions."""

    def documents(self, positions, mask):
        return torch.zeros_like(positions)


class TogetherWithMask(Masked):
    """A mask, even one of ones, switches the detection off (transformers)."""

    def documents(self, positions, mask):
        return super().documents(positions, None) if mask is None else torch.zeros_like(positions)


class TogetherWithoutMask(Masked):
    """Documents are only looked for where there is a mask."""

    def documents(self, positions, mask):
        return super().documents(positions, None) if mask is not None else torch.zeros_like(positions)


class RowZeroOnly(Masked):
    """The documents of row 0 are used for all rows."""

    def documents(self, positions, mask):
        return super().documents(positions[:1], mask)


class LateBorder(Masked):
    """A document's first token is counted to the one before."""

    def documents(self, positions, mask):
        return F.pad(super().documents(positions, mask), (1, 0))[:, :-1]


class FirstBorderOnly(Masked):
    """Only the first restart is seen: the third document reads the second."""

    def documents(self, positions, mask):
        return super().documents(positions, mask).clamp(max=1)


class OpenLayer(Attention):
    def together(self, documents):
        return documents[:, :, None] >= 0


class Running(Scan):
    """State runs on over borders."""


class ResetScan(Scan):
    """Its state starts afresh with each document. Padding is not its business: see `Masked` elsewhere."""

    def forward(self, x, view):
        self.starts = None
        if view.documents is not None:
            self.starts = F.pad(view.documents.diff(dim=1) != 0, (1, 0))
        return super().forward(x, view)

    def scan(self, a, u, view):
        return super().scan(a if self.starts is None else a * ~self.starts[..., None], u, view)


class RunningConv(Conv):
    """A convolution reads over borders."""


class PackedOnly(Masked):
    """input_ids and position_ids only."""

    def forward(self, input_ids, position_ids=None):
        return self.run(input_ids, None, position_ids)


def _pack(name, note, **given):
    given.setdefault("model", Masked)
    return Case(name, decoder(**given), "LB401", None, {}, note)


CASES = [
    _pack("packed_together", "position_ids accepted, borders not seen", model=Together),
    _pack("packed_together_with_mask", "an all-ones mask switches the detection off", model=TogetherWithMask),
    _pack(
        "packed_together_without_mask", "borders are looked for only beside a mask", model=TogetherWithoutMask
    ),
    _pack("packed_row_zero", "borders of row 0 used for all rows", model=RowZeroOnly),
    _pack("packed_late_border", "cumulative lengths off by one", model=LateBorder),
    _pack("packed_first_border", "only two documents are told apart", model=FirstBorderOnly),
    _pack("packed_open_layer", "one layer kind does not get the document mask", mixer={1: OpenLayer}),
    _pack(
        "packed_running_state",
        "a scan's state runs on (Mamba without seq_idx)",
        mixer={0: Running},
        model=PackedOnly,
    ),
    _pack(
        "packed_running_conv", "a convolution reads over borders", mixer={0: RunningConv}, model=PackedOnly
    ),
]
