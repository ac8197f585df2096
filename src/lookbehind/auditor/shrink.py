"""Shrink: the smallest counterexample of a leak, the module behind it, and about six lines that show it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch

from lookbehind.auditor.difference import distance, scale_of
from lookbehind.auditor.evidence import Decision, decide
from lookbehind.auditor.forward import Moment
from lookbehind.auditor.parting import parting
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.precision import wide
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.state import preserved
from lookbehind.auditor.subject import Subject, UncoveredError
from lookbehind.auditor.sweep import Change, forbidden_pairs, protected
from lookbehind.auditor.written import Written

_SHORT = 12  # lengths up to here are all tried, then doubled ones


def explained(subject: Subject, plan: Plan, outcome: Outcome) -> Outcome:
    """A finding with its smallest pair, its culprit and a reproducer, where they can be had."""
    try:
        if outcome.rule == "LB101" and "leak" in plan.shared:
            return _leak(subject, plan, outcome, *plan.shared["leak"])
        if outcome.rule == "LB102" and "length" in plan.shared:
            return _length(subject, plan, outcome, *plan.shared["length"])
    except (UncoveredError, RuntimeError, ValueError, TypeError) as error:
        # The finding stands whether or not it can be made smaller.
        return replace(outcome, detail=(*outcome.detail, f"not shrunk: {str(error).splitlines()[0][:160]}"))
    return outcome


def _leak(
    subject: Subject, plan: Plan, outcome: Outcome, change: Change, at: int, decision: Decision
) -> Outcome:
    def precision() -> AbstractContextManager[None]:
        return wide(subject) if decision.dtype == "float64" else nullcontext()

    n = plan.length
    ids, changed = change.apply(subject, n)
    with precision():
        ids, changed, at = _fewest_tokens(subject, plan, ids, changed, at, decision)
        shorter = _shortest(subject, plan, change.seed, decision)
        if shorter is not None:
            ids, changed, at = shorter
        layers = _fewest_layers(subject, ids, changed, at, decision)
    n = ids.shape[1]
    places = _moved(ids, changed)
    forbidden = forbidden_pairs(plan.expect, n)
    rows = tuple(np.flatnonzero(forbidden[:, places].all(axis=1)).tolist())
    one, other = (
        Moment(lambda: None, lambda _, some=some: subject.logits(some), 1, n, 0, rows)
        for some in (ids, changed)
    )
    found = parting(subject, one, other, decision, same_shape=True)
    source = next((int(place) for place in places if forbidden[at, place]), int(places[0]))
    rows_kept = torch.as_tensor([at])
    seen = decide(
        subject,
        lambda: (subject.logits(ids)[0, rows_kept], subject.logits(changed)[0, rows_kept]),
        same_shape=True,
    )
    size = seen.difference if seen.verdict == "leak" else outcome.difference or 0.0
    tokens = "one of them" if len(places) == 1 else f"{len(places)} of them"
    detail = [f"smallest: {n} tokens, {tokens} changed" + (f"; {layers}" if layers else "")]
    own = float(_moves(subject, ids, changed)[at])
    shown = decision.dtype if own < 0.5 * size else ""
    return replace(
        outcome,
        reason=f"the output at {at} changes with the token at {source}, which is ahead of it: "
        f"{decision.reason}",
        pair=(at, source),
        difference=size,
        culprit=found,
        reproducer=reproducer(subject, plan, ids, changed, at, shown),
        detail=(*outcome.detail, *detail),
    )


def _length(subject: Subject, plan: Plan, outcome: Outcome, cut: int, at: int, decision: Decision) -> Outcome:
    n = plan.length
    ids = subject.ids(plan.seeds[0], n)
    one, other = (
        Moment(lambda: None, lambda _, m=m: subject.anew(ids[:, :m]), 1, m, 0, tuple(range(cut)))
        for m in (n, cut)
    )
    found = parting(subject, one, other, decision)
    written = Written(subject)
    made = f"ids = {written.tensor(ids)}"
    lines = [
        "import torch",
        plan.origin,
        *(["model.double()"] if decision.dtype == "float64" else []),
        *written.lines,
        made,
        f"f = lambda ids: {_reading(subject, ids)}",
        f"print((f(ids[:, :{cut}])[0, {at}] - f(ids)[0, {at}]).abs().max())  # should be 0",
    ]
    return replace(outcome, culprit=found, reproducer="\n".join(lines))


def reproducer(
    subject: Subject, plan: Plan, ids: torch.Tensor, changed: torch.Tensor, at: int, dtype: str
) -> str:
    """About six lines that show the leak by themselves."""
    places, written = _moved(ids, changed).tolist(), Written(subject)
    made = [f"a = {written.tensor(ids)}"]
    if len(places) == 1:
        made.append(f"b = a.clone(); b[0, {places[0]}] = {int(changed[0, places[0]])}")
    else:
        made.append(f"b = {written.tensor(changed)}")
    lines = [
        "import torch",
        plan.origin,
        *(["model.double()"] if dtype == "float64" and subject.dtype != torch.float64 else []),
        *written.lines,
        *made,
        f"f = lambda ids: {_reading(subject, ids)}",
        f"print((f(a) - f(b))[0, {at}].abs().max())  # should be 0: it is ahead of {at}",
    ]
    return "\n".join(lines)


def _reading(subject: Subject, ids: torch.Tensor) -> str:
    """How the logits are got out of what the model gives."""
    with torch.no_grad():
        output = subject.call(ids)
    if isinstance(output, torch.Tensor):
        return "model(ids)"
    return "model(ids).logits" if hasattr(output, "logits") else "model(ids)[0]"


def _moved(ids: torch.Tensor, changed: torch.Tensor) -> np.ndarray:
    return np.flatnonzero((ids != changed)[0].cpu().numpy())


def _moves(subject: Subject, ids: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """How far each output moved, as a share of the largest."""
    base, other = subject.logits(ids)[0], subject.logits(changed)[0]
    return distance(base, other) / scale_of(base)


def _leaks(subject: Subject, ids: torch.Tensor, changed: torch.Tensor, decision: Decision) -> torch.Tensor:
    """The same, where it is beyond the noise; 0 elsewhere."""
    apart = _moves(subject, ids, changed)
    return torch.where(apart > (64 if decision.dtype == "float64" else 1) * decision.noise, apart, 0.0)


def _fewest_tokens(
    subject: Subject, plan: Plan, ids: torch.Tensor, changed: torch.Tensor, at: int, decision: Decision
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """One changed token where one suffices; else halves of them, as long as the leak stays."""
    n = ids.shape[1]
    forbidden = torch.from_numpy(forbidden_pairs(plan.expect, n))
    places = _moved(ids, changed)
    if len(places) == 1:
        return ids, changed, at
    for place in places:
        one = ids.clone()
        one[:, place] = changed[:, place]
        moved = _leaks(subject, ids, one, decision) * forbidden[:, place]
        if bool(moved.any()):
            return ids, one, int(moved.argmax())
    kept = list(places)
    size = len(kept) // 2
    while size:
        for start in range(0, len(kept), size):
            fewer = [*kept[:start], *kept[start + size :]]
            if not fewer:
                continue
            some = ids.clone()
            some[:, fewer] = changed[:, fewer]
            if float(_leaks(subject, ids, some, decision)[at]) > 0:
                kept, changed = fewer, some
                break
        else:
            size //= 2
    return ids, changed, at


def _shortest(
    subject: Subject, plan: Plan, seed: int, decision: Decision
) -> tuple[torch.Tensor, torch.Tensor, int] | None:
    """The shortest sequence on which one token leaks, and its worst pair; None if none is shorter."""
    n = plan.length
    lengths = list(range(2, min(n, _SHORT) + 1))
    while lengths[-1] < n:
        lengths.append(min(n, 2 * lengths[-1]))

    def worst(m: int) -> tuple[torch.Tensor, torch.Tensor, int] | None:
        ids = subject.ids(seed, m)
        forbidden = forbidden_pairs(plan.expect, m)
        best, found = 0.0, None
        for place in range(1, m):
            if not forbidden[:, place].any():
                continue
            change = Change(seed, "single", place)
            changed = change.apply(subject, m)[1]
            kept = _leaks(subject, ids, changed, decision) * torch.from_numpy(protected(change, forbidden))
            if float(kept.max()) > best:
                best, found = float(kept.max()), (ids, changed, int(kept.argmax()))
        return found

    for k, m in enumerate(lengths):
        try:
            found = worst(m)
        except UncoveredError:  # some models refuse short sequences
            continue
        if found is not None:
            for shorter in range(lengths[k - 1] + 1 if k else m, m):
                less = worst(shorter)
                if less is not None:
                    return less
            return found
    return None


def _fewest_layers(
    subject: Subject, ids: torch.Tensor, changed: torch.Tensor, at: int, decision: Decision
) -> str | None:
    """How many of the first layers suffice, in words; None where layers cannot be taken away."""
    blocks = subject.blocks
    if subject.module is None or len(blocks) < 2:
        return None
    path = blocks[0][0].rpartition(".")[0]
    holder = subject.module.get_submodule(path)
    for count in range(1, len(blocks)):
        with preserved(subject.module):
            for key in list(dict(holder.named_children()))[count:]:
                delattr(holder, key)
            if getattr(subject.config, "num_hidden_layers", None) == len(blocks):
                subject.config.num_hidden_layers = count
            try:
                stays = float(_leaks(subject, ids, changed, decision)[at]) > 0
            except (UncoveredError, RuntimeError):
                continue
        if stays:
            return f"the first {count} of {len(blocks)} layers suffice"
    return None
