"""Caching: decoding with a cache, token by token (LB201), in chunks (LB202), in static caches (LB203), and
with tokens that are taken back (LB204).

A prompt is a first chunk: LB201 is of single tokens from the first one on, LB202 of pieces that hold more,
and of the whole in one call that makes a cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from lookbehind.auditor.comparison import Comparison, judge, short
from lookbehind.auditor.decoding import (
    NAMES,
    SPARE,
    Decoded,
    KeptError,
    cache_name,
    prompts,
    record_past,
    records_past,
    static_cache,
    step,
    take_back,
    uneven,
)
from lookbehind.auditor.forward import Forward, Joined, Source
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.report import Outcome, Verdict
from lookbehind.auditor.subject import Subject, UncoveredError

RULES = ("LB201", "LB202", "LB203", "LB204")

_NO_CACHES = ("use_cache", "cache_position", "return_cache")
_WORDS = ", with mask and position_ids"
_STEPS = 64  # single tokens in one run, where the sequence is longer
_AFTER = 2  # tokens decoded after a prompt
_DRAFT = 3  # tokens rejected after a prompt
_REJECTED = (_DRAFT, 0, 5, 1, 0, 2, 12, 0)  # after the pieces behind it, over and over; 0: all are accepted


def check(subject: Subject, plan: Plan) -> Iterator[Outcome]:
    """One outcome for each rule."""
    blocked = plan.failed("LB101") is not None
    if cache_name(subject) is None:
        lacking = [Outcome(rule, *_lacking(subject)) for rule in RULES]
        if blocked or not subject.accepts("use_cache"):
            yield from lacking
            return
        what = "making a cache that cannot be given back"
        made = judge(subject, plan, "LB202", lambda plan: Ways(subject, plan).at_once(), what)
        yield from (made if one.rule == "LB202" else one for one in lacking)
        return
    if blocked:
        reason = "outputs depend on later tokens (LB101): a cache, which does not know them, must differ"
        yield from (Outcome(rule, "not covered", reason) for rule in RULES)
        return
    plan.tell("decoding token by token", 0, 4)
    yield _stepped(subject, plan)
    plan.tell("decoding in chunks", 1, 4)
    yield (
        chunked := judge(subject, plan, "LB202", lambda plan: _chunked(subject, plan), "decoding in chunks")
    )
    plan.tell("decoding with a static cache", 2, 4)
    yield _static(subject, plan, chunked)
    plan.tell("decoding with drafts rejected", 3, 4)
    yield _rejecting(subject, plan, chunked)


class Ways:
    """Decoding one sequence in many ways, each held against the one forward of the whole."""

    def __init__(self, subject: Subject, plan: Plan) -> None:
        self.subject, self.n = subject, short(subject, plan)
        self.stop = self.n if self.n <= _STEPS else _STEPS // 2  # of single tokens
        self.periods = tuple(plan.periods.values())
        rows = 2 if plan.rows_independent else 1
        self.ids = torch.cat([subject.ids(seed, self.n) for seed in (*plan.seeds, plan.seeds[0] + 1)[:rows]])
        self.whole, self.first = Forward(self.ids), Forward(self.ids[:1])
        # Where outputs depend on the length, each piece is held against the forward up to its end.
        self.by_prefix = plan.failed("LB102") is not None
        # Outputs before a cut must not read what comes after it: no cut lies in the prefix of a prefix LM.
        reads = plan.expect.spans(self.n).mask()
        self.clean = [cut for cut in range(1, self.n) if not reads[:cut, cut:].any()]
        if not self.clean:
            raise UncoveredError(f"under {plan.expect} no part of a sequence stands alone")

    def way(
        self,
        name: str,
        cuts: Iterable[int],
        alone: bool = False,
        words: bool = False,
        first: int | None = None,
        **more: Any,
    ) -> list[Comparison]:
        """One way: cuts that the pattern allows.

        Args:
            name: in words.
            cuts: where pieces end.
            alone: at batch 1.
            words: with mask and position_ids.
            first: how many tokens are rejected after the first piece, where some are rejected after each.
            more: for `Decoded`.
        """
        cuts = tuple(cuts)
        kept = tuple(cut for cut in cuts if cut in self.clean or cut == self.n)
        if len(kept) < min(2, len(cuts)):
            return []
        stop = kept[-1]
        ids = self.ids[:1] if alone else self.ids
        row = len(ids) - 1
        if words:
            more["mask"] = torch.ones_like(ids) if self.subject.accepts("attention_mask") else None
            positions = torch.arange(self.n, device=ids.device).expand(ids.shape)
            more["position_ids"] = positions if self.subject.accepts("position_ids") else None
            if more["mask"] is None and more["position_ids"] is None:
                return []
            name += _WORDS
        if first is not None:
            more["drafts"] = self.subject.others(self.ids, 0)[: len(ids)]
            more["rejected"] = (first, *itertools.islice(itertools.cycle(_REJECTED), len(kept) - 1))
        source = Decoded(ids, kept, row=row, **more)
        whole = self.first if alone else self.whole
        expected: Source = whole.at([row], range(stop))
        if self.by_prefix:
            expected = Joined(
                tuple(Forward(source.read(b)).at([row], range(a, b)) for a, b in source.pieces())
            )
        return [Comparison(name + (" at batch 1" if alone else ""), expected, source)]

    def steps(self) -> list[Comparison]:
        """Token by token from the first."""
        return [
            *self.way("token by token", range(1, self.stop + 1)),
            *self.way("token by token", range(1, min(self.stop, 4) + 1), alone=True),
            *self.way("token by token", range(1, min(self.stop, 6) + 1), words=True),
        ]

    def at_once(self) -> list[Comparison]:
        """The whole in one call that makes a cache, as generation begins with a prompt."""
        name = "the whole at once with a cache"
        if cache_name(self.subject) is not None:
            return self.way(name, (self.n,), alone=True)
        span = range(self.n)
        making = Forward(self.ids[:1], use_cache=True).at([0], span)
        return [Comparison(name, self.first.at([0], span), making)]

    def prompted(self, **more: Any) -> list[Comparison]:
        """A prompt, then token by token."""
        made: list[Comparison] = []
        for index, prompt in enumerate(prompts(self.n, self.periods)):
            name = f"a prompt of {prompt}, then token by token"
            cuts = range(prompt, min(self.n, prompt + _AFTER) + 1)
            made += self.way(name, cuts, alone=index == 0, words=index % 3 == 2, **more)
        return made

    def chunks(self, **more: Any) -> list[Comparison]:
        """Uneven chunks, and chunks that just miss, meet and pass every period."""
        n = self.n
        shapes: list[Sequence[int]] = [(5, 1, 7, 2), (n // 2, n), (1, n)]
        if n > 4 * _STEPS:
            shapes = [(5, 1, 7, 2, n // 4, 1, n // 3), (n // 2, n), (1, n)]
        for period in sorted(set(self.periods))[:3]:
            if period < n:
                shapes += [(period + 1, 2, period - 1), (period - 1, period + 2, 1), (period, period)]
        made = self.at_once() if not more else []
        for index, sizes in enumerate(shapes):
            cuts = uneven(n, sizes)
            pieces = [b - a for a, b in zip((0, *cuts), cuts, strict=False)]
            shown = ", ".join(str(size) for size in pieces[:6]) + (", …" if len(pieces) > 6 else "")
            made += self.way(f"chunks of {shown}", cuts, alone=index == 1, words=index % 3 == 2, **more)
        return made

    def rejecting(self, first: int) -> list[Comparison]:
        """Drafts are rejected: fed behind a piece, and then taken back from the cache."""
        if self.n < 3:
            return []  # no call is left after the first draft
        what = "token by token, drafts rejected"
        chunks = [cut for cut in uneven(self.n, (4, 2, 1, 3, 1, 1, 2)) if cut <= self.stop]
        made = [
            *self.way(what, range(1, self.stop + 1), first=first),
            *self.way(what, range(1, self.stop + 1), first=first, words=True),
            *self.way("chunks, drafts rejected", chunks, first=first),
            *self.way(
                "chunks, drafts rejected that are fed token by token", chunks, first=first, singly=True
            ),
        ]
        for index, prompt in enumerate(prompts(self.n, self.periods)):
            cuts = range(prompt, min(self.n, prompt + _AFTER) + 1)
            name = f"a prompt of {prompt}, then {what}"
            made += self.way(name, cuts, alone=index == 0, words=index % 3 == 2, first=first)
        return made

    def padded(self, make: Callable[[], Any] | None = None) -> list[Comparison]:
        """A row padded on the left beside one that is not, held against the same without a cache."""
        subject, n = self.subject, self.n
        if len(self.ids) < 2 or not (subject.accepts("attention_mask") and subject.accepts("position_ids")):
            return []
        pad = min(3, n // 3)
        mask = torch.ones_like(self.ids)
        mask[1, :pad] = 0
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        whole = Forward(self.ids, mask, positions)
        made: list[Comparison] = []
        for prompt in sorted({min(n - 3, pad + 2), min(n - 3, max((*self.periods, n // 2)) + 1)}):
            stop = min(n, prompt + _AFTER)
            source = Decoded(self.ids, tuple(range(prompt, stop + 1)), pad, mask, positions, 1, make)
            expected: Source = whole.at([1], range(pad, stop), pad)
            if self.by_prefix:
                calls = [
                    (a, b, Forward(self.ids[:, :b], mask[:, :b], positions[:, :b]))
                    for a, b in source.pieces()
                ]
                expected = Joined(tuple(call.at([1], range(max(a, pad), b), pad) for a, b, call in calls))
            name = f"a prompt of {prompt - pad} padded on the left by {pad}, then token by token"
            made.append(Comparison(name, expected, source))
        return made


def _lacking(subject: Subject) -> tuple[Verdict, str]:
    """Why nothing can be decoded: its forward takes no cache, or calls it something else."""
    other = [name for name in subject.named("cache", "past") if name not in _NO_CACHES]
    if not other:
        return subject.lacks("cache")
    told = f"{subject.name}.forward takes {' and '.join(other)}; a cache is known as {', '.join(NAMES)}"
    return "not covered", told


def _stepped(subject: Subject, plan: Plan) -> Outcome:
    what = "decoding token by token"
    told = judge(subject, plan, "LB201", lambda plan: Ways(subject, plan).steps(), what)
    tried = subject.accepts("position_ids") or subject.accepts("attention_mask")
    if told.failed and tried and not any(_WORDS in text for text in (told.reason, *told.detail)):
        # Positions that start over in each call, unless they are given: what generate does hides it.
        return replace(told, reason=f"{told.reason}; given mask and position_ids, nothing differs")
    return told


def _chunked(subject: Subject, plan: Plan) -> list[Comparison]:
    ways = Ways(subject, plan)
    return [*ways.chunks(), *ways.prompted(), *ways.padded()]


def _static(subject: Subject, plan: Plan, chunked: Outcome) -> Outcome:
    try:
        static_cache(subject, 1)()
    except UncoveredError as error:
        return Outcome("LB203", "not applicable", str(error))

    def build(plan: Plan) -> list[Comparison]:
        ways = Ways(subject, plan)
        n = ways.n
        make = static_cache(subject, n + SPARE)
        used = subject.ids(7, n).expand(len(ways.ids), n)
        name = "a cache used before and reset, a prompt of 2, then token by token"
        return [
            *ways.prompted(make=make),
            *ways.way("token by token", range(1, min(n, 12) + 1), make=static_cache(subject, n)),
            # What differs in any cache is LB202's.
            *([] if chunked.failed else ways.chunks(make=make)[: 1 + len(ways.periods)]),
            *ways.way(name, range(2, min(n, 7) + 1), make=make, used=used),
            *ways.padded(make),
        ]

    return judge(subject, plan, "LB203", build, "decoding with a static cache")


def _rejecting(subject: Subject, plan: Plan, chunked: Outcome) -> Outcome:
    rule = "LB204"
    if getattr(subject.model, "_is_stateful", False):
        reason = f"{subject.name} is stateful: transformers takes nothing back from it"
        return Outcome(rule, "not applicable", reason)
    try:
        cache = step(subject, subject.ids(0, 1), None, 0)[1]
        first = 0 if records_past(cache) else _DRAFT
        record_past(cache)
        cache = step(subject, subject.ids(1, 2), cache, 1)[1]
        before = _length(cache)
        take_back(cache, 1)
        taken = before - _length(cache)
    except KeptError as error:
        return Outcome(rule, "not applicable", str(error))
    except UncoveredError as error:
        return Outcome(rule, "not covered", str(error))
    told = judge(subject, plan, rule, lambda plan: Ways(subject, plan).rejecting(first), "rejecting drafts")
    if told.failed and chunked.failed:
        return Outcome(rule, "not covered", "decoding in chunks differs (LB202), and a draft is a chunk")
    if told.failed and before and taken != 1:
        return replace(told, reason=f"{told.reason}; of 3 positions its cache's crop(-1) took {taken} back")
    return told


def _length(cache: Any) -> int:
    """How many positions a cache says it holds; 0 where it does not say."""
    try:
        return cache.get_seq_length()
    except Exception:  # it has no such method, or one that wants to know of which layer
        return 0
