"""Parting: the innermost module at which two runs, that should agree on some outputs, part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch

from lookbehind.auditor.calls import Call, trace, where
from lookbehind.auditor.evidence import Decision
from lookbehind.auditor.forward import Moment
from lookbehind.auditor.precision import steady, wide
from lookbehind.auditor.report import Culprit
from lookbehind.auditor.subject import CANNOT_RUN, Subject

_EQUAL = 1e-10  # of a tensor's largest number, in float64: rounding inside a model stays below


def parting(
    subject: Subject, one: Moment, other: Moment, decision: Decision, *, same_shape: bool = False
) -> Culprit | None:
    """The innermost module whose inputs agree, at the positions of these outputs, and whose output does not.

    The two runs may have other shapes (a step with a cache, padding): what is compared are the positions
    alone. An input that differs and did not matter to a module of the same make before (positions moved by
    padding) is no longer held against those that come later.

    Args:
        subject: the model.
        one: the call that is right.
        other: the call whose outputs differ.
        decision: how far they do, and in which precision.
        same_shape: whether both calls have one shape and are given the same besides the tokens: what does
            not differ is equal bit for bit, and what a module is given for all positions at once is, too.
    """
    if subject.module is None:
        return None
    in_float64 = decision.dtype == "float64"
    limit = max(_EQUAL, 8 * decision.noise) if in_float64 else 4 * torch.finfo(subject.dtype).eps
    if same_shape:
        limit = decision.noise if in_float64 else 0.0
    try:
        with wide(subject) if in_float64 else nullcontext() if same_shape else steady():
            mine, theirs = _traced(subject, one), _traced(subject, other)
    except CANNOT_RUN:
        return None
    return _innermost(_suspects(mine, theirs, one, other, limit, same_shape))


def _traced(subject: Subject, moment: Moment) -> list[Call]:
    before = moment.before()
    return trace(subject, lambda: moment.run(before))


def _suspects(
    mine: list[Call], theirs: list[Call], one: Moment, other: Moment, limit: float, whole: bool
) -> Iterator[Call]:
    """Calls whose inputs agree and whose outputs do not, in the order in which they begin.

    Inputs without positions are compared as a `whole`, or not at all: the two calls may be given other ones.
    """
    harmless: dict[object, list[torch.Tensor]] = {}
    for a, b in _matched(mine, theirs):
        dirty = [x for x, size in _sizes(a.inputs, b.inputs, one, other, whole) if size > limit]
        outputs = [size for _, size in _sizes(a.outputs, b.outputs, one, other, whole=False)]
        differs = any(size > limit for size in outputs)
        make = (type(a.module), *(type(part) for part in a.module.children()))
        before = harmless.setdefault(make, [])
        held = [x for x in dirty if not any(x.shape == h.shape and torch.equal(x, h) for h in before)]
        if not differs and outputs:
            before += held
        elif differs and not held:
            yield a


def _innermost(suspects: Iterator[Call]) -> Culprit | None:
    """Of the first suspect and those inside it, the last: calls stand as they begin, outer ones first."""
    chosen = next(suspects, None)
    if chosen is None:
        return None
    for call in suspects:
        if chosen.path and not call.path.startswith(chosen.path + "."):
            break
        chosen = call
    return where(chosen.path, chosen.module)


def _matched(mine: list[Call], theirs: list[Call]) -> list[tuple[Call, Call]]:
    """Calls of one module in both runs, first with first: a cache or a mask may make a model skip some."""
    waiting: dict[str, list[Call]] = {}
    for call in theirs:
        waiting.setdefault(call.path, []).append(call)
    return [(call, waiting[call.path].pop(0)) for call in mine if waiting.get(call.path)]


def _sizes(
    a: list[torch.Tensor], b: list[torch.Tensor], one: Moment, other: Moment, whole: bool
) -> list[tuple[torch.Tensor, float]]:
    """(tensor of `a`, how far its counterpart is) in order; one run may be given more of them: a mask."""
    found: list[tuple[torch.Tensor, float]] = []
    rest = list(b)
    for x in a:
        for index, y in enumerate(rest):
            alike = x.is_floating_point() == y.is_floating_point()
            size = _apart(x, y, one, other, whole) if alike else None
            if size is not None:
                found.append((x, size))
                rest = rest[index + 1 :]
                break
    return found


def _apart(a: torch.Tensor, b: torch.Tensor, one: Moment, other: Moment, whole: bool) -> float | None:
    """Greatest difference at the positions, as a share of the largest number; None if they have none."""
    axes = _axes(a, b, one, other)
    if axes is None and not whole:
        return None
    x, y = (a, b) if axes is None else (_narrowed(a, axes, one), _narrowed(b, axes, other))
    if x.shape != y.shape or x.numel() == 0:
        return None
    if not (x.is_floating_point() or x.is_complex()):
        return float(not torch.equal(x, y))
    same = (x == y) | (x.isnan() & y.isnan())
    apart = torch.where(same, 0.0, (x - y).abs().double()).nan_to_num(nan=float("inf"))
    finite = a[torch.isfinite(a)].abs()
    return float(apart.max()) / max(float(finite.max()) if finite.numel() else 1.0, 1e-30)


def _axes(
    a: torch.Tensor, b: torch.Tensor, one: Moment, other: Moment
) -> tuple[int | None, int, bool] | None:
    """(axis of rows, axis of positions, whether rows and positions share it), equally in both runs."""
    if a.ndim != b.ndim or a.ndim == 0:
        return None
    order = {1: (0,), 2: (1, 0), 3: (1, 0, 2), 4: (2, 1)}.get(a.ndim, tuple(range(1, a.ndim)))
    for axis in order:
        rest = [k for k in range(a.ndim) if k != axis]
        if a.shape[axis] == one.n and b.shape[axis] == other.n:
            rows = [k for k in rest if a.shape[k] == one.rows and b.shape[k] == other.rows]
            batch = rows[0] if rows and rows[0] < 2 else None
            if batch is not None or all(a.shape[k] == 1 and b.shape[k] == 1 for k in rest if k < axis):
                return batch, axis, False
    if a.shape[0] == one.rows * one.n and b.shape[0] == other.rows * other.n:
        return None, 0, True
    return None


def _narrowed(t: torch.Tensor, axes: tuple[int | None, int, bool], moment: Moment) -> torch.Tensor:
    batch, axis, flat = axes
    positions = torch.tensor(moment.positions, device=t.device)
    if flat:
        return t[moment.row * moment.n + positions]
    t = t.index_select(axis, positions)
    return t if batch is None else t.narrow(batch, moment.row, 1)
