"""The table: every row, every finding with its class, every gap with its reason."""

import json
from pathlib import Path

import pytest

from census.table import CLASSES, MARKS, findings, in_a_word, markdown, write

DOCS = Path(__file__).parent.parent.parent / "docs"
VERDICTS = Path(__file__).parent.parent.parent / "census" / "verdicts.json"
VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0"}
LEAK = {
    "verdict": "fail",
    "reason": "the output at 3 changed with token 5",
    "difference": 0.5,
    "pair": [3, 5],
    "culprit": {"path": "model.mix", "class_name": "Mix", "file": "transformers/mix.py", "line": 7},
}
ROWS = [
    {
        "name": "GoodForCausalLM",
        "built": True,
        "reason": None,
        "backends": {
            "eager": {
                "reason": None,
                "rules": {
                    "LB101": {"verdict": "pass"},
                    "LB104": {"verdict": "not applicable", "reason": "no window"},
                },
            },
            "sdpa": {"reason": "GoodForCausalLM does not offer sdpa", "rules": {}},
        },
    },
    {
        "name": "BadForCausalLM",
        "built": True,
        "reason": None,
        "backends": {
            "eager": {
                "reason": None,
                "rules": {"LB101": LEAK, "LB301": {"verdict": "undecided", "reason": "noise"}},
            },
            "sdpa": {"reason": None, "rules": {"LB101": {"verdict": "pass"}, "LB301": LEAK}},
        },
    },
    {"name": "OddForCausalLM", "built": False, "reason": "needs a package", "backends": {}},
]
JUDGED = [
    {
        "architectures": ["BadForCausalLM"],
        "rules": ["LB101"],
        "class": "library",
        "title": "Looks ahead",
        "where": "mix.py:7",
        "reason": "It mixes.",
    }
]


def test_cells_show_both_back_ends_and_one_mark_where_they_agree():
    text = markdown(ROWS, VERSIONS, JUDGED)
    good = next(line for line in text.splitlines() if line.startswith("| GoodForCausalLM"))
    bad = next(line for line in text.splitlines() if line.startswith("| BadForCausalLM"))
    assert good.split(" | ")[1:5] == ["✓", "·", "·", "–"]
    assert bad.split(" | ")[1] == "✗ ✓"
    assert "? ✗" in bad


def test_findings_are_classed_with_the_line_and_the_reason():
    text = markdown(ROWS, VERSIONS, JUDGED)
    assert "### Faults in the library" in text
    assert "**Looks ahead** (`mix.py:7`). It mixes." in text
    told = "BadForCausalLM: LB101 (eager); up to 0.5 of the largest output; pair (3, 5); in `model.mix` (Mix)"
    assert f"- {told}" in text
    assert "### Not classed yet" in text
    assert "- LB301 BadForCausalLM (sdpa): the output at 3 changed with token 5" in text


def test_an_entry_may_name_a_line_an_architecture():
    text = markdown(ROWS, VERSIONS, [{**JUDGED[0], "where": {"BadForCausalLM": "bad.py:3"}}])
    assert "**Looks ahead**. It mixes." in text
    assert "in `model.mix` (Mix); `bad.py:3`" in text


def test_mended_mistakes_stay_on_record():
    mended = {**JUDGED[0], "class": "mended", "rules": [], "title": "Sines"}
    text = markdown(ROWS, VERSIONS, [*JUDGED, mended])
    assert "since mended" in text
    assert "**Sines** (BadForCausalLM). It mixes." in text


def test_gaps_have_reasons():
    text = markdown(ROWS, VERSIONS, JUDGED)
    assert "- OddForCausalLM: needs a package" in text
    assert "- sdpa not covered: the class does not offer sdpa (1: GoodForCausalLM)" in text
    assert "- LB301 undecided: noise (1: BadForCausalLM)" in text


def test_counts():
    text = markdown(ROWS, VERSIONS, JUDGED)
    assert "**3** architectures, **2** built, **2** audited" in text
    assert "**1** have no finding, **1** have at least one" in text
    assert in_a_word(ROWS[1]) == "2 fail, 1 undecided, 1 pass, LB101, LB301"


def test_write_says_what_nobody_has_classed(tmp_path):
    verdicts = tmp_path / "verdicts.json"
    verdicts.write_text(json.dumps(JUDGED), encoding="utf-8")
    assert write(ROWS, VERSIONS, tmp_path / "docs", verdicts) == ["BadForCausalLM LB301 sdpa"]
    assert json.loads((tmp_path / "docs" / "census.json").read_text(encoding="utf-8"))["versions"] == VERSIONS


@pytest.fixture(scope="module")
def committed():
    return json.loads((DOCS / "census.json").read_text(encoding="utf-8"))


def test_the_committed_table_is_written_from_the_committed_facts(committed):
    judged = json.loads(VERDICTS.read_text(encoding="utf-8"))
    text = markdown(committed["architectures"], committed["versions"], judged)
    assert (DOCS / "census.md").read_text(encoding="utf-8") == text


def test_at_least_170_architectures_were_audited(committed):
    audited = [
        row for row in committed["architectures"] if any(told["rules"] for told in row["backends"].values())
    ]
    assert len(audited) >= 170
    for row in committed["architectures"]:
        assert row["built"] or row["reason"]
        for told in row["backends"].values():
            assert told["reason"] or told["rules"]
            for outcome in told["rules"].values():
                assert outcome["verdict"] in MARKS
                assert outcome["verdict"] == "pass" or outcome["reason"]


def test_every_committed_finding_has_its_class_and_every_class_its_finding(committed):
    judged = json.loads(VERDICTS.read_text(encoding="utf-8"))
    found = {(name, rule) for name, rule, _, _ in findings(committed["architectures"])}
    named = {(name, rule) for entry in judged for name in entry["architectures"] for rule in entry["rules"]}
    assert found - named == set()
    for entry in judged:
        assert entry["class"] in CLASSES
        assert entry["reason"]
        if entry["class"] == "mended":
            continue
        assert found & {(name, rule) for name in entry["architectures"] for rule in entry["rules"]}, entry[
            "title"
        ]
        assert all(
            any((name, rule) in found for rule in entry["rules"]) for name in entry["architectures"]
        ), entry["title"]


def test_no_path_of_a_machine_is_in_it(committed):
    text = json.dumps(committed)
    assert "/home/" not in text
    assert "site-packages" not in text
