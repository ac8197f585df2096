"""Parting: the innermost module at which two runs, that should agree on one output, part."""

from __future__ import annotations

import torch

from lookbehind.auditor.evidence import Decision
from lookbehind.auditor.forward import Moment, Source
from lookbehind.auditor.localise import Call, trace, where
from lookbehind.auditor.precision import steady, wide
from lookbehind.auditor.report import Culprit
from lookbehind.auditor.subject import Subject, UncoveredError

_EQUAL = 1e-10  # of a tensor's largest number, in float64: rounding inside a model stays below


def parting(
    subject: Subject, expected: Source, got: Source, place: int, decision: Decision
) -> Culprit | None:
    """The innermost module whose inputs agree, at the position of this output, and whose output does not.

    The two runs may have other shapes (a step with a cache, padding): what is compared is the one position.
    An input that differs and did not matter to a module of the same make before (positions moved by padding)
    is no longer held against those that come later.
    """
    if subject.module is None:
        return None
    in_float64 = decision.dtype == "float64"
    try:
        with wide(subject) if in_float64 else steady():
            one, other = expected.moment(subject, place), got.moment(subject, place)
            mine, theirs = _traced(subject, one), _traced(subject, other)
    except (UncoveredError, RuntimeError, TypeError, NotImplementedError):
        return None
    limit = max(_EQUAL, 8 * decision.noise) if in_float64 else 4 * torch.finfo(subject.dtype).eps
    return _first(mine, theirs, one, other, limit)


def _traced(subject: Subject, moment: Moment) -> list[Call]:
    before = moment.before()
    return trace(subject, lambda: moment.run(before))


def _first(mine: list[Call], theirs: list[Call], one: Moment, other: Moment, limit: float) -> Culprit | None:
    found: list[Call] = []
    harmless: dict[object, list[torch.Tensor]] = {}
    for a, b in _matched(mine, theirs):
        dirty = [x for x, size in _sizes(a.inputs, b.inputs, one, other) if size > limit]
        outputs = [size for _, size in _sizes(a.outputs, b.outputs, one, other)]
        differs = any(size > limit for size in outputs)
        make = (type(a.module), *(type(part) for part in a.module.children()))
        before = harmless.setdefault(make, [])
        held = [x for x in dirty if not any(x.shape == h.shape and torch.equal(x, h) for h in before)]
        if not differs and outputs:
            before += held
        elif differs and not held:
            found.append(a)
    # Calls are listed as they begin, outer before inner: the innermost of the first is the last of its chain.
    if not found:
        return None
    chosen = found[0]
    for call in found[1:]:
        if call.path.startswith(chosen.path + ".") or not chosen.path:
            chosen = call
        else:
            break
    return where(chosen.path, chosen.module)


def _matched(mine: list[Call], theirs: list[Call]) -> list[tuple[Call, Call]]:
    """Calls of one module in both runs, first with first: a cache or a mask may make a model skip some."""
    waiting: dict[str, list[Call]] = {}
    for call in theirs:
        waiting.setdefault(call.path, []).append(call)
    return [(call, waiting[call.path].pop(0)) for call in mine if waiting.get(call.path)]


def _sizes(
    a: list[torch.Tensor], b: list[torch.Tensor], one: Moment, other: Moment
) -> list[tuple[torch.Tensor, float]]:
    """(tensor of `a`, how far its counterpart is) in order; one run may be given more of them: a mask."""
    found: list[tuple[torch.Tensor, float]] = []
    rest = list(b)
    for x in a:
        for index, y in enumerate(rest):
            size = _apart(x, y, one, other) if x.is_floating_point() == y.is_floating_point() else None
            if size is not None:
                found.append((x, size))
                rest = rest[index + 1 :]
                break
    return found


def _apart(a: torch.Tensor, b: torch.Tensor, one: Moment, other: Moment) -> float | None:
    """Greatest difference at the position, as a share of the largest number; None if it has no position."""
    axes = _axes(a, b, one, other)
    if axes is None:
        return None
    x, y = _narrowed(a, axes, one), _narrowed(b, axes, other)
    if x.shape != y.shape or x.numel() == 0:
        return None
    if not x.is_floating_point():
        return float(not torch.equal(x, y))
    same = (x == y) | (x.isnan() & y.isnan())
    apart = torch.where(same, 0.0, (x.double() - y.double()).abs()).nan_to_num(nan=float("inf"))
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
    if flat:
        return t[moment.row * moment.n + moment.position]
    t = t.narrow(axis, moment.position, 1)
    return t if batch is None else t.narrow(batch, moment.row, 1)
