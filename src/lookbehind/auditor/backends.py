"""Backends: the attention implementations that a model offers say the same (LB501)."""

from __future__ import annotations

from dataclasses import replace

import torch

from lookbehind.auditor.comparison import Comparison, judge, short
from lookbehind.auditor.forward import Forward
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.state import attention
from lookbehind.auditor.subject import Subject, UncoveredError

_ORDER = ("fail", "undecided", "not covered", "pass")
_TRIED = ("eager", "sdpa", "flex_attention")


def check(subject: Subject, plan: Plan) -> list[Outcome]:
    """Every other back end held against the model's own: plain, padded, packed."""
    own = subject.backend
    if subject.module is None or own is None:
        return [
            Outcome("LB501", "not applicable", f"{subject.name} has no attention implementation to switch")
        ]
    others: list[str] = []
    reasons: list[str] = []
    for name in _TRIED:
        if name == own:
            continue
        if name == "flex_attention" and subject.device.type == "cpu" and not plan.thorough:
            reasons.append("flex_attention: compiling it takes long on a CPU; a thorough audit runs it")
            continue
        try:
            with attention(subject, name):
                others.append(name)
        except UncoveredError as error:
            reasons.append(str(error))
    if not others:
        return [Outcome("LB501", "not applicable", "; ".join(reasons), backend=own)]
    told: list[Outcome] = []
    for done, name in enumerate(others):
        plan.tell(f"attention implementation {name}", done, len(others))
        told.append(_judged(subject, plan, own, name))
    worst = min(told, key=lambda one: _ORDER.index(one.verdict))
    if worst.verdict == "pass":
        worst = replace(worst, reason="; ".join(one.reason for one in told))
    return [replace(worst, detail=(*worst.detail, *(f"not covered: {one}" for one in reasons)))]


def _judged(subject: Subject, plan: Plan, own: str, name: str) -> Outcome:
    what = f"comparing {own} with {name}"
    told = judge(subject, plan, "LB501", lambda plan: _compared(subject, plan, own, name), what)
    if told.verdict == "pass" and told.difference == 0:
        reason = f"outputs under {own} and {name} are equal bit for bit: the switch changes no code here"
        return replace(told, verdict="not covered", reason=reason)
    return told


def _compared(subject: Subject, plan: Plan, own: str, name: str) -> list[Comparison]:
    n = short(subject, plan)
    ids = subject.ids(plan.seeds[0] + 61, n, 2 if plan.rows_independent else 1)
    last = len(ids) - 1
    made = [_pair(f"{name} and {own}", ids, None, None, own, name, last, range(n))]
    if subject.accepts("attention_mask"):
        pad = min(3, n // 3)
        left, right = torch.ones_like(ids), torch.ones_like(ids)
        left[last, :pad], right[last, n - pad :] = 0, 0
        given = subject.accepts("position_ids")
        for side, mask in (("left", left), ("right", right)):
            positions = (mask.cumsum(1) - 1).clamp(min=0) if given else None
            real = range(pad, n) if side == "left" else range(n - pad)
            made.append(
                _pair(f"{name} and {own}, padded on the {side}", ids, mask, positions, own, name, last, real)
            )
    if subject.accepts("position_ids"):
        half = n // 2
        positions = torch.cat([torch.arange(half), torch.arange(n - half)]).to(ids.device).expand(ids.shape)
        made.append(
            _pair(f"{name} and {own}, documents packed", ids, None, positions, own, name, last, range(n))
        )
    return made


def _pair(
    label: str,
    ids: torch.Tensor,
    mask: torch.Tensor | None,
    positions: torch.Tensor | None,
    own: str,
    name: str,
    row: int,
    places: range,
) -> Comparison:
    mine, theirs = (Forward(ids, mask, positions, backend=one) for one in (own, name))
    return Comparison(label, mine.at([row], places), theirs.at([row], places))
