"""Report text: a report as lines that a person reads, each a list of (text, style)."""

from __future__ import annotations

import textwrap
from collections import Counter

from lookbehind.auditor.report import Outcome, Report
from lookbehind.auditor.rules import RULES

Line = list[tuple[str, str]]

_WIDTH = 110
_LEAST = 60
_INDENT = " " * 10
_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "undecided": "yellow",
    "not covered": "dim",
    "not applicable": "dim",
}


def text(report: Report) -> str:
    """The report as plain text."""
    return "\n".join("".join(part for part, _ in line).rstrip() for line in lines(report))


def lines(report: Report, width: int = _WIDTH) -> list[Line]:
    """The report line by line, of at most so many characters where words allow; styles are rich's."""
    width = max(min(width, _WIDTH), _LEAST)
    found: list[Line] = [*_head(report, width), []]
    for outcome in report.outcomes:
        found += _outcome(outcome, width)
    found += [[], *_tail(report, width)]
    return found


def measures(outcome: Outcome) -> str:
    """The numbers of an outcome in one line; empty where there are none."""
    parts: list[str] = []
    if outcome.difference is not None and (outcome.difference > 0 or outcome.failed):
        parts.append(f"greatest difference {outcome.difference:.2g} of the largest output")
    if outcome.pair is not None and outcome.failed:
        parts.append(f"at (i, j) = ({outcome.pair[0]}, {outcome.pair[1]})")
    if outcome.n_bad > 1:
        parts.append(f"{outcome.n_bad:,} bad")
    if outcome.noise is not None and parts:
        parts.append(f"noise floor {outcome.noise:.2g}")
    if parts and outcome.dtype:
        parts.append(outcome.dtype)
    if parts and outcome.backend:
        parts.append(outcome.backend)
    return ", ".join(parts)


def _head(report: Report, width: int) -> list[Line]:
    facts = [report.dtype, report.backend]
    if report.length is not None:
        facts.append(f"n = {report.length}, {'every pair' if report.complete else 'sampled'}")
    facts += [f"{name} {version}" for name, version in report.versions.items()]
    line: Line = [(report.model, "bold"), (": ", ""), (report.verdict, _STYLES[report.verdict])]
    told = ", ".join(fact for fact in facts if fact)
    if not told:
        return [line]
    if sum(len(part) for part, _ in line) + 3 + len(told) <= width:
        return [[*line, (f"   {told}", "dim")]]
    return [line, *_wrapped(told, width, "  ", "dim")]


def _wrapped(told: str, width: int, indent: str, style: str) -> list[Line]:
    lines = textwrap.wrap(told, width - len(indent), break_long_words=False, break_on_hyphens=False)
    return [[(indent + one, style)] for one in lines]


def _outcome(outcome: Outcome, width: int) -> list[Line]:
    style = _STYLES[outcome.verdict]
    head: Line = [
        (f"{outcome.rule}  ", "bold" if outcome.failed else ""),
        (f"{RULES[outcome.rule].name:<18}", ""),
        (f"{outcome.verdict:<15}", style),
    ]
    indent = 7 + 18 + 15
    first, *rest = textwrap.wrap(outcome.reason, width - indent, break_long_words=False) or [""]
    quiet = "" if outcome.verdict in ("fail", "undecided") else "dim"
    found: list[Line] = [[*head, (first, quiet)], *([(" " * indent + one, quiet)] for one in rest)]
    if outcome.failed or outcome.verdict == "undecided":
        told = measures(outcome)
        if told:
            found += _wrapped(told, width, _INDENT, "")
        if outcome.culprit is not None:
            found.append([(f"{_INDENT}culprit: ", ""), (str(outcome.culprit), "bold")])
        for one in outcome.detail:
            found += _wrapped(one, width, _INDENT, "dim")
        if outcome.reproducer:
            found += [[(f"{_INDENT}    {one}", "cyan")] for one in outcome.reproducer.splitlines()]
    return found


def _tail(report: Report, width: int) -> list[Line]:
    count = Counter(outcome.verdict for outcome in report.outcomes)
    order = ("fail", "undecided", "pass", "not covered", "not applicable")
    names = {"fail": "failed", "pass": "passed"}
    told = ", ".join(f"{count[verdict]} {names.get(verdict, verdict)}" for verdict in order if count[verdict])
    rules = "1 rule" if len(report.outcomes) == 1 else f"{len(report.outcomes)} rules"
    found: list[Line] = [[(f"{rules}: {told}. {report.seconds:.1f} s.", "")]]
    for note in report.coverage:
        wrapped = textwrap.wrap(f"Not covered: {note}.", width, subsequent_indent="  ")
        found += [[(one, "dim")] for one in wrapped]
    if report.findings:
        code = report.findings[0].rule
        found.append([(f"What a rule means: lookbehind audit --explain {code}", "dim")])
    return found
