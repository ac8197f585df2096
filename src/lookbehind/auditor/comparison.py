"""Comparison: two ways to compute the same outputs, and what the evidence says of many of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from lookbehind.auditor.difference import Difference, distance, scale_of
from lookbehind.auditor.evidence import Decision, Pair, decide
from lookbehind.auditor.forward import Memo, Source, finite
from lookbehind.auditor.parting import parting
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.precision import wide
from lookbehind.auditor.report import Culprit, Outcome
from lookbehind.auditor.state import forgotten
from lookbehind.auditor.subject import CANNOT_RUN, Subject, UncoveredError

_LARGE = 1 << 31  # parameters times tokens of one row: above, rows are no longer than they must be
_BUDGET = 64 << 30  # parameters times tokens that one rule may send through a model
_CONSTANTS = 8 * 2.0**-24  # of the largest output: what constants in float32 may amount to
_LENGTHS = (6, 8, 12, 16)  # on which a finding is tried again, to show it on few tokens
_LEAST = 16  # a call of fewer tokens takes as long as one of so many: it reads all weights


@dataclass(frozen=True, eq=False)
class Comparison:
    """Outputs that should be equal.

    Args:
        name: the way that is tried, in words: "a prompt of 5, then one token at a time".
        expected: where the right outputs come from.
        got: the other way to them, in the same order.
        same_shape: whether both come from calls of one shape, so that they should be equal bit for bit.
        moved: whether positions are other ones in the two: sines in a table, rounded once, then differ by
            their rounding in float64 too.
    """

    name: str
    expected: Source
    got: Source
    same_shape: bool = False
    moved: bool = False

    @property
    def tokens(self) -> int:
        """How many tokens go through the model for it."""
        return sum({**self.expected.tokens(), **self.got.tokens()}.values())

    def pair(self, subject: Subject, memo: Memo) -> Pair:
        """(expected, got), [k, vocab] both."""
        expected = finite(self.expected.outputs(subject, memo), subject.name)
        return expected, self.got.outputs(subject, memo)

    def culprit(self, subject: Subject, place: int, decision: Decision) -> Culprit | None:
        """The module at which the two ways to this output part."""
        one, other = self.expected.moment(subject, place), self.got.moment(subject, place)
        return parting(subject, one, other, decision)


@dataclass(frozen=True)
class Verdict:
    """What several comparisons came to.

    Args:
        decision: the gravest one.
        failing: the comparisons that it speaks of, simplest first, and the first bad place of each.
        tried: how many could be run.
        skipped: reasons of those that could not.
    """

    decision: Decision | None
    failing: tuple[tuple[Comparison, int], ...]
    tried: int
    skipped: tuple[str, ...]
    n_bad: int = 0
    left_out: int = 0

    @property
    def word(self) -> str:
        """ "clean", "undecided", "leak", or "crash" where nothing ran."""
        return "crash" if self.decision is None else self.decision.verdict


Build = Callable[[Plan], list[Comparison]]
Group = list[tuple[Comparison, Pair]]


def short(subject: Subject, plan: Plan) -> int:
    """The length at which ways are compared: the plan's; of a large model, one that crosses every period.

    It is the pairs of LB101 that need more.
    """
    if plan.thorough or subject.size * plan.length <= _LARGE:
        return plan.length
    crossed = [period for period in plan.periods.values() if period < plan.length]
    return min(plan.length, max(24, *(2 * period + 3 for period in crossed)) if crossed else 24)


def affordable(subject: Subject, plan: Plan, comparisons: Sequence[Comparison]) -> list[Comparison]:
    """As many comparisons, of the first ones first, as a large model has time for; all of a small one."""
    if plan.thorough:
        return list(comparisons)
    kept: list[Comparison] = []
    paid: set[object] = set()
    spent = 0
    for one in comparisons:
        calls = {**one.expected.tokens(), **one.got.tokens()}
        spent += sum(max(_LEAST, count) for key, count in calls.items() if key not in paid)
        if len(kept) > 1 and spent * subject.size > _BUDGET:
            break
        paid.update(calls)
        kept.append(one)
    return kept


def weigh(subject: Subject, plan: Plan, rule: str | None, comparisons: Sequence[Comparison]) -> Verdict:
    """Decides all comparisons together: three runs of each at most.

    One that the model cannot run at all is left out, with its reason. An interrupt leaves what was found by
    then as what `rule` came to; None where a difference would be no finding.
    """
    with forgotten(subject.model):
        return _weighed(subject, plan, rule, comparisons)


def _weighed(subject: Subject, plan: Plan, rule: str | None, comparisons: Sequence[Comparison]) -> Verdict:
    given, comparisons = len(comparisons), affordable(subject, plan, comparisons)
    alive: Group = []
    skipped: dict[str, str] = {}
    memo: Memo = {}
    decided: list[tuple[Decision, Group]] = []
    try:
        for done, one in enumerate(comparisons):
            plan.tell(one.name, done, given)
            try:
                alive.append((one, one.pair(subject, memo)))
            except UncoveredError as error:
                skipped.setdefault(str(error), f"{one.name}: {error}")
        for decision, group in _decided(subject, alive):
            decided.append((decision, group))
            if rule is not None and decision.verdict == "leak":
                plan.keep(_finding(subject, rule, decision, *_bad_places(decision, group)[0]))
    except KeyboardInterrupt:
        if rule is not None:
            _keep_difference(subject, plan, rule, alive)
        raise
    left_out = given - len(comparisons)
    return _gravest(decided, alive, tuple(skipped.values()), left_out)


def _decided(subject: Subject, alive: Group) -> Iterator[tuple[Decision, Group]]:
    """Those of one kind are decided together."""
    for kind in ((True, False), (False, False), (False, True)):
        group = [(one, pair) for one, pair in alive if (one.same_shape, one.moved) == kind]
        if not group:
            continue
        decision = decide(subject, _together(subject, group), same_shape=kind[0])
        if kind[1] and decision.verdict != "clean" and _of_tables(subject, decision, group):
            decision = replace(decision, verdict="clean", reason="rounding of positions' tables", bad=None)
        if not kind[0] and decision.verdict != "clean" and _of_constants(subject, decision):
            reason = "rounding of constants that the model made in float32"
            decision = replace(decision, verdict="clean", reason=reason, bad=None)
        if not kind[0] and decision.verdict == "undecided" and decision.dtype != "float64":
            decision = _by_error(subject, decision, group)
        yield decision, group


def _gravest(
    decided: Sequence[tuple[Decision, Group]], alive: Group, skipped: tuple[str, ...], left_out: int
) -> Verdict:
    # The first of the gravest: same shapes first, whose evidence is the plainest.
    worst = max(decided, key=lambda one: _gravity(one[0]), default=None)
    if worst is None:
        return Verdict(None, (), 0, skipped)
    failing: dict[Comparison, int] = {}
    n_bad = 0
    for decision, group in decided:
        if decision.verdict == worst[0].verdict != "clean":
            failing.update(_bad_places(decision, group))
            n_bad += 0 if decision.bad is None else int(decision.bad.sum())
    gravest = [one for one, _ in worst[1] if one in failing]
    first = min(gravest, key=lambda one: one.tokens, default=None)
    ordered = [one for one, _ in alive if one in failing and one is not first]
    found = [] if first is None else [(one, failing[one]) for one in (first, *ordered)]
    return Verdict(worst[0], tuple(found), len(alive), skipped, n_bad, left_out)


def _keep_difference(subject: Subject, plan: Plan, rule: str, alive: Group) -> None:
    """The greatest difference that was seen, should there be no time to decide it."""
    found: list[tuple[float, int, int]] = []
    for index, (_, (expected, got)) in enumerate(alive):
        seen = Difference(expected, got)
        found.append((seen.size, index, int(seen.apart.argmax())))
    if found:
        size, index, place = max(found)
        one = alive[index][0]
        told = f"{one.name}: the output at {one.got.position(place)} differs"
        plan.keep_difference(rule, told, size, None, "own", subject)


def _of_tables(subject: Subject, decision: Decision, group: Group) -> bool:
    """Whether a difference is no more than the model's own rounding, which tables carry into float64."""
    found = _errors(subject, group)
    return found is not None and decision.difference <= 8 * float(found[0].max())


