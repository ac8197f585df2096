"""Influence: which outputs change when which inputs do (LB101), or with the length alone (LB102)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from lookbehind.auditor.difference import distance, scale_of
from lookbehind.auditor.evidence import Decision, Pair, decide
from lookbehind.auditor.gradient import future_gradient
from lookbehind.auditor.plan import RANDOM, Plan
from lookbehind.auditor.precision import wide
from lookbehind.auditor.report import Outcome, Verdict
from lookbehind.auditor.subject import CANNOT_RUN, Subject
from lookbehind.auditor.sweep import Change, Sweep, closure, forbidden_pairs, protected, signal, sweeps

Bools = NDArray[np.bool_]

_VERDICTS: dict[str, Verdict] = {"clean": "pass", "leak": "fail", "undecided": "undecided"}
_PATIENCE = 15.0  # seconds of prefixes in both precisions, unless the audit is to be thorough
_TRIED = 3  # how many of the worst places are decided each by itself


def check(subject: Subject, plan: Plan) -> Iterator[Outcome]:
    """LB101 and LB102."""
    yield _future(subject, plan)
    yield _length(subject, plan)


def _future(subject: Subject, plan: Plan) -> Outcome:
    n = plan.length
    forbidden = forbidden_pairs(plan.expect, n)
    if not forbidden.any():
        return Outcome("LB101", "not applicable", f"{plan.expect} forbids nothing ahead at n = {n}")
    try:
        decisions, wider = _decisions(subject, plan, forbidden)
    except KeyboardInterrupt:
        _keep_future(subject, plan, forbidden)
        raise
    verdicts = [decision.verdict for decision, _, _ in decisions]
    noise = plan.shared.get("noise", 0.0)
    if "leak" in verdicts:
        decision, change, at = decisions[verdicts.index("leak")]
        plan.shared["leak"] = change, at, decision
        source = wider if decision.dtype == "float64" and wider else sweeps(subject, plan, "own")[0]
        bad = bad_pairs(source, forbidden, decision.noise)
        pair = (at, change.cut)
        return Outcome(
            "LB101",
            "fail",
            f"the output at {pair[0]} changes with the token at {pair[1]}, ahead of it: {decision.reason}",
            decision.difference,
            pair,
            max(bad, 1),
            decision.noise,
            decision.dtype,
            subject.backend,
        )
    if "undecided" in verdicts:
        decision, change, at = decisions[verdicts.index("undecided")]
        return Outcome(
            "LB101",
            "undecided",
            f"outputs up to {at} differ when tokens from {change.cut} change: {decision.reason}",
            decision.difference,
            (at, change.cut),
            0,
            decision.noise,
            decision.dtype,
            subject.backend,
        )
    own = str(subject.dtype).removeprefix("torch.")
    carried, allowed = signal(subject, plan)
    tried = f"{int(forbidden.sum()):,} pairs" if plan.complete else f"{len(plan.cuts)} cuts"
    if carried == 0 and allowed > 0:
        return Outcome(
            "LB101",
            "undecided",
            f"in {own} no token changes any later output either: there is no signal in which a leak would "
            "show; with random weights, draw them again (redraw=True)",
            noise=noise,
        )
    most = max((decision.difference for decision, _, _ in decisions), default=0.0)
    return Outcome(
        "LB101",
        "pass",
        f"no output changes with a later token, {tried} at n = {n}; influence was seen at {carried:,} of "
        f"{allowed:,} allowed pairs",
        difference=most,
        noise=max(noise, most),
        dtype=own,
        backend=subject.backend,
    )


def _keep_future(subject: Subject, plan: Plan, forbidden: Bools) -> None:
    """The greatest difference that the sweeps have shown."""
    found = [
        (*place, precision)
        for precision in ("own", "float64")
        for place in _worst(plan.shared.get(f"begun:{precision}", []), forbidden)[:1]
    ]
    if found:
        size, change, at, precision = max(found, key=lambda one: one[0])
        tokens = f"token at {change.cut}" if change.kind == "single" else f"tokens from {change.cut} on"
        told = f"the output at {at} moved with the {tokens}, ahead of it"
        plan.keep_difference("LB101", told, size, (at, change.cut), precision, subject)


def _decisions(
    subject: Subject, plan: Plan, forbidden: Bools
) -> tuple[list[tuple[Decision, Change, int]], list[Sweep]]:
    """The worst places of every precision, each decided by itself; and the sweeps in float64."""
    n = plan.length
    own, left = sweeps(subject, plan, "own")
    wider: list[Sweep] = []
    notes = [left]
    try:
        wider, left = sweeps(subject, plan, "float64")
        notes.append(left)
    except CANNOT_RUN as error:
        notes.append(f"float64 cannot run ({str(error).splitlines()[0][:160]})")
    plan.notes += [note for note in notes if note is not None and note not in plan.notes]
    places = [_worst(own, forbidden), _worst(wider, forbidden)]
    found: list[tuple[Decision, Change, int]] = []
    seen: set[tuple[Change, int]] = set()
    for place in (place for some in reversed(places) for place in some[:_TRIED]):
        _, change, at = place
        if (change, at) in seen:
            continue
        seen.add((change, at))
        rows = torch.from_numpy(np.flatnonzero(protected(change, forbidden)))
        decision = decide(
            subject,
            lambda change=change, rows=rows: change.pair(subject, n, rows),
            same_shape=True,
            gradient=lambda change=change, rows=rows: future_gradient(
                subject, change.apply(subject, n)[0], rows, change.cut
            ),
        )
        if decision.bad is not None:
            at = int(rows[int(decision.bad.reshape(-1).nonzero()[0])]) if not bool(decision.bad.all()) else at
        found.append((decision, change, at))
        if decision.verdict == "leak":
            break
    return found, wider


def _worst(some: Sequence[Sweep], forbidden: Bools) -> list[tuple[float, Change, int]]:
    return sorted((place for one in some for place in one.worst(forbidden)), key=lambda place: -place[0])


def bad_pairs(some: Sequence[Sweep], forbidden: Bools, noise: float) -> int:
    """How many forbidden pairs single tokens showed; suffixes where those show none."""
    for kind in ("single", "suffix", "constant"):
        bad = {
            (int(at), change.cut)
            for one in some
            for change, apart in zip(one.changes, one.apart, strict=True)
            if change.kind == kind
            for at in np.flatnonzero((apart > noise).numpy() & protected(change, forbidden))
        }
        if bad:
            return len(bad)
    return 0


def _length(subject: Subject, plan: Plan) -> Outcome:
    """LB102: each prefix alone, against the same positions of the whole."""
    if plan.failed("LB101"):
        return Outcome("LB102", "not covered", "LB101 failed, and a leak alone makes prefixes differ")
    if plan.random:
        return Outcome("LB102", "not covered", RANDOM)
    n = plan.length
    full = closure(plan.expect.spans(n).mask())
    # A prefix must hold everything that its outputs may read.
    cuts = [cut for cut in plan.cuts if not full[:cut, cut:].any()]
    if not cuts:
        return Outcome("LB102", "not applicable", f"under {plan.expect} no prefix stands alone")

    own, wider = dict[int, float](), dict[int, float]()
    try:
        decision, cut = _prefixes(subject, plan, cuts, own, wider)
    except KeyboardInterrupt:
        found = [(far[cut], cut, name) for name, far in (("own", own), ("float64", wider)) for cut in far]
        if found:
            size, cut, precision = max(found)
            told = f"outputs of the first {cut} tokens alone differ from those among {n}"
            plan.keep_difference("LB102", told, size, None, precision, subject)
        raise
    text = f"{len(cuts)} prefixes of n = {n} give the same outputs alone: {decision.reason}"
    found = Outcome(
        "LB102",
        _VERDICTS[decision.verdict],
        text,
        decision.difference,
        noise=decision.noise,
        dtype=decision.dtype,
        backend=subject.backend,
    )
    if decision.verdict == "clean":
        return found
    at = int(decision.bad.nonzero()[0]) if decision.bad is not None and bool(decision.bad.any()) else cut - 1
    plan.shared["length"] = cut, at, decision
    text = (
        f"the output at {at} of the first {cut} tokens alone differs from that among {n}: {decision.reason}"
    )
    bad = sum(value > decision.noise for value in (wider if decision.dtype == "float64" else own).values())
    return replace(found, reason=text, pair=(at, cut), n_bad=max(bad, 1) if found.failed else 0)


def _prefixes(
    subject: Subject, plan: Plan, cuts: list[int], own: dict[int, float], wider: dict[int, float]
) -> tuple[Decision, int]:
    """The gravest decision and its cut; how far prefixes are off goes into `own`, in float64 into `wider`."""
    ids = subject.ids(plan.seeds[0], plan.length)

    def measure(some: list[int], far: dict[int, float]) -> None:
        whole = subject.anew(ids)[0]
        scale = scale_of(whole)
        for done, cut in enumerate(some):
            far[cut] = float(distance(whole[:cut], subject.anew(ids[:, :cut])[0]).max()) / scale
            plan.tell("prefixes alone", done + 1, len(some))

    began = time.perf_counter()
    measure(cuts, own)
    again = cuts
    if time.perf_counter() - began > _PATIENCE / 3 and not plan.thorough:
        # float64 costs twice as much: those that differ most, and some of the others.
        again = sorted({*sorted(own, key=lambda cut: -own[cut])[:4], *cuts[:: max(1, len(cuts) // 8)]})
        plan.notes.append(f"for time, in float64: {len(cuts) - len(again)} of {len(cuts)} prefixes")
    try:
        with wide(subject):
            measure(again, wider)
    except CANNOT_RUN:
        wider.clear()
    few = 2 if plan.light else 1
    order = [*sorted(wider, key=lambda cut: -wider[cut])[:few], *sorted(own, key=lambda cut: -own[cut])[:few]]
    decisions: list[tuple[Decision, int]] = []
    for cut in dict.fromkeys(order):

        def prefix(cut: int = cut) -> Pair:
            return subject.anew(ids)[0, :cut], subject.anew(ids[:, :cut])[0]

        decisions.append((decide(subject, prefix, same_shape=False), cut))
        if decisions[-1][0].verdict == "leak":
            break
    return max(decisions, key=lambda one: ("clean", "undecided", "leak").index(one[0].verdict))
