"""Sweep: every change to a sequence, how far each output moved under it, and what layers reach together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lookbehind.auditor.difference import distance, scale_of
from lookbehind.auditor.evidence import Pair
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.precision import wide
from lookbehind.auditor.subject import CANNOT_RUN, Subject
from lookbehind.pattern import Pattern

Bools = NDArray[np.bool_]

_PATIENCE = 15.0  # seconds of sweeps in one precision, unless the audit is to be thorough
_LOGITS = 512 << 20  # bytes of logits in one call
_FLOOR = 1e-14  # in float64, less than this is rounding
_ALONE = 6  # cuts that are tried in calls of one sequence as well


@dataclass(frozen=True)
class Change:
    """One change to one sequence.

    Token `cut` alone ("single"), every token from `cut` on ("suffix"), or every token from there on one and
    the same ("constant"), which moves loads, statistics and rankings the furthest. Tokens are random; but the
    first of several is by turns also the one before the cut again, and each that bounds or fills a text.
    """

    seed: int
    kind: str
    cut: int

    def apply(self, subject: Subject, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens, changed tokens), [1, n] both."""
        ids = subject.ids(self.seed, n)
        other = subject.others(ids, self.seed)
        if self.kind != "single":
            # In a large vocabulary random tokens are no copies, and special ones are never drawn.
            first = [int(other[0, self.cut]), int(ids[0, self.cut - 1]), *subject.marks]
            other[:, self.cut] = first[(self.seed + self.cut) % len(first)]
        changed = ids.clone()
        if self.kind == "constant":
            changed[:, self.cut :] = other[:, self.cut : self.cut + 1]
        else:
            stop = n if self.kind == "suffix" else self.cut + 1
            changed[:, self.cut : stop] = other[:, self.cut : stop]
        return ids, changed

    def pair(self, subject: Subject, n: int, rows: torch.Tensor | None = None) -> Pair:
        """Logits of both at the positions `rows`, from two calls of one shape."""
        ids, changed = self.apply(subject, n)
        base, other = subject.logits(ids)[0], subject.logits(changed)[0]
        return (base, other) if rows is None else (base[rows], other[rows])


@dataclass
class Sweep:
    """How far each output moved under each change: `apart`, [n] each, as shares of the largest output."""

    changes: list[Change]
    apart: list[torch.Tensor]

    def worst(self, forbidden: Bools) -> list[tuple[float, Change, int]]:
        """(share, change, position) of the greatest forbidden differences, single tokens before suffixes."""
        found: list[tuple[float, Change, int]] = []
        for change, apart in zip(self.changes, self.apart, strict=False):  # an interrupted one ends early
            kept = apart * torch.from_numpy(protected(change, forbidden))
            at = int(kept.argmax())
            if float(kept[at]) > 0:
                found.append((float(kept[at]), change, at))
        return sorted(found, key=lambda one: -one[0])


def protected(change: Change, forbidden: Bools) -> Bools:
    """The outputs that a change must leave alone: bool [n]."""
    if change.kind == "single":
        return forbidden[:, change.cut].copy()
    return np.asarray(forbidden[:, change.cut :].all(axis=1))


def closure(mask: Bools, layers: int | None = None) -> Bools:
    """What `layers` layers of one pattern reach together: the mask (and the residual stream) composed so
    often.

    None composes until nothing more is reached.
    """
    one = mask | np.eye(len(mask), dtype=np.bool_)
    reach = one
    for _ in range(len(mask) if layers is None else layers - 1):
        further = (reach.astype(np.float32) @ one.astype(np.float32)) > 0
        if (further == reach).all():
            break
        reach = further
    return reach


def forbidden_pairs(expect: Pattern, n: int) -> Bools:
    """Pairs (i, j), j > i, that no number of layers of the expected pattern connects: bool [n, n]."""
    reach = closure(expect.spans(n).mask())
    return ~reach & np.triu(np.ones((n, n), dtype=np.bool_), 1)


def sweep(
    subject: Subject,
    plan: Plan,
    seed: int,
    kind: str,
    cuts: Sequence[int] | None = None,
    alone: bool = False,
    among: list[Sweep] | None = None,
) -> Sweep:
    """Every change of one kind to one sequence, as rows of few calls; one row a call if `alone`.

    It joins those `among` which it is as it begins, so that an interrupt leaves what it had found there.
    """
    n = plan.length
    starts = cuts if cuts is not None else (0, *plan.cuts) if kind == "single" else plan.cuts
    changes = [Change(seed, kind, cut) for cut in starts]
    ids = subject.ids(seed, n)
    rows = 1 if alone else _rows(subject, plan)
    together = plan.rows_independent and rows > 1
    found = Sweep(changes, [])
    if among is not None:
        among.append(found)
    base = None
    if not (together and plan.rows_equal):
        base = subject.logits(ids.expand(rows if together else 1, n))
    size = max(1, (rows - 1 if plan.rows_equal else rows) if together else 1)
    for start in range(0, len(changes), size):
        part = changes[start : start + size]
        changed = torch.cat([change.apply(subject, n)[1] for change in part])
        if together and len(changed) < size and base is not None:
            # As many rows as the base had: another number of rows would be another shape.
            changed = torch.cat([changed, ids.expand(size - len(changed), n)])
        if base is None:
            logits = subject.logits(torch.cat([ids, changed]))
            first, others = logits[:1], logits[1:]
        else:
            first, others = base, subject.logits(changed)
        scale = scale_of(first[0])
        found.apart += [
            distance(first[row if base is not None and len(first) > 1 else 0], others[row]) / scale
            for row in range(len(part))
        ]
        plan.tell(f"{kind} tokens changed, seed {seed}", min(start + size, len(changes)), len(changes))
    return found


