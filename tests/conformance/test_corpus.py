import json

import pytest

import lookbehind as lb
from tests.conformance import write

CASES = json.loads(write.PATH.read_text(encoding="utf-8"))


def test_corpus_is_present_and_whole():
    assert len(CASES) == len(write.TEXTS) * len(write.LENGTHS) >= 200
    assert write.cases() == CASES, "patterns.json is stale: run python -m tests.conformance.write"


@pytest.mark.parametrize("text", write.TEXTS)
def test_the_spans_are_those_of_the_corpus(text):
    mine = [case for case in CASES if case["pattern"] == text]
    assert len(mine) == len(write.LENGTHS)
    for case in mine:
        spans = lb.parse(text).spans(case["n_queries"], case["n_keys"], case["offset"])
        assert [spans.keys(row) for row in range(spans.n_queries)] == case["rows"], case
        assert repr(lb.parse(text)) == text
