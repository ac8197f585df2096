"""Decoding: a sequence fed to a model in pieces, each with the cache that the piece before it left."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lookbehind.auditor.forward import Memo, Moment
from lookbehind.auditor.subject import Subject, UncoveredError
from lookbehind.errors import brief

SPARE = 5  # slots of a static cache beyond the sequence, which stay empty
# What models call the cache that they take and return.
NAMES = ("past_key_values", "cache_params", "state")


class KeptError(UncoveredError):
    """A cache does not take tokens back."""


def cache_name(subject: Subject) -> str | None:
    """The argument under which a model takes its cache; None if it takes none."""
    return next((name for name in NAMES if subject.accepts(name)), None)


@dataclass(frozen=True, eq=False)
class Decoded:
    """The outputs of a sequence that is fed in pieces.

    Args:
        ids: the tokens [B, n].
        cuts: where pieces end, ascending; the last is where decoding stops.
        start: outputs before this position are not looked at.
        mask: which tokens are real [B, n], given up to the end of each piece; None gives no mask.
        position_ids: positions [B, n], given piece by piece; None gives none.
        row: the row whose outputs are looked at.
        make: makes the cache that the first piece is given; None: the model makes its own.
        used: tokens that were decoded with the cache before, which was then reset.
        drafts: other tokens [B, n], of which some follow each piece and are then taken back from the cache:
            what speculative decoding rejects.
        rejected: how many follow each piece.
        singly: whether they follow token by token; else they are in the call of the piece.
    """

    ids: torch.Tensor
    cuts: tuple[int, ...]
    start: int = 0
    mask: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    row: int = 0
    make: Callable[[], Any] | None = None
    used: torch.Tensor | None = None
    drafts: torch.Tensor | None = None
    rejected: tuple[int, ...] = ()
    singly: bool = False

    def outputs(self, subject: Subject, memo: Memo) -> torch.Tensor:
        """The outputs from `start` to the last cut."""
        cache, parts = self._begin(subject), list[torch.Tensor]()
        for a, b in self.pieces():
            logits, cache = self._piece(subject, cache, a, b)
            parts.append(logits[self.row, : b - a])
            cache = self._reject(subject, cache, a, b)
        return torch.cat(parts)[self.start :]

    def moment(self, subject: Subject, place: int) -> Moment:
        """The piece that the output is in; those before it run first."""
        at = self.start + place
        a, b = next((a, b) for a, b in self.pieces() if a <= at < b)

        def before() -> Any:
            cache = self._begin(subject)
            for start, stop in self.pieces():
                if stop <= a:
                    cache = self._piece(subject, cache, start, stop)[1]
                    cache = self._reject(subject, cache, start, stop)
            return cache

        def run(cache: Any) -> Any:
            return self._piece(subject, cache, a, b)

        return Moment(before, run, len(self.ids), self.read(b).shape[1] - a, self.row, (at - a,))

    def position(self, place: int) -> int:
        """Counted from the first real token."""
        padding = 0 if self.mask is None else int((self.mask[self.row] == 0).sum())
        return self.start + place - padding

    def tokens(self) -> dict[tuple[Any, ...], int]:
        """Those of each piece."""
        return {(id(self), a): len(self.ids) * (self.end(b) - a) for a, b in self.pieces()}

    def pieces(self) -> list[tuple[int, int]]:
        """(start, stop) of each piece."""
        return list(itertools.pairwise((0, *self.cuts)))

    def end(self, stop: int) -> int:
        """Where the draft ends that follows the piece up to `stop`."""
        drafted = self.rejected[self.cuts.index(stop)] if self.rejected else 0
        return min(stop + drafted, self.ids.shape[1])

    def read(self, stop: int) -> torch.Tensor:
        """All tokens that the piece up to `stop` may read: its call may hold a draft."""
        return self.ids[:, :stop] if self.singly else self._drafted(stop)

    def _begin(self, subject: Subject) -> Any:
        cache = self.make() if self.make is not None else None
        if self.used is not None and cache is not None:
            half = self.used.shape[1] // 2
            for a, b in itertools.pairwise((0, half, half + 1, half + 2)):
                cache = step(subject, self.used[:, a:b], cache, a)[1]
            cache.reset()
        return cache

    def _piece(self, subject: Subject, cache: Any, a: int, b: int) -> tuple[torch.Tensor, Any]:
        """(logits, cache) of a piece's call."""
        return self._step(subject, cache, self.read(b), a)

    def _reject(self, subject: Subject, cache: Any, a: int, b: int) -> Any:
        """The cache, without the draft that follows the piece."""
        if self.drafts is None:
            return cache
        if a == 0:
            record_past(cache)
        end = self.end(b)
        for at in range(b, end) if self.singly else ():
            cache = self._step(subject, cache, self._drafted(b)[:, : at + 1], at)[1]
        take_back(cache, end - b)
        return cache

    def _step(self, subject: Subject, cache: Any, ids: torch.Tensor, a: int) -> tuple[torch.Tensor, Any]:
        # Keys of the past are masked with the piece's own; a state holds no keys: its mask is the piece's.
        first, end = 0 if cache_name(subject) == "past_key_values" else a, ids.shape[1]
        mask = None if self.mask is None else self.mask[:, first:end]
        positions = None if self.position_ids is None else self.position_ids[:, a:end]
        return step(subject, ids[:, a:], cache, a, mask, positions)

    def _drafted(self, stop: int) -> torch.Tensor:
        """Tokens up to `stop`, and the draft that follows them."""
        if self.drafts is None:
            return self.ids[:, :stop]
        return torch.cat((self.ids[:, :stop], self.drafts[:, stop : self.end(stop)]), 1)