def _rows(subject: Subject, plan: Plan) -> int:
    """Rows a call: bounded by the batch, and by what their logits take."""
    size = plan.length * subject.vocab * (8 if subject.dtype == torch.float64 else 4)
    return max(2, min(plan.batch, plan.length + 1, _LOGITS // max(size, 1)))


def jobs(plan: Plan) -> list[tuple[int, str]]:
    """(seed, kind), the most telling first: two that are always run, and the rest as time allows."""
    first = [(plan.seeds[-1], "suffix"), (plan.seeds[0], "single")]
    every = [(seed, kind) for kind in ("constant", "single", "suffix") for seed in plan.seeds]
    return list(dict.fromkeys([*first, *every]))


def sweeps(subject: Subject, plan: Plan, precision: str) -> tuple[list[Sweep], str | None]:
    """All sweeps in one precision ("own" or "float64"), and in words what was left out for time.

    Kept in the plan, so that rules share them.
    """
    key = f"sweeps:{precision}"
    if key in plan.shared:
        return plan.shared[key]
    around: AbstractContextManager[None] = wide(subject) if precision == "float64" else nullcontext()
    done: list[Sweep] = []
    plan.shared[f"begun:{precision}"] = done
    left: list[str] = []
    # Where the model's own dtype took long, float64 takes twice as long: one sweep changes every suffix.
    heavy = precision == "float64" and plan.shared.get("sweeps:own", (None, None))[1] is not None
    least = 1 if heavy else 2
    with around:
        began = time.perf_counter()
        for count, (seed, kind) in enumerate(jobs(plan)):
            spent = time.perf_counter() - began
            if count >= least and not plan.thorough and spent + spent / count > _PATIENCE:
                left.append(f"{kind} tokens of seed {seed}")
                continue
            sweep(subject, plan, seed, kind, among=done)
            if plan.rows_independent and kind != "single":
                # A few by themselves: what a batch averages, one sequence alone may show.
                some = plan.cuts[:: max(1, len(plan.cuts) // _ALONE)]
                sweep(subject, plan, seed, kind, some, alone=True, among=done)
    named = "float64" if precision == "float64" else "its own dtype"
    told = f"for time, in {named}: {', '.join(left)} (a thorough audit tries them)" if left else None
    plan.shared[key] = done, told
    return plan.shared[key]


def reach(subject: Subject, plan: Plan) -> Bools:
    """Which single tokens changed which outputs, in any seed: bool [n, n], in float64 where it runs."""
    some, floor = list[Sweep](), _FLOOR
    with suppress(*CANNOT_RUN):
        some = sweeps(subject, plan, "float64")[0]
    if not _has_singles(some):
        some, floor = sweeps(subject, plan, "own")[0], plan.shared.get("noise", 0.0)
    return _moved(some, floor, plan.length) > 0


def influence_map(plan: Plan) -> NDArray[np.float64] | None:
    """How far each single token moved each output in the sweeps that were run, the most of any seed: [n, n].

    Row i, column j: the output at i under another token at j, as a share of the largest output; 0 where it
    moved no further than rounding may. None if not every token was changed alone.
    """
    for precision, floor in (("float64", _FLOOR), ("own", plan.shared.get("noise", 0.0))):
        some: list[Sweep] = plan.shared.get(f"sweeps:{precision}", ([], None))[0]
        if plan.complete and _has_singles(some):
            return _moved(some, floor, plan.length)
    return None


def _has_singles(some: Sequence[Sweep]) -> bool:
    return any(change.kind == "single" for one in some for change in one.changes)


def _moved(some: Sequence[Sweep], floor: float, n: int) -> NDArray[np.float64]:
    found = np.zeros((n, n))
    for one in some:
        for change, row in zip(one.changes, one.apart, strict=True):
            if change.kind == "single":
                apart = row.double().numpy()
                found[:, change.cut] = np.fmax(found[:, change.cut], np.where(apart > floor, apart, 0.0))
    return found


def signal(subject: Subject, plan: Plan) -> tuple[int, int]:
    """(pairs j < i at which influence was seen, pairs at which it could have been).

    None counts as seen where the model's own dtype shows none at all: a leak would be rounded away as well.
    """
    own = _moved(sweeps(subject, plan, "own")[0], plan.shared.get("noise", 0.0), plan.length)
    seen = np.tril(reach(subject, plan), -1) & bool(np.tril(own, -1).any())
    tried = np.zeros_like(seen)
    tried[:, [0, *plan.cuts]] = True
    reachable = closure(plan.expect.spans(plan.length).mask(), subject.n_layers)
    allowed = np.tril(tried & reachable, -1)
    return int((seen & allowed).sum()), int(allowed.sum())