def _of_constants(subject: Subject, decision: Decision) -> bool:
    """Whether a difference in float64 is that of float32 buffers from the same numbers made on the way."""
    made = subject.module is not None and any(one.is_floating_point() for one in subject.module.buffers())
    return made and decision.dtype == "float64" and decision.difference <= _CONSTANTS


def _by_error(subject: Subject, decision: Decision, group: Group) -> Decision:
    """Where only the expected outputs run in float64: do both ways err alike against it?"""
    found = _errors(subject, group)
    if found is None:
        return decision
    error, other = max(float(found[0].max()), torch.finfo(subject.dtype).eps), float(found[1].max())
    if other <= 8 * error:
        reason = "rounding: both ways err alike against float64"
        return replace(decision, verdict="clean", reason=reason, difference=other, noise=error, bad=None)
    if other > 64 * error:
        reason = "it errs against float64 far more than rounding does"
        bad = found[1] > 8 * error
        return replace(decision, verdict="leak", reason=reason, difference=other, noise=error, bad=bad)
    return decision


def _errors(subject: Subject, group: Group) -> tuple[torch.Tensor, torch.Tensor] | None:
    """How far both outputs are from the expected ones in float64; None if that cannot run."""
    expected, got = (torch.cat([pair[side] for _, pair in group]).double() for side in (0, 1))
    try:
        with wide(subject):
            memo: Memo = {}
            wider = torch.cat([one.expected.outputs(subject, memo) for one, _ in group])
    except CANNOT_RUN:
        return None
    scale = scale_of(wider)
    return distance(wider, expected) / scale, distance(wider, got) / scale


