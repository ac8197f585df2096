"""Packing: documents in one row, told apart by position_ids that start over (LB401)."""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from lookbehind.auditor.comparison import Comparison, Verdict, outcome, short, weigh
from lookbehind.auditor.forward import Forward
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.subject import Subject

_SEEN = ("leak", "undecided")


def check(subject: Subject, plan: Plan) -> list[Outcome]:
    """Documents with no mask, with a mask of ones, and with the model's own default for its cache.

    In transformers, position_ids tell documents apart only where there is neither a mask nor a cache: a mask
    of ones says that every token may be read. For its models the sub-cases beside that promise are told in
    the reason; for every other model they are findings.
    """
    if not subject.accepts("position_ids"):
        return [Outcome("LB401", *subject.lacks("position_ids", ": documents cannot be told apart"))]
    why = _no_promise(subject)
    if why is not None:
        return [Outcome("LB401", "not applicable", why)]
    blocker = plan.failed("LB101", "LB102")
    if blocker is not None:
        reason = f"outputs depend on later tokens or on the length ({blocker}), and so on the next document"
        return [Outcome("LB401", "not covered", reason)]
    if plan.length < 6:
        return [Outcome("LB401", "not covered", f"n = {plan.length} holds no three documents")]
    plan.tell("packed documents", 0, 1)

    def build(plan: Plan, with_ones: bool = False, use_cache: bool | None = False) -> list[Comparison]:
        return _packed(subject, plan, with_ones, use_cache)

    bare = weigh(subject, plan, "LB401", build(plan))
    rule = None if subject.is_hf else "LB401"
    ones = own = None
    if subject.accepts("attention_mask"):
        tried = build(plan, True)
        ones = weigh(subject, plan, rule, tried[:2] if subject.is_hf else tried)
    if subject.switches("use_cache"):
        own = weigh(subject, plan, rule, build(plan, False, None)[:2])
    what = "packing documents"
    if bare.word != "clean":
        told = outcome(subject, plan, "LB401", bare, build, what)
        if ones is not None and ones.word == "clean" and bare.word == "leak":
            return [replace(told, reason=f"{told.reason}; with an all-ones mask they do not")]
        return [told]
    notes = _notes(ones, own)
    if subject.is_hf or not notes:
        told = outcome(subject, plan, "LB401", bare, build, what)
        text = f"{told.reason}; but they do see one another {' and '.join(notes)}" if notes else told.reason
        return [replace(told, reason=text)]
    if ones is not None and ones.word in _SEEN:
        return [outcome(subject, plan, "LB401", ones, lambda plan: build(plan, True), what)]
    assert own is not None
    return [outcome(subject, plan, "LB401", own, lambda plan: build(plan, False, None)[:2], what)]


def _no_promise(subject: Subject) -> str | None:
    if not subject.is_hf:
        return None
    masks = sys.modules.get("transformers.masking_utils")
    if not hasattr(masks, "find_packed_sequence_indices"):
        return "this transformers does not tell packed documents by position_ids"
    # Which files is it written in? Its parts' too: the model may be somebody's subclass.
    parts = [] if subject.module is None else subject.module.modules()
    files = {sys.modules.get(type(part).__module__) for part in parts}
    written = {name for file in files if file is not None for name in vars(file)}
    if not any(name.startswith("create_") and name.endswith("_mask") for name in written):
        return f"{subject.name} makes masks of its own: it does not promise to tell packed documents apart"
    return None


def _notes(ones: Verdict | None, own: Verdict | None) -> list[str]:
    notes: list[str] = []
    if ones is not None and ones.word in _SEEN:
        notes.append("with an all-ones mask (leave the mask out)")
    if own is not None and own.word in _SEEN:
        notes.append("with the cache that a call makes unless told otherwise (pass use_cache=False)")
    return notes


def _packed(subject: Subject, plan: Plan, ones: bool, use_cache: bool | None) -> list[Comparison]:
    """Each document changed, and each alone: at batch 1, and in a batch whose rows are packed differently."""
    n = short(subject, plan)
    first, second = max(2, n // 4), max(2, n // 3)
    layouts: list[list[tuple[int, ...]]] = [[(first, 1, second, n - first - second - 1)]]
    if plan.rows_independent and use_cache is False:
        layouts.append([(first, second, n - first - second), (second, n - second)])
    made: list[Comparison] = []
    for layout in layouts:
        ids = subject.ids(plan.seeds[0] + 51, n, len(layout))
        positions = torch.stack(
            [torch.cat([torch.arange(size) for size in row if size > 0]) for row in layout]
        ).to(ids.device)
        mask = torch.ones_like(ids) if ones else None
        whole = Forward(ids, mask, positions, use_cache=use_cache)
        other = subject.others(ids, plan.seeds[0] + 51)
        told = "with an all-ones mask" if ones else "without a mask"
        told += "" if use_cache is False else ", with its own cache"
        for row, sizes in enumerate(layout):
            batch = "" if len(layout) == 1 else f" in row {row} of {len(layout)}"
            for index in (len(sizes) - 1, *range(len(sizes) - 1)):  # the last can see the most
                start, size = sum(sizes[:index]), sizes[index]
                span = range(start, start + size)
                name = f"document {index} of {len(sizes)}{batch}, {told}"
                kept = torch.zeros_like(ids, dtype=torch.bool)
                kept[row, start : start + size] = True
                changed = Forward(torch.where(kept, ids, other), mask, positions, use_cache=use_cache)
                made.append(
                    Comparison(
                        f"{name}, the others changed",
                        whole.at([row], span),
                        changed.at([row], span),
                        same_shape=True,
                    )
                )
                alone = Forward(ids[row : row + 1, start : start + size])
                made.append(
                    Comparison(f"{name}, as alone", alone.at([0], range(size)), whole.at([row], span))
                )
    return made
