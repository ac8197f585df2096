"""Audit: prove that a decoder never looks ahead, or name the module and the pair (i, j) that does.

>>> import torch, lookbehind as lb
>>> class Bigram(torch.nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.table = torch.nn.Embedding(11, 11)
...     def forward(self, ids):
...         return self.table(ids) + self.table(ids.roll(-1, dims=1))   # the next token: a leak
>>> report = lb.audit(Bigram())
>>> report.verdict, report["LB101"].n_bad > 0
('fail', True)
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from lookbehind import checks
from lookbehind.auditor import rules
from lookbehind.auditor.declared import no_decoder
from lookbehind.auditor.evidence import decide
from lookbehind.auditor.plan import RANDOM, Plan, Progress, longest, make_plan
from lookbehind.auditor.report import Culprit, Outcome, Report, Verdict
from lookbehind.auditor.state import few_threads, preserved
from lookbehind.auditor.subject import Subject, UncoveredError, name_of
from lookbehind.auditor.sweep import influence_map
from lookbehind.errors import InputError, brief
from lookbehind.grammar import parse
from lookbehind.pattern import Pattern

_LONGEST = 2**31 - 1  # tokens; memory ends long before
_SHORTER = (16, 8, 4)  # lengths that are tried where the planned one fails

_OUT_OF_MEMORY = (MemoryError, torch.cuda.OutOfMemoryError)
_STOPPED = "interrupted before it was decided"

__all__ = ["Culprit", "Interrupted", "Outcome", "Report", "Verdict", "audit"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during an audit; `report` holds what was found before, and never passes."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"the audit of {report.model} was interrupted; .report holds what was found")
        self.report = report


def audit(
    model: Any,
    *,
    expect: Pattern | str | None = None,
    length: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    batch: int = 64,
    sample: int | None = None,
    vocab: int | None = None,
    progress: Progress | None = None,
    thorough: bool = False,
    redraw: bool = False,
    origin: str | None = None,
) -> Report:
    """Audit a decoder: does any output depend on a token after it, on its length, cache, padding or
    neighbours?

    Args:
        model: an nn.Module or any callable from token ids [B, n] to logits [B, n, vocab]. It is audited in
            eval mode, in the dtype and on the device it has, and left as it was.
        expect: who may influence whom, a pattern or its text; `Causal()` unless given, `Causal() | First(p)`
            for a prefix LM.
        length: n, the length of the test sequences; chosen beyond every internal period unless given.
        seeds: a test sequence, and a change to it, each.
        select: rule codes to run; all unless given. A prefix ("LB2") selects what begins with it.
        ignore: rule codes to leave out.
        batch: most rows in one call: bounds the memory.
        sample: up to this length every pair is tried, beyond it cuts are sampled; 64 unless given, 128 for
            models below 10M parameters.
        vocab: number of token ids, where the model does not tell.
        progress: called with (what, done, total).
        thorough: leave nothing out for time.
        redraw: draw the weights again for the audit, so that every path carries signal: for
            random-initialised models, whose small weights hide leaks.
        origin: a line of Python that makes `model`, for the reproducers.

    Raises:
        InputError: an argument is wrong.
        Interrupted: a KeyboardInterrupt, with a report of what was found before it.
    """
    began = time.perf_counter()
    codes = rules.chosen(select, ignore)
    expect = parse(expect) if isinstance(expect, str) else expect
    _check(expect, seeds, length=length, batch=batch, sample=sample, vocab=vocab)
    planned = partial(
        make_plan,
        expect=expect,
        length=length,
        seeds=tuple(seeds),
        batch=batch,
        sample=sample,
        progress=progress,
        thorough=thorough,
        origin=origin,
    )
    reason = no_decoder(model) if expect is None else None
    if reason is not None:
        return _report(model, [Outcome(code, "not applicable", reason) for code in codes], None, None, began)
    with preserved(model, values=redraw), few_threads(model):
        if redraw and isinstance(model, torch.nn.Module):
            from lookbehind.auditor.architectures.weights import redraw as draw

            draw(model, 0)
        outcomes, plan, subject = _run(model, codes, vocab, planned)
    report = _report(model, [outcomes[code] for code in codes], plan, subject, began)
    if report.interrupted:
        raise Interrupted(report)
    return report


def _report(
    model: Any, outcomes: list[Outcome], plan: Plan | None, subject: Subject | None, began: float
) -> Report:
    return Report(
        name_of(model),
        tuple(outcomes),
        str(subject.dtype).removeprefix("torch.") if subject else None,
        subject.backend if subject else None,
        plan.length if plan else None,
        plan.complete if plan else False,
        tuple(plan.notes) if plan else (),
        time.perf_counter() - began,
        _versions(),
        _influence(plan),
        plan.interrupted if plan else False,
    )


def _influence(plan: Plan | None) -> tuple[tuple[float, ...], ...] | None:
    """The influence map, to four digits, which is more than a picture shows."""
    found = None if plan is None else influence_map(plan)
    if found is None:
        return None
    return tuple(tuple(float(f"{value:.4g}") for value in row) for row in found.tolist())


def _run(
    model: Any, codes: Sequence[str], vocab: int | None, planned: partial[Plan]
) -> tuple[dict[str, Outcome], Plan | None, Subject | None]:
    plan, subject = None, None
    try:
        subject = Subject(model, vocab)
        with preserved(model):
            plan = _ready(subject, planned)
    except UncoveredError as error:
        return {code: Outcome(code, "not covered", str(error)) for code in codes}, plan, subject
    except _OUT_OF_MEMORY as error:
        reason = f"{_memory(error, planned.keywords['batch'])}, or give a shorter length"
        return {code: Outcome(code, "not covered", reason) for code in codes}, plan, subject
    try:
        for name, own in rules.MODULES:
            if not any(code in codes for code in own):
                continue
            _check_by(name, own, subject, plan)
    except KeyboardInterrupt:
        plan.interrupted = True
    return {code: plan.found.get(code) or _stopped(plan, code) for code in codes}, plan, subject


def _stopped(plan: Plan, code: str) -> Outcome:
    """What an interrupted rule had found by then."""
    kept = plan.kept.get(code)
    if kept is None or kept.verdict not in ("fail", "undecided"):
        return Outcome(code, "not covered", _STOPPED)
    return replace(kept, reason=f"interrupted; by then: {kept.reason}")


def _ready(subject: Subject, planned: partial[Plan]) -> Plan:
    """The plan, at a length at which the model runs: some refuse long sequences without saying so before.

    Raises:
        InputError: the length was asked for, and the model runs only on fewer tokens.
    """
    plan = planned(subject)
    asked = planned.keywords["length"]
    try:
        prepare(subject, plan)
        return plan
    except UncoveredError as error:
        for length in (one for one in _SHORTER if one < plan.length):
            shorter = planned(subject, length=length)
            try:
                prepare(subject, shorter)
            except UncoveredError:
                continue
            if asked is not None:
                raise _too_long(subject, asked, length, error) from error
            shorter.notes.append(f"more than {length} tokens: {error}")
            return shorter
        raise


def _too_long(subject: Subject, asked: int, runs: int, error: UncoveredError) -> InputError:
    name, most = longest(subject)
    if most is not None and most < asked:
        why = f"is beyond {name}={most} in the config of {subject.name}, which fails there"
        return InputError(f"length: {asked} {why}; give {most} or less")
    return InputError(f"length: {error}; it runs on {runs}, give a length nearer to that")


def _check_by(name: str, own: Sequence[str], subject: Subject, plan: Plan) -> None:
    """One rule module, on a model that it leaves as it found it; its outcomes go to the plan as they come."""
    reason = "the check gave no answer"
    try:
        if plan.random and name != "influence":
            raise UncoveredError(RANDOM)
        module = importlib.import_module(f"lookbehind.auditor.{name}")
        with preserved(subject.model):
            outcomes: Iterable[Outcome] = module.check(subject, plan)
            for outcome in outcomes:
                plan.keep(outcome)
                plan.found[outcome.rule] = _explained(subject, plan, outcome)
    except UncoveredError as error:
        reason = str(error)
    except _OUT_OF_MEMORY as error:
        reason = _memory(error, plan.batch)
    except Exception as error:  # other people's code: its failure is this rule's gap, not the audit's end
        reason = f"the check could not run: {brief(error)}"
    for code in own:
        plan.found.setdefault(code, Outcome(code, "not covered", reason))


def _memory(error: BaseException, batch: int) -> str:
    return f"memory ran out ({brief(error)}); lower batch={batch}"


def _explained(subject: Subject, plan: Plan, outcome: Outcome) -> Outcome:
    """A finding with its culprit and its reproducer."""
    if not outcome.failed:
        return outcome
    from lookbehind.auditor.shrink import explained

    try:
        return explained(subject, plan, outcome)
    except Exception as error:  # foreign code again; what was found stands, whoever can be named for it
        return replace(outcome, reason=f"{outcome.reason} (no culprit is named: {brief(error)})")


def prepare(subject: Subject, plan: Plan) -> None:
    """The noise floor, and whether rows of a batch are independent: before any rule runs.

    Raises:
        UncoveredError: the model does not run, or answers the same call differently.
    """
    n, seed = plan.length, plan.seeds[0]
    ids = subject.ids(seed, n)
    first, again = subject.logits(ids), subject.logits(ids)
    if not torch.equal(first, again):
        same = decide(subject, lambda: (subject.logits(ids)[0], subject.logits(ids)[0]), same_shape=True)
        if same.verdict != "clean":
            raise UncoveredError(
                f"two identical calls differ by {same.difference:.1e} of the largest output: {subject.name} "
                "keeps state between calls, or draws random numbers of its own"
            )
        plan.shared["noise"] = same.difference
    plan.random = not torch.equal(*_reseeded(subject, ids))
    if plan.random:
        verdict = decide(subject, lambda: _reseeded(subject, ids), same_shape=True).verdict
        plan.random = verdict != "clean"
    if plan.batch < 2 or plan.random:
        plan.rows_independent = False
        return
    # Neighbours as unlike as can be: random ones, and ones of a single token each, which move loads the
    # furthest.
    one = subject.ids(seed + 101, n, min(plan.batch, 8 if plan.light else 3) - 1)
    other = subject.ids(seed + 102, 1, len(one)).expand(len(one), n)

    def beside() -> tuple[torch.Tensor, torch.Tensor]:
        return subject.logits(torch.cat([ids, one]))[0], subject.logits(torch.cat([ids, other]))[0]

    def below() -> tuple[torch.Tensor, torch.Tensor]:
        return subject.logits(torch.cat([ids, one]))[0], subject.logits(torch.cat([one, ids]))[-1]

    try:
        plan.rows_independent = (
            decide(subject, beside, same_shape=True, thorough=plan.light).verdict == "clean"
            and decide(subject, below, same_shape=True, thorough=plan.light).verdict == "clean"
        )
        twins = subject.logits(ids.expand(len(one) + 1, n))
        plan.rows_equal = bool((twins == twins[:1]).all())
    except UncoveredError as error:
        plan.rows_independent = False
        plan.notes.append(f"one sequence at a time: a batch fails ({error})")
        return
    if not plan.rows_independent:
        plan.notes.append("one sequence at a time: rows of a batch influence one another (LB303)")


def _reseeded(subject: Subject, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    first = subject.logits(ids)[0]
    subject.seed = 1
    try:
        return first, subject.logits(ids)[0]
    finally:
        subject.seed = 0


def _check(expect: Any, seeds: Any, **numbers: Any) -> None:
    if expect is not None and not isinstance(expect, Pattern):
        raise InputError(
            "expect: a pattern is needed, as lb.Causal() | lb.First(4) or 'causal | first(4)'; "
            f"got {type(expect).__name__}"
        )
    for name, number in numbers.items():
        if number is not None:
            checks.whole(name, number)
    length = numbers["length"]
    if length is not None and length < 2:
        raise InputError(f"length: at least 2 tokens are needed for one to be ahead of another; got {length}")
    checks.whole("length", length or 2, most=_LONGEST)
    checks.whole("batch", numbers["batch"], 1)
    if not isinstance(seeds, Sequence) or any(checks.integer(seed) is None for seed in seeds):
        raise InputError(f"seeds: whole numbers are needed, as (0, 1, 2); got {checks.shown(seeds)}")
    if not seeds:
        raise InputError("seeds: at least one is needed")


def _versions() -> dict[str, str]:
    found = {"torch": str(torch.__version__)}
    library = sys.modules.get("transformers")
    if library is not None:
        found["transformers"] = str(library.__version__)
    return found
