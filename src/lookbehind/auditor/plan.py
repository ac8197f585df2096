"""Plan: what an audit tries: lengths, cuts, seeds, batch; and what it has found so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookbehind.auditor.report import Outcome
from lookbehind.auditor.state import LIGHT
from lookbehind.auditor.subject import Subject
from lookbehind.pattern import Causal, Pattern

Progress = Callable[[str, int, int], None]

# Config entries that name a length at which something inside the model turns: each is crossed.
_PERIODS = (
    "sliding_window",
    "attention_chunk_size",
    "chunk_size",
    "mamba_chunk_size",
    "block_size",
    "local_attention_window",
    "local_window_size",
    "window_size",
    "attention_window_size",
    "window",
    "index_topk",  # how many keys are selected: fewer are not selected from
    "keep_window_size",
    "original_max_position_embeddings",
)
_ORIGIN = "model = ...  # the model audited here"
RANDOM = "it draws random numbers in eval mode (dropout left on?): calls of two shapes draw different ones"
_SMALL = 64  # up to here an audit is complete: every pair; of light models twice as far
_LENGTH = 24  # unless a period is longer


@dataclass
class Plan:
    """What to try.

    Args:
        expect: the pattern that influence may follow.
        declared: whether the user gave it.
        length: n, the length of the sequences.
        complete: whether every pair (i, j) is tried; else `cuts` says where.
        cuts: positions t at which the future is changed, ascending, 1 ... n - 1.
        periods: config entries that name an internal length, with it.
        seeds: one sequence, and one change to it, each.
        batch: most rows in one call.
        random: whether the model draws random numbers in eval mode; calls are seeded, so that calls of one
            shape draw the same.
        rows_independent: whether perturbed copies may share a batch; found out before the rules run.
        light: whether the model is small enough to try more where more is cheap.
        thorough: also run float64 on everything where it costs much.
        found: outcomes so far, by rule.
        kept: what rules that are not done have found, should they be interrupted.
        notes: what was not covered, in words.
        interrupted: whether Ctrl-C ended it before every rule was decided.
        origin: Python that makes the model, for reproducers.
        shared: what rules leave for one another.
    """

    expect: Pattern
    declared: bool
    length: int
    complete: bool
    cuts: tuple[int, ...]
    periods: dict[str, int]
    seeds: tuple[int, ...] = (0, 1, 2)
    batch: int = 64
    random: bool = False
    rows_independent: bool = True
    rows_equal: bool = True
    light: bool = True
    thorough: bool = False
    progress: Progress | None = None
    found: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    kept: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    interrupted: bool = False
    origin: str = _ORIGIN
    notes: list[str] = field(default_factory=list[str])
    shared: dict[str, Any] = field(default_factory=dict[str, Any])

    def tell(self, what: str, done: int, total: int) -> None:
        """Reports progress, where somebody listens."""
        if self.progress is not None:
            self.progress(what, done, total)

    def keep(self, outcome: Outcome) -> None:
        """What is left of a rule, should it be interrupted; a finding stays, whatever comes after it."""
        if outcome.rule not in self.kept or not self.kept[outcome.rule].failed:
            self.kept[outcome.rule] = outcome

    def keep_difference(
        self,
        rule: str,
        told: str,
        size: float,
        pair: tuple[int, int] | None,
        precision: str,
        subject: Subject,
    ) -> None:
        """Keeps a difference, seen in "own" or "float64", that there was no time to tell from rounding."""
        if size > 0:
            dtype = precision if precision == "float64" else str(subject.dtype).removeprefix("torch.")
            reason = f"{told}, which is not yet told from rounding"
            found = Outcome(rule, "undecided", reason, size, pair, dtype=dtype, backend=subject.backend)
            self.keep(found)

    def failed(self, *rules: str) -> str | None:
        """The first of these rules that failed, if any did: what follows from it need not be found again."""
        return next((rule for rule in rules if rule in self.found and self.found[rule].failed), None)


def make_plan(
    subject: Subject,
    *,
    expect: Pattern | None = None,
    length: int | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    batch: int = 64,
    sample: int | None = None,
    progress: Progress | None = None,
    thorough: bool = False,
    origin: str | None = None,
) -> Plan:
    """The plan for one model: a length beyond its internal periods, and the cuts near them."""
    found = periods(subject)
    _, most = longest(subject)
    notes: list[str] = []
    if length is None:
        length = _LENGTH
        for value in sorted(found.values()):
            if length < 2 * value + 3 <= 512:
                length = 2 * value + 3
        if most is not None and length > most:
            length = most
    size = subject.size
    if sample is None:
        sample = _SMALL if size > LIGHT else 2 * _SMALL
    complete = length <= sample
    for name, value in found.items():
        if value >= length:
            way = "shrink it in the config"
            if most is None or value + 8 <= most:
                way = f"give a length of {value + 8}, or {way}"
            notes.append(f"{name}={value}, not crossed at n = {length}: {way}")
    cuts = tuple(range(1, length)) if complete else _sampled(length, found, sample)
    if not complete:
        count = f"{length - 1 - len(cuts)} of {length - 1} cuts"
        notes.append(f"{count}; tried were the ends, near every period, and evenly between")
    pattern = expect if expect is not None else Causal()
    pattern.spans(length)  # one that fits no such length is refused before anything is tried
    return Plan(
        pattern,
        expect is not None,
        length,
        complete,
        cuts,
        found,
        tuple(seeds),
        batch,
        light=size <= LIGHT,
        thorough=thorough,
        progress=progress,
        notes=notes,
        origin=origin or _ORIGIN,
    )


def periods(subject: Subject) -> dict[str, int]:
    """Lengths inside the model at which something turns, by their names in the config."""
    found: dict[str, int] = {}
    config = subject.config
    ropes = _ropes(config)
    for source in (config, *ropes):
        names = (*_PERIODS, "max_position_embeddings") if source is config and _dynamic(ropes) else _PERIODS
        for name in names:
            value: Any = source.get(name) if isinstance(source, dict) else getattr(source, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value > 1:
                found[name] = value
    if getattr(config, "use_sliding_window", True) is False:
        found.pop("sliding_window", None)
    if not found and subject.module is not None and not subject.is_hf:
        # Models without a config keep their lengths in their parts.
        for part in subject.module.modules():
            for name in _PERIODS:
                value = part.__dict__.get(name)
                if isinstance(value, int) and not isinstance(value, bool) and value > 1:
                    found[name] = max(value, found.get(name, 0))
    return found


def _ropes(config: Any) -> list[dict[str, Any]]:
    """What the config says of rotary frequencies: one dict, or one for each kind of layer within it."""
    given: Any = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if not isinstance(given, dict):
        return []
    return [given, *(one for one in given.values() if isinstance(one, dict))]


def _dynamic(ropes: Sequence[dict[str, Any]]) -> bool:
    """Whether frequencies are scaled by the length of the call, once it is beyond the positions trained."""
    return any("dynamic" in str(one.get("rope_type", one.get("type"))) for one in ropes)


def longest(subject: Subject) -> tuple[str, int | None]:
    """The longest sequence that the config speaks of, after its entry; not each model refuses more."""
    if _dynamic(_ropes(subject.config)):
        return "", None
    for name in (
        "n_positions",
        "max_position_embeddings",
        "n_ctx",
        "max_seq_len",
        "block_size",
        "context_length",
    ):
        value = getattr(subject.config, name, None)
        if isinstance(value, int) and value > 1:
            return name, value
    return "", None


def _sampled(length: int, found: dict[str, int], count: int) -> tuple[int, ...]:
    near = {1, 2, length // 2, length - 2, length - 1}
    for value in found.values():
        for multiple in range(value, length, value):
            if len(near) >= 2 * count:
                break
            near.update((multiple - 1, multiple, multiple + 1))
    step = max(1, length // max(1, count - len(near)))
    near.update(range(step, length, step))
    return tuple(sorted(cut for cut in near if 0 < cut < length))