def _gravity(decision: Decision) -> tuple[int, float]:
    grave = ("clean", "undecided", "leak").index(decision.verdict)
    return grave, decision.difference if grave == 0 else 0.0


def judge(subject: Subject, plan: Plan, rule: str, build: Build, what: str) -> Outcome:
    """One outcome for a rule: all its comparisons must agree."""
    try:
        verdict = weigh(subject, plan, rule, build(plan))
    except UncoveredError as error:
        return Outcome(rule, "not covered", str(error))
    return outcome(subject, plan, rule, verdict, build, what)


def outcome(subject: Subject, plan: Plan, rule: str, verdict: Verdict, build: Build, what: str) -> Outcome:
    """A verdict in words; `what` says what was tried: "decoding token by token"."""
    decision = verdict.decision
    if decision is None:
        return Outcome(
            rule, "not covered", verdict.skipped[0] if verdict.skipped else f"{what}: nothing to try"
        )
    ways = f"{verdict.tried} way{'s' * (verdict.tried != 1)} of {what}"
    detail = tuple(f"not covered: {one}" for one in verdict.skipped)
    if verdict.left_out:
        detail += (
            f"{verdict.left_out} ways were left out for the model's size; a thorough audit tries them",
        )
    if decision.verdict == "clean" and verdict.skipped:
        return Outcome(rule, "not covered", f"{verdict.skipped[0]} ({ways} agree)", detail=detail)
    if decision.verdict == "clean":
        return Outcome(
            rule,
            "pass",
            f"{ways} agree: {decision.reason}",
            difference=decision.difference,
            noise=decision.noise,
            dtype=decision.dtype,
            backend=subject.backend,
            detail=detail,
        )
    failed = decision.verdict == "leak"
    also = f" ({len(verdict.failing)} of {ways} differ)"
    detail = tuple(f"differs too: {one.name}" for one, _ in verdict.failing[1:9]) + detail
    least = smallest(subject, plan, verdict, build) if failed else verdict
    first, place = least.failing[0]
    shown = least.decision or decision
    from lookbehind.auditor.recipe import recipe

    found = _finding(subject, rule, decision, first, place)
    alone = failed and _alone(subject, first, place, shown)
    kept = ""
    if failed and not alone:
        kept = "; by itself it does not: calls before it leave something on the model"
    return replace(
        found,
        reason=f"{found.reason}{also}{kept}",
        n_bad=max(verdict.n_bad, 1),
        culprit=first.culprit(subject, place, shown) if failed else None,
        reproducer=recipe(subject, plan, first, place, shown) if alone else None,
        detail=detail,
    )


def _alone(subject: Subject, one: Comparison, place: int, decision: Decision) -> bool:
    """Whether a difference shows with no other calls before it, as in a process of its own."""
    with forgotten(subject.model), wide(subject) if decision.dtype == "float64" else nullcontext():
        seen = Difference(*one.pair(subject, {}))
    least = 0.0 if one.same_shape else decision.noise * seen.scale
    return float(seen.apart[place]) > least


def _finding(subject: Subject, rule: str, decision: Decision, first: Comparison, place: int) -> Outcome:
    position = first.got.position(place)
    return Outcome(
        rule,
        "fail" if decision.verdict == "leak" else "undecided",
        f"{first.name}: the output at {position} differs: {decision.reason}",
        difference=decision.difference,
        n_bad=1,
        noise=decision.noise,
        dtype=decision.dtype,
        backend=subject.backend,
    )


def smallest(subject: Subject, plan: Plan, verdict: Verdict, build: Build) -> Verdict:
    """The finding on the shortest sequences on which it shows."""
    for n in _LENGTHS:
        if n >= short(subject, plan):
            break
        try:
            found = weigh(subject, plan, None, build(replace(plan, length=n)))
        except (UncoveredError, ValueError, IndexError, RuntimeError):
            continue  # so short that some way has no place
        if found.word == "leak":
            return found
    return verdict


def _together(subject: Subject, group: Group):  # noqa: ANN202
    """All pairs end to end; what was computed already serves the first time."""
    ready: list[Pair] | None = [pair for _, pair in group]

    def run() -> Pair:
        nonlocal ready
        pairs, ready = ready, None
        if pairs is None:
            memo: Memo = {}
            pairs = [one.pair(subject, memo) for one, _ in group]
        return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])

    return run


def _bad_places(decision: Decision, group: Group) -> list[tuple[Comparison, int]]:
    if decision.verdict == "clean":
        return []
    sizes = [len(pair[0]) for _, pair in group]
    bad = (
        decision.bad if decision.bad is not None and bool(decision.bad.any()) else torch.ones(sum(sizes)) > 0
    )
    found: list[tuple[Comparison, int]] = []
    for (one, _), part in zip(group, bad.split(sizes), strict=True):
        if bool(part.any()):
            found.append((one, int(part.nonzero()[0])))
    return found
