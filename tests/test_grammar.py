import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lookbehind as lb
from lookbehind.pattern import And, Or
from tests import dense


@given(dense.patterns)
def test_what_repr_writes_is_read_back(pattern):
    assert lb.parse(repr(pattern)) == pattern


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("causal", lb.Causal()),
        ("  causal&window( 4 )", lb.Causal() & lb.Window(4)),
        ("causal | first(1) & full", lb.Causal() | (lb.First(1) & lb.Full())),
        ("~causal & full", ~lb.Causal() & lb.Full()),
        ("~~causal", ~~lb.Causal()),
        ("documents(3,4, 5)", lb.Documents([3, 4, 5])),
        ("diagonal(-1)", lb.Diagonal(-1)),
        ("((causal))", lb.Causal()),
        ("window(1000000000000000000)", lb.Window(10**18)),
        ("diagonal(-1000000000000000000)", lb.Diagonal(-(10**18))),
    ],
)
def test_texts(text, pattern):
    assert lb.parse(text) == pattern


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "a pattern is needed, such as 'causal & window(4)', but the text is empty"),
        ("   ", 4, "the text is empty"),
        ("causal & (windw(4) | first(1))", 11, "'windw' is no pattern; did you mean 'window'?"),
        ("zebra", 1, "the patterns are causal, full, window(size), first(count)"),
        ("causal &", 9, "the text ends where a pattern was expected"),
        ("causal causal", 8, "'&', '|' or the end was expected, not 'causal'"),
        ("causal )", 8, "not ')'"),
        ("(causal", 8, "')' was expected"),
        ("window", 7, "'(' was expected: it is written window(size)"),
        ("window()", 8, "a whole number was expected: it is written window(size)"),
        ("window(4, 5)", 9, "one number is enough: it is written window(size)"),
        ("window(0)", 1, "window size: a whole number of at least 1 is needed; got 0"),
        ("causal & first(-2)", 10, "first count: a whole number of at least 0 is needed; got -2"),
        ("window(2.5)", 9, "')' was expected, not '.'"),
        ("window(99999999999999999999)", 8, "a number of 20 digits is too large"),
        ("causal(3)", 7, "'&', '|' or the end was expected, not '('"),
        ("documents(1,)", 13, "a whole number was expected"),
        ("causal and full", 8, "not 'and'"),
        ("__import__('os')", 1, "'__import__' is no pattern"),
        ("(" * 5000 + "causal" + ")" * 5000, 51, "more than 50 levels"),
        ("~" * 5000 + "causal", 51, "more than 50 levels"),
    ],
)
def test_errors_point_at_the_column(text, column, words):
    with pytest.raises(lb.PatternError) as caught:
        lb.parse(text)
    first, shown, arrow = str(caught.value).split("\n")
    assert first.startswith(f"pattern: column {column}: ")
    assert words in first
    # The arrow stands under the column of the text shown.
    assert arrow[-1] == "^"
    assert shown[len(arrow) - 1 : len(arrow)] == text[column - 1 : column]


@given(st.text(alphabet="causlfwindo()&|~ 0123-,\n\t\x1b\u202e", max_size=30))
def test_any_text_is_a_pattern_or_one_clear_error(text):
    try:
        assert lb.parse(repr(lb.parse(text))) == lb.parse(text)
    except lb.PatternError as error:
        assert str(error).count("\n") == 2
        assert all(part.isprintable() for part in str(error).split("\n"))


def test_thousands_of_terms_are_read_at_once():
    began = time.perf_counter()
    for sign, kind in (("|", Or), ("&", And)):
        assert lb.parse(sign.join(["window(3)"] * 20_000)) == kind((lb.Window(3),) * 20_000)
    assert time.perf_counter() - began < 8  # 20 s where each term copies those before it


def nested(levels, step):
    pattern = lb.Causal()
    for _ in range(levels - 1):
        pattern = step(pattern)
    return pattern


@pytest.mark.parametrize(
    ("step", "most"),
    [
        (lambda p: ~p, 50),
        (lambda p: (p | lb.First(1)) & lb.Window(9), 50),
        (lambda p: ~(p & lb.Window(9)), 25),
        (lambda p: p & lb.Window(9) | lb.First(1), 50),
    ],
)
def test_a_pattern_nests_as_deep_as_its_text_may(step, most):
    deepest = nested(most, step)
    assert lb.parse(repr(deepest)) == deepest
    assert lb.parse(repr(deepest)).spans(5) == deepest.spans(5)
    with pytest.raises(lb.PatternError, match=r"^pattern: more than 50 levels of .*; write a flatter"):
        nested(5000, step)


def test_what_is_no_text_is_refused():
    with pytest.raises(lb.PatternError, match="a text is needed, such as 'causal & window\\(4\\)'; got 4"):
        lb.parse(4)  # type: ignore[arg-type]
