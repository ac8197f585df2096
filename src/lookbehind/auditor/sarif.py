"""SARIF: findings at the line of the module that causes them, for code scanning."""

from __future__ import annotations

from typing import Any

import lookbehind
from lookbehind.auditor.report import Outcome, Report
from lookbehind.auditor.report_text import measures
from lookbehind.auditor.rules import RULES

_LEVELS = {"fail": "error", "undecided": "warning"}


def sarif(report: Report) -> dict[str, Any]:
    """The report as SARIF 2.1.0: a result per failed or undecided rule."""
    shown = [outcome for outcome in report.outcomes if outcome.verdict in _LEVELS]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "lookbehind",
                        "version": lookbehind.__version__,
                        "rules": [
                            {
                                "id": rule.code,
                                "name": rule.name,
                                "shortDescription": {"text": rule.claim},
                                "fullDescription": {"text": rule.page.strip()},
                            }
                            for rule in RULES.values()
                        ],
                    }
                },
                "invocations": [{"executionSuccessful": not report.interrupted}],
                "results": [_result(report, outcome) for outcome in shown],
            }
        ],
    }


def _result(report: Report, outcome: Outcome) -> dict[str, Any]:
    told = measures(outcome)
    message = f"{report.model}: {outcome.reason}" + (f" ({told})" if told else "")
    result: dict[str, Any] = {
        "ruleId": outcome.rule,
        "ruleIndex": list(RULES).index(outcome.rule),
        "level": _LEVELS[outcome.verdict],
        "message": {"text": message},
        "partialFingerprints": {"model/rule": f"{report.model}/{outcome.rule}"},
    }
    culprit = outcome.culprit
    if culprit is not None:
        location: dict[str, Any] = {
            "logicalLocations": [{"fullyQualifiedName": culprit.path or report.model, "kind": "object"}]
        }
        if culprit.file and culprit.line:
            location["physicalLocation"] = {
                "artifactLocation": {"uri": culprit.file.replace("\\", "/")},
                "region": {"startLine": culprit.line},
            }
        result["locations"] = [location]
    return result
