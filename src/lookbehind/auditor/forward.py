"""Forward: one call of the model written down, and the places among its outputs that are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch

from lookbehind.auditor.state import attention
from lookbehind.auditor.subject import Subject, UncoveredError

Memo = dict[tuple[Any, ...], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Moment:
    """The one call in which outputs are computed: for finding the module that does it.

    Args:
        before: what has to run first; what it returns is handed to `run`.
        run: the call itself.
        rows: how many rows it has.
        n: how many tokens a row has.
        row: where the output is.
        positions: where the output is within this call, and any others that are compared.
    """

    before: Callable[[], Any]
    run: Callable[[Any], Any]
    rows: int
    n: int
    row: int
    positions: tuple[int, ...]


class Source(Protocol):
    """A way to compute outputs [k, vocab]."""

    def outputs(self, subject: Subject, memo: Memo) -> torch.Tensor:
        """The outputs, from the model as it is now; `memo` keeps calls that are shared."""
        ...

    def moment(self, subject: Subject, place: int) -> Moment:
        """The call in which the output `place` is computed."""
        ...

    def position(self, place: int) -> int:
        """Which position of its sequence the output `place` is of."""
        ...

    def tokens(self) -> dict[tuple[Any, ...], int]:
        """Tokens that go through the model, by call: what it costs."""
        ...


@dataclass(frozen=True, eq=False)
class Forward:
    """One call: token ids [B, n] with what goes along."""

    ids: torch.Tensor
    mask: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    backend: str | None = None
    use_cache: bool | None = False

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What makes two calls the same call."""
        given = (self.ids, self.mask, self.position_ids)
        kept = (None if one is None else (tuple(one.shape), one.cpu().numpy().tobytes()) for one in given)
        return (*kept, self.backend, self.use_cache)

    def logits(self, subject: Subject) -> torch.Tensor:
        """Logits [B, n, vocab]; NaN in them is looked at where they are used: padding may well give NaN."""
        given = {"attention_mask": self.mask, "position_ids": self.position_ids}
        words: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.use_cache is not None and subject.switches("use_cache"):
            words["use_cache"] = self.use_cache
        around = nullcontext() if self.backend is None else attention(subject, self.backend)
        with torch.no_grad(), around:
            return subject.read(subject.call(self.ids, **words), self.ids)

    def at(self, rows: Sequence[int], positions: Sequence[int], start: int = 0) -> At:
        """The outputs of these positions of these rows, row by row; `start` is where its sequence begins."""
        pairs = [(row, position) for row in rows for position in positions]
        return At(self, tuple(pairs), start)


@dataclass(frozen=True, eq=False)
class At:
    """Some outputs of one call."""

    call: Forward
    places: tuple[tuple[int, int], ...]
    start: int = 0

    def outputs(self, subject: Subject, memo: Memo) -> torch.Tensor:
        """The outputs [k, vocab]."""
        found = memo.get(self.call.key)
        if found is None:
            found = memo[self.call.key] = self.call.logits(subject)
        rows, positions = zip(*self.places, strict=True)
        return found[list(rows), list(positions)]

    def moment(self, subject: Subject, place: int) -> Moment:
        """The call itself."""
        row, position = self.places[place]
        rows, n = self.call.ids.shape
        return Moment(lambda: None, lambda _: self.call.logits(subject), rows, n, row, (position,))

    def position(self, place: int) -> int:
        """Where the output is, counted from the sequence's first token."""
        return self.places[place][1] - self.start

    def tokens(self) -> dict[tuple[Any, ...], int]:
        """Those of its call."""
        return {self.call.key: self.call.ids.numel()}


@dataclass(frozen=True, eq=False)
class Joined:
    """Outputs of several calls, end to end."""

    parts: tuple[At, ...]

    def outputs(self, subject: Subject, memo: Memo) -> torch.Tensor:
        """The outputs [k, vocab]."""
        return torch.cat([part.outputs(subject, memo) for part in self.parts])

    def moment(self, subject: Subject, place: int) -> Moment:
        """The call that the output is of."""
        part, place = self.find(place)
        return part.moment(subject, place)

    def position(self, place: int) -> int:
        """Where the output is in its sequence."""
        part, place = self.find(place)
        return part.position(place)

    def tokens(self) -> dict[tuple[Any, ...], int]:
        """Those of all its calls."""
        return {key: count for part in self.parts for key, count in part.tokens().items()}

    def find(self, place: int) -> tuple[At, int]:
        """The part that an output is of, and its place there."""
        for part in self.parts:
            if place < len(part.places):
                return part, place
            place -= len(part.places)
        raise IndexError(place)


def finite(outputs: torch.Tensor, name: str) -> torch.Tensor:
    """Outputs that others are held against: NaN there leaves nothing to compare with."""
    if bool(torch.isnan(outputs).any()):
        raise UncoveredError(f"{name} returned NaN for ordinary tokens; nothing can be compared")
    return outputs
