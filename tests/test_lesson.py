import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given

from lookbehind.errors import InputError, PatternError
from lookbehind.grammar import parse
from lookbehind.lesson import Lesson, explain
from lookbehind.pattern import Causal, Window
from lookbehind.spans import Spans
from tests.conformance import write
from tests.dense import lengths, patterns

CORPUS = json.loads(write.PATH.read_text(encoding="utf-8"))


@given(patterns, lengths)
def test_the_products_are_the_pairs_and_the_rest_is_their_complement(pattern, size):
    spans = pattern.spans(*size)
    lesson = Lesson(spans, pattern)
    rows = list(lesson.rows())
    pairs = [(row.query - spans.offset, key) for row in rows for key in row.keys]
    assert pairs == list(spans.pairs())
    assert lesson.computed == len(pairs)
    assert lesson.computed + lesson.forbidden == spans.n_queries * spans.n_keys
    for row in rows:
        listed = row.to_dict()
        assert sorted(listed["computed"] + listed["forbidden"]) == list(range(spans.n_keys))
        assert row.count == len(row.keys)
        # Every forbidden key has one reason, and no other key has any.
        reasoned = [key for reason in listed["reasons"] for key in reason["keys"]]
        assert sorted(reasoned) == listed["forbidden"]
    json.dumps(lesson.to_dict())
    assert str(lesson)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["pattern"])
def test_the_lesson_of_the_corpus(case):
    pattern = parse(case["pattern"])
    lesson = Lesson(pattern.spans(case["n_queries"], case["n_keys"], case["offset"]), pattern)
    assert [row.keys for row in lesson.rows()] == case["rows"]


def test_the_example_of_the_issue():
    assert explain(6).row(3).products() == "q3·k0 q3·k1 q3·k2 q3·k3"
    assert explain(6).sums() == "1 + 2 + 3 + 4 + 5 + 6 = n(n + 1)/2 = 6·7/2 = 21"


@pytest.mark.parametrize(
    ("n", "pattern", "query", "computed", "sums"),
    [
        (1, "causal", 0, 1, "1"),
        (4, "window(2)", 0, 10, "2 + 3 + 3 + 2 = 10"),
        (12, "full", 3, 144, "12 + 12 + 12 + … + 12 = 144"),
        (12, "causal", 3, 78, "1 + 2 + 3 + … + 12 = n(n + 1)/2 = 12·13/2 = 78"),
    ],
)
def test_counts(n, pattern, query, computed, sums):
    lesson = explain(n, pattern)
    assert (lesson.computed, lesson.sums()) == (computed, sums)
    assert query is None or lesson.row(query).query == query


def test_a_decode_step_is_called_by_its_position():
    lesson = explain("a b c d e", "causal & window(3)", queries=1)
    (row,) = lesson.rows()
    assert (row.query, row.token, row.keys) == (4, "e", [2, 3, 4])
    assert [str(reason) for reason in row.reasons] == ["k0 and k1 are outside the window of 3"]
    with pytest.raises(InputError, match="query 0: there are 1 queries; they are q4 to q4"):
        lesson.row(0)


def test_long_rows_turn_to_intervals_but_are_listed_in_full():
    row = explain(1000, "causal & (window(24) | first(4))").row(900)
    assert row.products() == "k0…k3, k877…k900  (28 products)"
    assert row.to_dict()["computed"] == [*range(4), *range(877, 901)]
    assert row.products(short=28).startswith("q900·k0 q900·k1")


