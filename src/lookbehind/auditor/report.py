"""Reports: what each rule came to, and why. Plain data; `report_text`, `junit` and `sarif` write it out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "fail", "undecided", "not covered", "not applicable"]
_ORDER: tuple[Verdict, ...] = ("fail", "undecided", "pass", "not covered", "not applicable")


@dataclass(frozen=True)
class Culprit:
    """The innermost module whose inputs are clean and whose output is not, and where it is written."""

    path: str
    class_name: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = f", {self.file}:{self.line}" if self.file else ""
        return f"{self.path or '(the model itself)'} ({self.class_name}{where})"


@dataclass(frozen=True)
class Outcome:
    """What one rule came to.

    Args:
        rule: its code, "LB101".
        verdict: "pass", "fail", "undecided", "not covered" or "not applicable".
        reason: why, in one line.
        difference: the greatest difference seen, as a share of the largest output.
        pair: (i, j): the output at i changed when the input at j did; of LB102, when it and all after it
            were left out. None where no single token is named.
        n_bad: how many pairs (or positions) are bad.
        noise: the noise floor it was held against, as a share of the largest output.
        dtype: in which dtype the difference was seen, where it is not the model's own.
        backend: the attention implementation it was seen with.
        culprit: the module that does it.
        reproducer: about six lines that show it by themselves.
        detail: more lines for a person: what was covered, further places.
    """

    rule: str
    verdict: Verdict
    reason: str
    difference: float | None = None
    pair: tuple[int, int] | None = None
    n_bad: int = 0
    noise: float | None = None
    dtype: str | None = None
    backend: str | None = None
    culprit: Culprit | None = None
    reproducer: str | None = None
    detail: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it is a finding."""
        return self.verdict == "fail"


@dataclass(frozen=True)
class Report:
    """What an audit found, covered and did not cover; `str()` is the readable report.

    `influence` is set where every single token was changed: row i, column j is how far the output at i moved
    with the token at j, as a share of the largest output; 0 where it did not. `interrupted` is set where
    Ctrl-C ended the audit before every rule was decided.
    """

    model: str
    outcomes: tuple[Outcome, ...]
    dtype: str | None = None
    backend: str | None = None
    length: int | None = None
    complete: bool = True
    coverage: tuple[str, ...] = ()
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict[str, str])
    influence: tuple[tuple[float, ...], ...] | None = None
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """ "fail" if a rule failed, else "undecided" if one is; "not covered" where nothing could run.

        No other rule makes up for LB101: where it was asked for and could not run, the audit did not pass.
        Nor did one that was interrupted.
        """
        found = {outcome.verdict for outcome in self.outcomes}
        lacking = any(o.rule == "LB101" and o.verdict == "not covered" for o in self.outcomes)
        if lacking or self.interrupted:
            found.discard("pass")
        for verdict in _ORDER:
            if verdict in found:
                return verdict
        return "not covered"

    @property
    def findings(self) -> tuple[Outcome, ...]:
        """The rules that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.failed)

    @property
    def covered(self) -> tuple[Outcome, ...]:
        """The rules that were decided, one way or the other."""
        return tuple(o for o in self.outcomes if o.verdict in ("pass", "fail"))

    @property
    def not_covered(self) -> tuple[Outcome, ...]:
        """The rules that could not be decided, with their reasons."""
        return tuple(o for o in self.outcomes if o.verdict in ("not covered", "undecided"))

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __getitem__(self, rule: str) -> Outcome:
        for outcome in self.outcomes:
            if outcome.rule == rule:
                return outcome
        raise KeyError(f"{rule}: this report holds {', '.join(o.rule for o in self.outcomes) or 'no rule'}")

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "model": self.model,
            "verdict": self.verdict,
            "dtype": self.dtype,
            "backend": self.backend,
            "length": self.length,
            "complete": self.complete,
            "interrupted": self.interrupted,
            "coverage": list(self.coverage),
            "seconds": round(self.seconds, 3),
            "versions": self.versions,
            "influence": None if self.influence is None else [list(row) for row in self.influence],
            "outcomes": [
                {
                    **asdict(outcome),
                    "pair": None if outcome.pair is None else list(outcome.pair),
                    "detail": list(outcome.detail),
                }
                for outcome in self.outcomes
            ],
        }

    def __str__(self) -> str:
        from lookbehind.auditor.report_text import text

        return text(self)
