"""Predictions: what the model said would come next, as it was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Candidate:
    """A token that may come next: its text (None without a tokenizer), id and probability."""

    token: str | None
    id: int
    probability: float


@dataclass(frozen=True)
class Next:
    """The model's next-token distribution after one query, as recorded.

    Attributes:
        query: row number of the query.
        top: the likeliest tokens, descending.
        came: the token that did come, where the tape has one; its probability is that of this distribution.
    """

    query: int
    top: tuple[Candidate, ...]
    came: Candidate | None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Next-token distributions of consecutive rows, cut down to the likeliest tokens.

    Attributes:
        ids: int32 [n, k], descending by probability; -1 where there are fewer, or none is known.
        probabilities: float32 [n, k]; 0 where ids is -1.
        loss: float32 [n], -log p of the token that came, in nats; NaN where it is not known.
        before: float32 [], the loss of the row before the first, for `joined`; NaN if unknown.
    """

    ids: torch.Tensor
    probabilities: torch.Tensor
    loss: torch.Tensor
    before: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known(self) -> torch.Tensor:
        """Rows whose distribution is known: bool [n]."""
        return self.ids[:, 0] >= 0

    def tensors(self) -> dict[str, torch.Tensor]:
        """By the names they have in a file."""
        return {name: getattr(self, name) for name in ("ids", "probabilities", "loss", "before")}


def joined(pieces: Sequence[tuple[int, Predictions | None]]) -> Predictions | None:
    """Predictions of consecutive stretches, given as (rows, predictions or None where unknown), as one.

    None if nothing is known of any of them.
    """
    known = [one for _, one in pieces if one is not None]
    if not known:
        return None
    width = max(one.ids.shape[1] for one in known)
    n = sum(rows for rows, _ in pieces)
    whole = Predictions(
        torch.full((n, width), -1, dtype=torch.int32),
        torch.zeros(n, width),
        torch.full((n,), torch.nan),
        torch.tensor(torch.nan) if pieces[0][1] is None else pieces[0][1].before,
    )
    row = 0
    for rows, one in pieces:
        if one is not None:
            part = slice(row, row + rows)
            whole.ids[part, : one.ids.shape[1]] = one.ids
            whole.probabilities[part, : one.ids.shape[1]] = one.probabilities
            whole.loss[part] = one.loss
            if row:
                whole.loss[row - 1] = one.before
        row += rows
    return whole if bool(whole.known.any()) or not bool(whole.before.isnan()) else None