def step(
    subject: Subject,
    ids: torch.Tensor,
    cache: Any,
    past: int,
    mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
) -> tuple[torch.Tensor, Any]:
    """(logits, cache) of one piece.

    Raises:
        UncoveredError: the model takes no cache, returns none, or fails.
    """
    name = cache_name(subject)
    if name is None:
        raise UncoveredError(f"{subject.name}.forward takes no cache")
    given = {name: cache, "attention_mask": mask, "position_ids": position_ids}
    words: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if subject.switches("use_cache"):
        words["use_cache"] = True
    if subject.accepts("cache_position"):  # some models tell a prompt from a step by it
        words["cache_position"] = torch.arange(past, past + ids.shape[1], device=ids.device)
    with torch.no_grad():
        output = subject.call(ids, **words)
    after = getattr(output, name, None)
    if after is None and isinstance(output, (tuple, list)):
        after = next((one for one in output[1:] if one is not None), None)
    if after is None:
        raise UncoveredError(f"{subject.name} returns no cache, although one was asked for")
    return subject.read(output, ids), after


def records_past(cache: Any) -> bool:
    """Whether a cache wants to be told, before it can take tokens back that have left a window or a state."""
    return hasattr(cache, "activate_past_recording")


def record_past(cache: Any) -> None:
    """Tells it."""
    if records_past(cache):
        cache.activate_past_recording()


def take_back(cache: Any, count: int) -> None:
    """Takes the last tokens back from a cache, in place, as transformers' speculative decoding does.

    With a count of 0 a cache that records its past lets go of what it no longer needs; others are left alone.

    Raises:
        KeptError: the cache cannot do it.
    """
    crop: Any = getattr(cache, "crop", None)
    if not callable(crop):
        raise KeptError(f"its cache, a {type(cache).__name__}, has no crop that takes tokens back")
    if not count and not records_past(cache):
        return
    try:
        other = crop(-count)
    except Exception as error:  # whatever foreign code raises that cannot
        raise KeptError(f"its cache takes no tokens back: {brief(error)}") from error
    if other is not None and other is not cache:
        raise KeptError(
            "its cache's crop gives another cache back; one that changes the cache itself is tried"
        )


def static_cache(subject: Subject, slots: int) -> Callable[[], Any]:
    """A maker of transformers' static caches with this many slots, in the dtype that the model has by then.

    Raises:
        UncoveredError: this transformers has none, or none for this model.
    """
    library = sys.modules.get("transformers")
    kind: Any = getattr(library, "StaticCache", None) if subject.is_hf else None
    if kind is None:
        raise UncoveredError("static caches are those of transformers")

    def make() -> Any:
        try:
            return kind(config=subject.config, max_cache_len=slots)
        except Exception as error:  # whatever a config lacks that the cache wants
            raise UncoveredError(f"no static cache can be made for {subject.name}: {brief(error)}") from error

    return make


def prompts(n: int, periods: Sequence[int]) -> list[int]:
    """Prompt lengths 1 < p < n around every period, where a cache turns, and in between; at most eight."""
    near: list[int] = [3]
    for period in sorted(set(periods)):
        for multiple in (period, 2 * period):
            near += [multiple, multiple + 1, multiple - 1]
    near += [n // 2, n - 2]
    kept = [p for p in dict.fromkeys(near) if 1 < p < n]
    return sorted(kept[:8])


def uneven(n: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Cuts after pieces of these sizes, over and over."""
    cuts: list[int] = []
    at = 0
    for size in itertools.cycle(sizes):
        at = min(n, at + max(1, size))
        cuts.append(at)
        if at == n:
            return tuple(cuts)
    raise AssertionError("sizes are never exhausted")