def test_what_kernels_waste():
    costs = explain(256, "causal & window(64)").costs()
    assert costs["dense"] == {
        "products": 65536,
        "wasted": pytest.approx(1 - (64 * 65 // 2 + 192 * 64) / 65536),
    }
    tiles = costs["tiles"]
    assert (tiles["visited"], tiles["total"], tiles["products"]) == (7, 16, 7 * 64 * 64)


def test_a_text_is_split_as_asked():
    assert explain("the cat sat").tokens == ("the", "cat", "sat")
    assert explain("abc", split=list).tokens == ("a", "b", "c")
    assert explain(["x", "y"], Causal() & Window(1)).row(1).token == "y"


def test_a_lesson_as_json():
    told = explain("a b", "causal").to_dict()
    assert told["queries"][0] == {
        "query": 0,
        "token": "a",
        "computed": [0],
        "forbidden": [1],
        "reasons": [{"keys": [1], "reason": "k1 comes after q0"}],
    }
    assert (told["pattern"], told["computed"], told["forbidden"]) == ("causal", 3, 1)
    assert [row["query"] for row in explain(5000).to_dict([4999])["queries"]] == [4999]


def test_a_lesson_as_text():
    text = str(explain(3, "causal & window(2)"))
    assert "Query i reads the keys at or before its own position and less than 2 positions away." in text
    assert "· ■ ■" in text and "q2: q2·k1 q2·k2" in text and "never    4" in text
    assert str(explain(500)).count("\nq") == 8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: explain(-1), "at least 1 token is needed to have a product; got -1"),
        (lambda: explain(10_000_000), "10,000,000 tokens are too many for a lesson"),
        (lambda: explain(4, queries=5), "queries: a whole number of at most 4 is needed; got 5"),
        (lambda: explain(4, queries=0), "queries: a whole number of at least 1 is needed; got 0"),
        (lambda: explain(4, queries="2"), "queries: a whole number is needed; got '2'"),
        (lambda: explain(None), "a text, a list of tokens, a number of tokens or a tape is needed; got None"),
        (lambda: explain("a b", split=3), "split: a function from a text to tokens is needed; got 3"),
        (lambda: explain(3).row(3), "query 3: there are 3 queries; they are q0 to q2"),
        (lambda: explain(0), "explain: at least 1 token is needed to have a product; got 0"),
        (lambda: explain(3000).to_dict(), r"9,000,000 products to list, more than 4,000,000; .*--query"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_a_bad_pattern_points_at_its_column():
    with pytest.raises(PatternError, match="column 10"):
        explain(3, "causal & windw(3)")
    with pytest.raises(PatternError, match="documents: the lengths add up to 3 positions, but 5"):
        explain(5, "documents(1, 2)")


# -- with a tape ---------------------------------------------------------------------------------------------


class FakeTape:
    """As much of a tape as a lesson asks for."""

    def __init__(self, spans, tokens):
        self.spans, self.tokens = spans, tokens
        self.layers = [SimpleNamespace(q=np.zeros((2, spans.n_queries, 4)), spans=spans)]
        self.raw = np.random.default_rng(0).normal(size=(spans.n_queries, spans.n_keys))

    def scores(self, layer, head, query):
        return np.where(self.spans.mask()[query], self.raw[query] + head, -np.inf)

    def weights(self, layer, head, query):
        weights = np.exp(self.scores(layer, head, query))
        return weights / weights.sum()


def test_a_tape_brings_its_tokens_scores_and_weights():
    tape = FakeTape((Causal() & Window(2)).spans(4), list("abcd"))
    lesson = explain(tape, head=1)
    row = lesson.row(3)
    assert (str(lesson.pattern), row.token, row.keys) == ("causal & window(2)", "d", [2, 3])
    assert row.scores == pytest.approx(tape.raw[3, 2:] + 1)
    assert sum(row.weights) == pytest.approx(1)
    told = lesson.to_dict()
    assert (told["layer"], told["head"], len(told["queries"][3]["weights"])) == (0, 1, 2)
    assert explain(tape, layer=-1, head=-1).to_dict() == told


def test_a_tape_without_a_named_pattern_still_explains():
    mask = np.tri(5, dtype=bool)
    mask[3, 1] = False
    lesson = explain(FakeTape(Spans.from_mask(mask), None))
    assert lesson.pattern is None
    assert "no pattern with a name" in lesson.says()
    assert [str(reason) for reason in lesson.row(3).reasons] == ["k1 and k4 are not allowed by the mask"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pattern": "causal"}, "a tape knows its pattern and its queries"),
        ({"layer": 1}, "layer 1: there are 1, 0 to 0"),
        ({"head": 2}, "head 2: there are 2, 0 to 1"),
    ],
)
def test_a_tape_is_asked_for_what_it_has(options, words):
    with pytest.raises(InputError, match=words):
        explain(FakeTape(Causal().spans(3), None), **options)
