"""JUnit: a report as the XML that continuous integration shows, a test case per rule."""

from __future__ import annotations

from xml.etree import ElementTree

from lookbehind.auditor.report import Report
from lookbehind.auditor.report_text import measures
from lookbehind.auditor.rules import RULES


def junit(report: Report) -> str:
    """The report as JUnit XML. An undecided rule is an error: never a pass."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"lookbehind audit {report.model}",
        tests=str(len(report.outcomes)),
        failures=str(sum(outcome.failed for outcome in report.outcomes)),
        errors=str(sum(outcome.verdict == "undecided" for outcome in report.outcomes)),
        skipped=str(sum(o.verdict in ("not covered", "not applicable") for o in report.outcomes)),
        time=f"{report.seconds:.3f}",
    )
    for outcome in report.outcomes:
        name = f"{outcome.rule} {RULES[outcome.rule].name}"
        case = ElementTree.SubElement(suite, "testcase", classname=report.model, name=name)
        if outcome.verdict == "pass":
            continue
        tag = {"fail": "failure", "undecided": "error"}.get(outcome.verdict, "skipped")
        entry = ElementTree.SubElement(case, tag, message=f"{outcome.verdict}: {outcome.reason}")
        lines = [
            measures(outcome),
            f"culprit: {outcome.culprit}" if outcome.culprit else "",
            outcome.reproducer or "",
        ]
        entry.text = "\n".join(line for line in lines if line) or None
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
