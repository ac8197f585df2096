"""Table: a census as docs/census.md and docs/census.json, with what a person made of each finding."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lookbehind import disk

Row = dict[str, Any]
Finding = tuple[str, str, str, Row]  # architecture, rule, back end, outcome

MARKS = {"pass": "✓", "fail": "✗", "undecided": "?", "not covered": "·", "not applicable": "–"}
CLASSES = {
    "library": "Faults in the library",
    "design": "By design",
    "audit": "The audit's own mistakes, still open",
    "mended": "Mistakes of the audit or of the census, since mended",
}
_COLUMNS = {
    "LB101": "future leak",
    "LB102": "length dependence",
    "LB103": "pattern exceeded",
    "LB104": "window mismatch",
    "LB201": "cache, step by step",
    "LB202": "cache, in chunks",
    "LB203": "static cache",
    "LB204": "cache rolled back",
    "LB301": "left padding",
    "LB302": "right padding",
    "LB303": "batch neighbour",
    "LB401": "packed documents",
    "LB501": "back ends disagree",
}


def write(rows: Sequence[Row], versions: dict[str, str], folder: Path, verdicts: Path) -> list[str]:
    """Writes both files; returns the findings that nobody has classed yet."""
    judged = json.loads(verdicts.read_text(encoding="utf-8")) if verdicts.exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("census.json", _json(rows, versions)),
        ("census.md", markdown(rows, versions, judged)),
    ):
        with disk.whole(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
    return [
        f"{name} {rule} {backend}"
        for name, rule, backend, _ in findings(rows)
        if not _judge(judged, name, rule)
    ]


def _json(rows: Sequence[Row], versions: dict[str, str]) -> str:
    """One line an architecture: what changed from one release to the next is what a diff shows."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{{"versions": {json.dumps(versions)}, "architectures": [\n{lines}\n]}}\n'


def findings(rows: Iterable[Row]) -> list[Finding]:
    """(architecture, rule, back end, outcome) of every failed rule."""
    return [
        (row["name"], rule, backend, outcome)
        for row in rows
        for backend, told in row["backends"].items()
        for rule, outcome in told["rules"].items()
        if outcome["verdict"] == "fail"
    ]


def in_a_word(row: Row) -> str:
    """One row in one line, for a log."""
    if not row["built"]:
        return f"not built: {row['reason']}"
    counts: Counter[str] = Counter()
    failed: list[str] = []
    for told in row["backends"].values():
        for rule, outcome in told["rules"].items():
            counts[outcome["verdict"]] += 1
            if outcome["verdict"] == "fail" and rule not in failed:
                failed.append(rule)
    return (
        ", ".join([f"{count} {verdict}" for verdict, count in counts.most_common()] + failed) or "no rule ran"
    )


