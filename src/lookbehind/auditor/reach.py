"""Reach: how far back the model looks, held against what it declares (LB104)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from lookbehind.auditor.calls import where
from lookbehind.auditor.declared import layer_patterns
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.precision import wide
from lookbehind.auditor.receptive import Shares, layer_reach
from lookbehind.auditor.report import Culprit, Outcome
from lookbehind.auditor.subject import CANNOT_RUN, Subject
from lookbehind.auditor.sweep import closure
from lookbehind.auditor.sweep import reach as measured
from lookbehind.pattern import Pattern

Bools = NDArray[np.bool_]

_SHARE = 1e-14  # of the largest output: below it float64 says nothing
_ABRUPT = 1e-9  # of the largest output: weights that fade pass through what lies between


def check(subject: Subject, plan: Plan) -> list[Outcome]:
    """LB104."""
    return [_check(subject, plan)]


def _check(subject: Subject, plan: Plan) -> Outcome:
    n = plan.length
    past = np.tri(n, dtype=np.bool_)
    layers = layer_patterns(subject)
    exact = layers is not None
    if layers is None and plan.declared and not (plan.expect.spans(n).mask() & past == past).all():
        layers = [plan.expect] * (subject.n_layers or 1)
    if layers is None:
        return Outcome(
            "LB104", "not applicable", "neither the config nor expect= declares a window or a chunk"
        )
    masks = [None if one is None else one.spans(n).mask() & past for one in layers]
    if all(one is None or (one == past).all() for one in masks):
        return Outcome(
            "LB104", "not covered", f"n = {n} does not cross {_names(layers)}; give a greater length"
        )
    fields = _fields(subject, plan)
    names = [path for path, _ in subject.blocks]
    known = (
        dict(zip(names, zip(layers, masks, strict=True), strict=True)) if len(names) == len(layers) else {}
    )
    for path, field in fields.items():
        pattern, mask = known.get(path, (None, None))
        if mask is None:
            continue
        found = _compare(np.where(past, field, 0.0), mask, exact)
        if found is not None:
            pair, how, count = found
            culprit = _culprit(subject, path)
            return _finding(plan, f"layer {path} reads {how} than {pattern}", pair, count, culprit)
    whole = _whole(subject, plan, masks, past)
    if whole is not None:
        return whole
    probed = [path for path in fields if known.get(path, (None, None))[1] is not None]
    if probed:
        text = f"{len(probed)} layers read exactly what {_names(layers)} allows at n = {n}"
        if not exact:
            text = f"no layer reads beyond {_names(layers)} at n = {n}"
        return Outcome("LB104", "pass", text, backend=subject.backend)
    if plan.complete:
        return Outcome(
            "LB104",
            "pass",
            f"influence stays within what {len(masks)} layers of {_names(layers)} reach at n = {n}",
            backend=subject.backend,
            detail=("no layer could be called by itself: only the whole model was measured",),
        )
    return Outcome(
        "LB104", "not covered", "no layer could be called by itself, and n is too large to try every pair"
    )


def _fields(subject: Subject, plan: Plan) -> dict[str, Shares]:
    """What each layer reads, in float64 where that runs: its own rounding would count as reading."""
    ids = subject.ids(plan.seeds[0], plan.length)
    try:
        with wide(subject):
            return layer_reach(subject, ids)
    except CANNOT_RUN:
        return {}


def _compare(shares: Shares, mask: Bools, exact: bool) -> tuple[tuple[int, int], str, int] | None:
    """(pair, "further back" | "less far back", how many pairs) where a layer's field and its pattern part."""
    field = shares > _SHARE
    beyond = field & ~mask
    if beyond.any():
        i, j = (int(one) for one in np.argwhere(beyond)[0])
        return (i, j), "further back", int(beyond.sum())
    missing = mask & ~field
    if not exact or field.sum() <= len(field):  # no more than each its own: it has no attention
        return None
    # One weight may be 0 by itself: a pattern that is too narrow leaves out every pair at its edge, and it
    # ends at once. Where weights fade (a steep ALiBi), what is beyond cannot be told from 0.
    edge = _farthest(mask)
    gone = edge & missing
    last = np.array([shares[i, field[i].argmax()] for i in np.flatnonzero(gone.any(axis=1))])
    if gone.sum() > edge.sum() / 2 and (last > _ABRUPT).mean() > 0.5:
        i, j = (int(one) for one in np.argwhere(gone)[0])
        return (i, j), "less far back", int(missing.sum())
    return None


def _farthest(mask: Bools) -> Bools:
    """The first key of every row that has keys of others."""
    edge = np.zeros_like(mask)
    first = mask.argmax(axis=1)
    rows = np.flatnonzero(first < np.arange(len(mask)))
    edge[rows, first[rows]] = True
    return edge


def _whole(subject: Subject, plan: Plan, masks: list[Bools | None], past: Bools) -> Outcome | None:
    """The whole model, against all its layers together."""
    if not plan.complete or any(mask is None for mask in masks):
        return None
    together = reduce(
        lambda reach, mask: (reach.astype(np.float32) @ closure(mask, 1).astype(np.float32)) > 0,
        (mask for mask in masks if mask is not None),
        np.eye(plan.length, dtype=np.bool_),
    )
    beyond = measured(subject, plan) & past & ~together
    if not beyond.any():
        return None
    i, j = (int(one) for one in np.argwhere(beyond)[0])
    text = f"the output at {i} reads back to {j}, beyond what its {len(masks)} layers reach together"
    return _finding(plan, text, (i, j), int(beyond.sum()), None)


def _finding(plan: Plan, text: str, pair: tuple[int, int], count: int, culprit: Culprit | None) -> Outcome:
    reason = f"{text}: {pair[0]} and {pair[1]}, one of {count:,} such pairs at n = {plan.length}"
    return Outcome("LB104", "fail", reason, pair=pair, n_bad=count, culprit=culprit)


def _culprit(subject: Subject, path: str) -> Culprit | None:
    """The layer's attention, where it has one part of that name; else the layer."""
    layer = dict(subject.blocks)[path]
    for name, part in layer.named_modules():
        if name and ("attn" in name.lower() or "attention" in type(part).__name__.lower()):
            return where(f"{path}.{name}", part)
    return where(path, layer)


def _names(layers: Sequence[Pattern | None]) -> str:
    return " and ".join(dict.fromkeys(str(one) for one in layers if one is not None))
