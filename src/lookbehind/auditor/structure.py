"""Structure: the key spans that attention calls were really given, held against the pattern (LB103)."""

from __future__ import annotations

from lookbehind.auditor.calls import where
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.subject import Subject, UncoveredError
from lookbehind.errors import RecordError, brief


def check(subject: Subject, plan: Plan) -> list[Outcome]:
    """LB103."""
    return [_check(subject, plan)]


def _check(subject: Subject, plan: Plan) -> Outcome:
    if subject.module is None:
        return Outcome("LB103", "not covered", "a plain callable has no attention modules to record")
    try:
        from lookbehind.recorder import record
    except ImportError as error:
        return Outcome("LB103", "not covered", f"recording cannot be imported: {brief(error)}")
    n = plan.length
    try:
        with record(subject.module) as recorder:
            subject.logits(subject.ids(plan.seeds[0], n))
        tape = recorder.tape()
    except (RecordError, UncoveredError) as error:
        why = error.__cause__ if isinstance(error.__cause__, RecordError) else error
        reason = str(why).splitlines()[0]
        return Outcome("LB103", "not covered", f"its attention cannot be recorded: {reason}")
    expected = plan.expect.spans(n)
    parts = dict(subject.module.named_modules())
    recorded = 0
    for layer in tape.layers:
        spans = layer.spans
        if (spans.n_queries, spans.n_keys, spans.offset) != (n, n, 0):
            continue  # a call over something else than the sequence
        recorded += 1
        if spans <= expected:
            continue
        beyond = spans & ~expected
        pair = next(beyond.pairs())
        path = layer.name.split("#")[0]
        return Outcome(
            "LB103",
            "fail",
            f"{path} goes beyond {plan.expect}: {pair[0]} reads {pair[1]}, one of {beyond.count():,} pairs",
            pair=pair,
            n_bad=beyond.count(),
            backend=subject.backend,
            culprit=where(path, parts[path]) if path in parts else None,
        )
    if not recorded:
        return Outcome("LB103", "not covered", "no attention over the whole sequence was recorded")
    detail = tuple(f"{name} ({kind}): {why}" for name, kind, why in tape.skipped)
    calls = "1 recorded call lies" if recorded == 1 else f"{recorded} recorded calls lie"
    text = f"{calls} within {plan.expect} at n = {n}"
    if detail:
        layers = "1 layer computes" if len(detail) == 1 else f"{len(detail)} layers compute"
        text += f"; {layers} no softmax attention"
    return Outcome("LB103", "pass", text, backend=subject.backend, detail=detail)
