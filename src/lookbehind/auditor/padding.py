"""Padding: rows padded on the left (LB301) or the right (LB302), and the other rows of a batch (LB303)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from lookbehind.auditor.comparison import Comparison, judge, short, weigh
from lookbehind.auditor.forward import Forward
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.subject import Subject

_ROWS = 3  # rows of the batches in which neighbours are changed


def check(subject: Subject, plan: Plan) -> Iterator[Outcome]:
    """One outcome for each rule."""
    rows = _neighbours(subject, plan)
    # Rows that influence one another differ in any batch: padding is then tried at batch 1 alone.
    together = plan.batch > 1 and plan.rows_independent and rows.verdict in ("pass", "undecided")
    yield rows
    yield _padded(subject, plan, "left", together)
    yield _padded(subject, plan, "right", together)


def _padded(subject: Subject, plan: Plan, side: str, together: bool) -> Outcome:
    rule = "LB301" if side == "left" else "LB302"
    if not subject.accepts("attention_mask"):
        without = "; what stands on the right of a row is its future (LB101)" if side == "right" else ""
        return Outcome(rule, *subject.lacks("attention_mask", without))
    blocker = plan.failed("LB101", "LB102")
    if blocker is not None:
        reason = f"outputs depend on later tokens or on the length ({blocker}), of which padding changes both"
        return Outcome(rule, "not covered", reason)
    plan.tell(f"padding on the {side}", 0, 1)
    n = short(subject, plan)
    if not amounts(plan, n, side):
        return Outcome(rule, "not covered", f"n = {n} leaves no room for padding under {plan.expect}")
    with_positions = (True, False) if subject.accepts("position_ids") else (False,)

    def build(plan: Plan, kept: tuple[bool, ...] = with_positions) -> list[Comparison]:
        pads = amounts(plan, short(subject, plan), side)
        made: list[Comparison] = []
        for given in kept if side == "right" else ():
            # A mask of ones, as training and generation give it, pads nothing and masks nothing.
            made += padded(subject, plan, side, [0], given)
        for given in kept:
            for pad in pads if given is kept[0] else pads[:1]:
                made += padded(subject, plan, side, [pad], given)
        for given in kept:
            for rows in ([0, *pads[:2]], [*pads[:2], 0]) if together else ():
                made += padded(subject, plan, side, rows, given)
        return made

    told = judge(subject, plan, rule, build, f"padding on the {side}")
    if (
        told.failed
        and len(with_positions) == 2
        and weigh(subject, plan, None, build(plan, (True,))).word == "clean"
    ):
        # The usual case of learned positions, for which the remedy is known.
        reason = f"{told.reason}; given position_ids that start at the first real token, nothing differs"
        return replace(told, reason=reason)
    return told


def amounts(plan: Plan, n: int, side: str) -> list[int]:
    """How much padding is tried: one token, some, more than a window; where the pattern has room for it."""
    wanted = [5, 1, *(period + 1 for period in sorted(set(plan.periods.values())))]
    reads = plan.expect.spans(n).mask()
    kept: list[int] = []
    for pad in dict.fromkeys(min(one, n - 2) for one in wanted):
        left = n - pad
        if pad < 1 or len(kept) == 4:
            continue
        if side == "right":
            fits = not reads[:left, left:].any()
        else:  # a pattern that counts from the first token has no place for padding before it
            fits = bool((reads[pad:, pad:] == plan.expect.spans(left).mask()).all())
        if fits:
            kept.append(pad)
    return kept


def padded(subject: Subject, plan: Plan, side: str, pads: Sequence[int], positions: bool) -> list[Comparison]:
    """Rows padded by so much, each held against itself alone; and the tokens under the padding changed."""
    n, rows = short(subject, plan), len(pads)
    ids = subject.ids(plan.seeds[0] + 31, n, rows)
    under = torch.zeros_like(ids, dtype=torch.bool)
    for row, pad in enumerate(pads):
        under[row, slice(0, pad) if side == "left" else slice(n - pad, n)] = True
    mask = (~under).long()
    position_ids = (mask.cumsum(1) - 1).clamp(min=0) if positions else None
    whole = Forward(ids, mask, position_ids)
    changed = Forward(torch.where(under, subject.others(ids, plan.seeds[0] + 31), ids), mask, position_ids)
    how = f"{'with' if positions else 'without'} position_ids"
    made: list[Comparison] = []
    for row, pad in enumerate(pads):
        start = pad if side == "left" else 0
        real = range(start, start + n - pad)
        alone = Forward(ids[row : row + 1, start : start + n - pad])
        batch = "at batch 1" if rows == 1 else f"row {row} of {rows}"
        padding = f"{pad} token{'s' * (pad != 1)} of padding on the {side}" if any(pads) else "a mask of ones"
        name = f"{padding}, {batch}, {how}"
        moved = side == "left" and not positions
        made.append(
            Comparison(name, alone.at([0], range(n - pad)), whole.at([row], real, start), moved=moved)
        )
        if pad:
            name = f"other tokens under the padding on the {side}, {batch}, {how}"
            made.append(
                Comparison(
                    name, whole.at([row], real, start), changed.at([row], real, start), same_shape=True
                )
            )
    return made


def _neighbours(subject: Subject, plan: Plan) -> Outcome:
    if plan.batch < 2:
        return Outcome("LB303", "not covered", "batch=1 leaves no room for a neighbour")
    plan.tell("neighbours in the batch", 0, 1)
    return judge(subject, plan, "LB303", lambda plan: beside(subject, plan), "changing the other rows")


def beside(subject: Subject, plan: Plan) -> list[Comparison]:
    """Each row with its neighbours changed, and alone; and the rows in reverse."""
    n, rows = short(subject, plan), max(2, min(_ROWS, plan.batch))
    ids = subject.ids(plan.seeds[0] + 41, n, rows)
    batch = Forward(ids)
    made: list[Comparison] = []
    for row in sorted({0, 1, rows - 1}):
        for seed in plan.seeds[:2]:
            other = subject.others(ids, seed + 41)
            other[row] = ids[row]
            changed = Forward(other)
            name = f"row {row} of {rows}, its neighbours changed"
            made.append(
                Comparison(name, batch.at([row], range(n)), changed.at([row], range(n)), same_shape=True)
            )
        alone = Forward(ids[row : row + 1])
        made.append(
            Comparison(f"row {row} of {rows}, alone", alone.at([0], range(n)), batch.at([row], range(n)))
        )
    swapped = Forward(ids.flip(0))
    made.append(
        Comparison(
            "the rows in reverse", batch.at([0], range(n)), swapped.at([rows - 1], range(n)), same_shape=True
        )
    )
    return made
