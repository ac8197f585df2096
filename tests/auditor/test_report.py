import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from lookbehind.auditor import rules
from lookbehind.auditor.junit import junit
from lookbehind.auditor.report import Culprit, Outcome, Report
from lookbehind.auditor.report_text import lines
from lookbehind.auditor.sarif import sarif
from lookbehind.errors import InputError

FAIL = Outcome(
    "LB101", "fail", "the output at 3 changes with the token at 4",
    0.25, (3, 4), 7, 1e-13, "float64", "sdpa",
    Culprit("blocks.1.attn", "Attention", "my/model.py", 12), "import torch\nprint(1)",
    ("smallest: 5 tokens",),
)  # fmt: skip
REPORT = Report(
    "MyDecoder",
    (
        FAIL, Outcome("LB102", "pass", "equal"), Outcome("LB201", "undecided", "near"),
        Outcome("LB203", "not covered", "none"),
    ),
    "float32", "sdpa", 24, True, ("window=99, not crossed",), 1.25, {"torch": "2"},
)  # fmt: skip


def test_the_text_fits_a_narrow_terminal():
    versions = {"torch": "2.13.0+cpu", "transformers": "5.23.0", "lookbehind": "0.1.0"}
    report = replace(REPORT, versions=versions)
    told = ["".join(part for part, _ in line) for line in lines(report, 72)]
    assert max(map(len, told)) <= 72
    wide = " ".join("".join(part for part, _ in line) for line in lines(report))
    assert " ".join(told).split() == wide.split()


def test_the_text_is_readable():
    assert str(REPORT).splitlines() == [
        "MyDecoder: fail   float32, sdpa, n = 24, every pair, torch 2",
        "",
        "LB101  future-leak       fail           the output at 3 changes with the token at 4",
        "          greatest difference 0.25 of the largest output, at (i, j) = (3, 4), 7 bad, "
        "noise floor 1e-13,",
        "          float64, sdpa",
        "          culprit: blocks.1.attn (Attention, my/model.py:12)",
        "          smallest: 5 tokens",
        "              import torch",
        "              print(1)",
        "LB102  length-dependence pass           equal",
        "LB201  cache-step        undecided      near",
        "LB203  static-cache      not covered    none",
        "",
        "4 rules: 1 failed, 1 undecided, 1 passed, 1 not covered. 1.2 s.",
        "Not covered: window=99, not crossed.",
        "What a rule means: lookbehind audit --explain LB101",
    ]
    assert "\n1 rule: 1 failed. 1.2 s.\n" in str(replace(REPORT, outcomes=(FAIL,)))


def test_junit_counts_and_never_passes_the_undecided():
    suite = ElementTree.fromstring(junit(REPORT))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert [[child.tag for child in case] for case in suite] == [["failure"], [], ["error"], ["skipped"]]
    assert "culprit: blocks.1.attn" in suite[0][0].text


def test_sarif_points_at_the_line():
    run = sarif(REPORT)["runs"][0]
    assert [(one["ruleId"], one["level"]) for one in run["results"]] == [
        ("LB101", "error"),
        ("LB201", "warning"),
    ]
    assert run["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "my/model.py"},
        "region": {"startLine": 12},
    }
    assert run["tool"]["driver"]["rules"][run["results"][1]["ruleIndex"]]["id"] == "LB201"


def test_the_report_answers_and_is_data():
    assert REPORT.verdict == "fail"
    assert [o.rule for o in REPORT] == [o.rule for o in REPORT.outcomes]
    assert [o.rule for o in REPORT.covered] == ["LB101", "LB102"]
    assert [o.rule for o in REPORT.not_covered] == ["LB201", "LB203"]
    assert json.loads(json.dumps(REPORT.to_dict()))["outcomes"][0]["pair"] == [3, 4]
    with pytest.raises(KeyError, match="LB999: this report holds LB101, LB102"):
        REPORT["LB999"]
    assert (
        Report("m", (Outcome("LB201", "undecided", ""), Outcome("LB101", "pass", ""))).verdict == "undecided"
    )


def test_nothing_makes_up_for_a_future_leak_that_was_not_looked_for():
    outcomes = (Outcome("LB101", "not covered", ""), Outcome("LB303", "pass", ""))
    assert Report("m", outcomes).verdict == "not covered"
    assert Report("m", outcomes[1:]).verdict == "pass"


def test_every_rule_has_a_page_and_a_module():
    assert [code for _, own in rules.MODULES for code in own] == list(rules.RULES)
    for code, rule in rules.RULES.items():
        page = rules.explain(code)
        assert page.startswith(f"{code} {rule.name}\n\nClaim: {rule.claim}.")
        assert "Usual causes" in page or "A finding" in page
        # A paragraph is one line; the terminal breaks it where it is wide enough.
        assert all(part and "\n" not in part for part in page.rstrip("\n").split("\n\n"))
    assert rules.explain("future-leak") == rules.explain("lb101")
    with pytest.raises(InputError, match="there is no 'LB9'"):
        rules.explain("LB9")


def test_rules_are_chosen_by_code_name_or_beginning():
    assert rules.chosen(["LB2"], None) == ("LB201", "LB202", "LB203", "LB204")
    assert rules.chosen(["future-leak", "lb303"], None) == ("LB101", "LB303")
    assert "LB101" not in rules.chosen(None, ["LB1"])
