import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.grammar import parse
from lookbehind.pattern import Diagonal
from lookbehind.reasons import complement, keys_in, meaning, reasons, spelled, why
from tests.dense import allowed, patterns


@pytest.mark.parametrize(
    ("text", "query", "key", "words"),
    [
        ("causal", 3, 4, "k4 comes after q3"),
        ("causal", 3, 3, "k3 lies at or before q3"),
        ("causal & window(2)", 3, 0, "k0 is outside the window of 2"),
        ("causal & window(2)", 3, 2, "k2 lies at or before q3 and is inside the window of 2"),
        ("causal & documents(3, 5)", 3, 1, "k1 lies in another document"),
        ("causal & chunk(2)", 3, 1, "k1 lies in another chunk of 2"),
        ("causal | first(2)", 0, 1, "k1 is among the first 2 keys"),
        ("causal | first(2)", 0, 3, "k3 comes after q0 and is not among the first 2 keys"),
        ("causal & (window(2) | first(1))", 3, 1, "k1 is outside the window of 2 and not the first key"),
        ("causal & ~first(2)", 3, 1, "k1 is among the first 2 keys, which ~first(2) leaves out"),
        ("diagonal(1)", 3, 0, "k0 is not 1 position before q3"),
        ("diagonal(0)", 3, 0, "k0 is not at q3"),
        ("~full", 3, 0, "k0 is left out: ~full takes no key"),
        ("full", 3, 0, "k0 is a key"),
    ],
)
def test_why(text, query, key, words):
    assert str(why(parse(text), query, key, 8)) == words


def test_one_reason_for_all_the_keys_that_share_it():
    found = reasons(parse("window(2)"), 3, ((0, 2), (5, 8)), 8)
    assert [str(reason) for reason in found] == ["k0, k1 and k5…k7 are outside the window of 2"]


def test_each_part_is_asked_once_however_many_keys_there_are(monkeypatch):
    asked = []
    spans = Diagonal.spans
    monkeypatch.setattr(Diagonal, "spans", lambda self, *size: asked.append(self) or spans(self, *size))
    strided = parse(" | ".join(f"diagonal({8 * step})" for step in range(100)))
    forbidden = tuple((8 * step + 1, 8 * step + 8) for step in range(100))
    (reason,) = reasons(strided, 800, forbidden, 801)
    assert len(keys_in(reason.keys)) == 700
    assert sorted(part.distance for part in asked) == [8 * step for step in range(100)]


@given(patterns, st.integers(0, 11), st.integers(1, 12))
def test_every_forbidden_key_has_exactly_one_reason(pattern, query, n_keys):
    forbidden = [key for key in range(n_keys) if not allowed(pattern, query, key)]
    intervals = tuple((key, key + 1) for key in forbidden)
    found = [key for reason in reasons(pattern, query, intervals, n_keys) for key in keys_in(reason.keys)]
    assert sorted(found) == forbidden


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("window(1)", "less than 1 position away"),
        (
            "causal & (window(4) | first(1))",
            "at or before its own position and (less than 4 positions away or the first key)",
        ),
        ("documents(2, 2)", "in its own document"),
        ("~(causal & chunk(4))", "not (at or before its own position and in its own chunk of 4 positions)"),
        ("diagonal(-2)", "2 positions after its own"),
        ("full", "at every position"),
    ],
)
def test_meaning(text, words):
    assert meaning(parse(text)) == words


def test_intervals_in_words():
    assert spelled([(0, 4), (877, 901)]) == "k0…k3, k877…k900"
    assert spelled([(0, 2)], last=" and ") == "k0 and k1"
    assert spelled([]) == ""
    assert complement(((1, 3),), 5) == ((0, 1), (3, 5))