def markdown(rows: Sequence[Row], versions: dict[str, str], judged: Sequence[Row]) -> str:
    """The whole page."""
    built = [row for row in rows if row["built"]]
    audited = [row for row in built if any(told["rules"] for told in row["backends"].values())]
    failed = {name for name, *_ in findings(rows)}
    lines = [
        "# Census",
        "",
        f"Every decoder of transformers {versions['transformers']} (torch {versions['torch']}, CPU,",
        "float32), each from a tiny random configuration, audited by `make census`.",
        "The same for machines: [census.json](census.json).",
        "",
        f"**{len(rows)}** architectures, **{len(built)}** built, **{len(audited)}** audited",
        "under eager and, where offered, sdpa.",
        f"**{len(audited) - len(failed)}** have no finding, **{len(failed)}** have at least one;",
        "every finding was looked into by hand and is classed below.",
        "",
        "✓ no finding · ✗ finding · ? undecided · `·` not covered (reasons at the end) · – not applicable.",
        "Two marks are eager and sdpa, one is both.",
        "",
        *(f"- **{rule}** {what}" for rule, what in _COLUMNS.items()),
        "",
        *_table(built),
        "",
        *_findings(rows, judged),
        *_unbuilt(rows),
        *_uncovered(built),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    head = ["architecture", *(rule.removeprefix("LB") for rule in _COLUMNS)]
    lines = ["| " + " | ".join(head) + " |", "|---|" + ":-:|" * len(_COLUMNS)]
    for row in rows:
        cells = [_cell(row, rule) for rule in _COLUMNS]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return lines


def _cell(row: Row, rule: str) -> str:
    marks: list[str] = []
    for told in row["backends"].values():
        if told["rules"]:
            outcome = told["rules"].get(rule)
            if outcome is not None:
                marks.append(MARKS[outcome["verdict"]])
    if not marks:
        return MARKS["not covered"]
    return marks[0] if len(set(marks)) == 1 else " ".join(marks)


def _judge(judged: Sequence[Row], name: str, rule: str) -> Row | None:
    """The entry that covers a finding: one that names the architecture before one for all."""
    fitting = [entry for entry in judged if rule in entry["rules"]]
    own = [entry for entry in fitting if name in entry["architectures"]]
    return next(iter(own or [entry for entry in fitting if entry["architectures"] == ["*"]]), None)


def _findings(rows: Sequence[Row], judged: Sequence[Row]) -> list[str]:
    entries: dict[int, list[Finding]] = {}
    open_: list[Finding] = []
    for finding in findings(rows):
        entry = _judge(judged, finding[0], finding[1])
        if entry is None:
            open_.append(finding)
        else:
            entries.setdefault(list(judged).index(entry), []).append(finding)
    lines = ["## Findings", ""]
    for kind, title in CLASSES.items():
        own = [(entry, entries.get(at, [])) for at, entry in enumerate(judged) if entry["class"] == kind]
        own = [(entry, found) for entry, found in own if found or kind == "mended"]
        if own:
            lines += [f"### {title}", ""]
            for entry, found in own:
                lines += _entry(entry, found)
    if open_:
        lines += ["### Not classed yet", "", *_open(open_), ""]
    return lines


def _entry(entry: Row, found: Sequence[Finding]) -> list[str]:
    """What one entry of the verdicts says, and the architectures it covers, with a line of source each."""
    where = entry.get("where")
    at = f" (`{where}`)" if isinstance(where, str) else ""
    lines = where if isinstance(where, dict) else {}
    if not found:
        return [f"**{entry['title']}** ({', '.join(entry['architectures'])}). {entry['reason']}", ""]
    return [f"**{entry['title']}**{at}. {entry['reason']}", "", *_items(found, lines), ""]


def _items(found: Sequence[Finding], where: dict[str, str]) -> list[str]:
    """One line an architecture: its rules, back ends, greatest difference, module, and the line at fault."""
    own: dict[str, list[Finding]] = {}
    for finding in found:
        own.setdefault(finding[0], []).append(finding)
    lines: list[str] = []
    for name, findings_ in own.items():
        rules = " ".join(dict.fromkeys(rule for _, rule, _, _ in findings_))
        backends = ", ".join(dict.fromkeys(backend for _, _, backend, _ in findings_))
        worst = max(
            (outcome for *_, outcome in findings_), key=lambda outcome: outcome.get("difference") or 0.0
        )
        told = [f"- {name}: {rules} ({backends})", *_size(worst), *_module(name, worst)]
        lines.append("; ".join([*told, f"`{where[name]}`"] if name in where else told))
    return lines


def _size(outcome: Row) -> list[str]:
    difference, pair = outcome.get("difference"), outcome.get("pair")
    size = [] if difference is None else [f"up to {difference:.1g} of the largest output"]
    return size if pair is None else [*size, f"pair ({pair[0]}, {pair[1]})"]


def _module(name: str, outcome: Row) -> list[str]:
    culprit = outcome.get("culprit")
    return [] if not culprit else [f"in `{culprit['path'] or name}` ({culprit['class_name']})"]


def _open(found: Sequence[Finding]) -> list[str]:
    """What nobody has looked into, with the audit's own words."""
    return [f"- {rule} {name} ({backend}): {outcome['reason']}" for name, rule, backend, outcome in found]


def _unbuilt(rows: Sequence[Row]) -> list[str]:
    unbuilt = [row for row in rows if not row["built"]]
    if not unbuilt:
        return []
    return ["## Not built", "", *(f"- {row['name']}: {row['reason']}" for row in unbuilt), ""]


def _uncovered(rows: Sequence[Row]) -> list[str]:
    """What was not covered or not decided, by reason."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for backend, told in row["backends"].items():
            if told["reason"]:
                reason = _plain(told["reason"], row["name"])
                reasons.setdefault((backend, "not covered", reason), []).append(row["name"])
            for rule, outcome in told["rules"].items():
                if outcome["verdict"] not in ("pass", "fail"):
                    reason = _plain(outcome.get("reason", ""), row["name"])
                    names = reasons.setdefault((rule, outcome["verdict"], reason), [])
                    if row["name"] not in names:
                        names.append(row["name"])
    lines = ["## Not covered, not applicable, undecided", ""]
    for (what, verdict, reason), names in sorted(reasons.items()):
        lines.append(f"- {what} {verdict}: {reason} ({len(names)}: {_some(names)})")
    return lines


# What differs from class to class in reasons that are the same.
_NOISE = (
    (r"the class fails on \[\d+, \d+\] tokens: ", ""),
    (r"RecordError: [\w.]+: ", ""),
    (
        r"\w+ multiplies queries and keys itself.*",
        "it multiplies queries and keys itself, out of recording's sight",
    ),
    (r"refuses (\w+): ValueError.*?(;|$)", r"does not offer \1\2"),
)


def _plain(reason: str, name: str) -> str:
    """A reason without what is one class' own, so that classes with the same reason share a line."""
    for pattern, instead in ((re.escape(name), "the class"), *_NOISE):
        reason = re.sub(pattern, instead, reason)
    return reason


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else ", ".join(names[:10]) + f" and {len(names) - 10} more"
