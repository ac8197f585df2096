import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.errors import InputError
from lookbehind.grammar import parse
from lookbehind.naming import identify, recognise
from lookbehind.spans import Spans
from tests.dense import lengths, masks, patterns

# Every name that the module's docstring promises, at a length where no simpler one fits.
NAMES = [
    "causal",
    "full",
    "~full",
    "~causal",
    "~causal | diagonal(0)",
    "diagonal(0)",
    "diagonal(1)",
    "diagonal(-2)",
    "causal & window(4)",
    "window(4)",
    "first(3)",
    "causal | first(3)",
    "causal & ~diagonal(0)",
    "causal & ~first(2)",
    "~first(2)",
    "causal & first(7)",
    "causal & ~first(2) & first(8)",
    "~first(2) & first(8)",
    "causal & chunk(4)",
    "chunk(4)",
    "causal & documents(3, 4, 5)",
    "documents(3, 4, 5)",
    "causal & (window(2) | first(2))",
    "window(2) | first(2)",
    "window(1) | first(5)",
    "causal | window(2)",
    "causal & ~window(3)",
    "causal & window(3) & chunk(5)",
    "causal & window(3) & documents(5, 7)",
    "causal & window(3) & ~first(2)",
    "causal & window(3) & first(9)",
    "causal & chunk(4) & ~first(2)",
    "causal & documents(5, 7) & ~first(2)",
    "(causal | first(4)) & ~first(2)",
    "causal & (window(3) | first(4)) & ~first(1)",
    "~diagonal(2)",
    "~window(2)",
]


@pytest.mark.parametrize("text", NAMES)
def test_a_named_pattern_is_named(text):
    assert str(recognise(parse(text).spans(12))) == text


@pytest.mark.parametrize(
    ("text", "n_queries", "n_keys", "name"),
    [
        ("causal & window(4)", 3, 3, "causal"),
        ("full", 1, 9, "causal"),  # one decode step reads all there is
        ("causal & window(4)", 1, 9, "causal & window(4)"),
        ("causal & window(4)", 5, 9, "causal & window(4)"),
        ("causal", 0, 0, "causal"),
        ("documents(4, 4)", 8, 8, "chunk(4)"),
        ("causal & ~causal", 5, 5, "~full"),
        ("chunk(1)", 5, 5, "diagonal(0)"),
    ],
)
def test_of_several_names_the_simplest_is_taken(text, n_queries, n_keys, name):
    assert str(recognise(parse(text).spans(n_queries, n_keys))) == name


@given(patterns, lengths)
def test_a_name_is_never_wrong(pattern, size):
    spans = pattern.spans(*size)
    found = recognise(spans)
    assert found is None or found.spans(*size) == spans


@given(st.integers(0, 2**32 - 1))
def test_noise_has_no_name(seed):
    noise = np.random.default_rng(seed).random((12, 12)) < 0.5
    assert recognise(Spans.from_mask(noise)) is None


@given(masks())
def test_any_mask_is_named_rightly_or_not_at_all(mask):
    found = identify(mask)
    assert found is None or np.array_equal(found.spans(*mask.shape).mask(), mask)


def test_one_wrong_cell_in_a_long_triangle_is_seen():
    mask = np.tri(300, dtype=bool)
    mask[137, 211] = True
    assert identify(mask) is None


@pytest.mark.parametrize(
    "text",
    ["causal", "causal & (window(4096) | first(4))", "causal & window(512) & chunk(8192)", "~window(7)"],
)
def test_long_spans_are_named_at_once(text):
    spans = parse(text).spans(131_072)
    began = time.perf_counter()
    assert str(recognise(spans)) == text
    assert time.perf_counter() - began < 3


def test_long_spans_without_a_name_are_given_up_at_once():
    spans = parse("causal & window(5) | diagonal(100)").spans(131_072)
    began = time.perf_counter()
    assert recognise(spans) is None
    assert time.perf_counter() - began < 5


# -- identify ------------------------------------------------------------------------------------------------


def softmax(mask):
    weights = np.exp(np.random.default_rng(0).normal(size=mask.shape)) * mask
    total = weights.sum(1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


@pytest.mark.parametrize("text", NAMES)
def test_a_heatmap_is_named_by_weights_scores_and_mask(text):
    mask = parse(text).spans(12).mask()
    scores = np.where(mask, np.random.default_rng(1).normal(size=mask.shape) - 5, -np.inf)
    for heatmap in (mask, mask.astype(int), softmax(mask), softmax(mask).tolist(), scores):
        assert str(identify(heatmap)) == text


@pytest.mark.parametrize("never", [-np.inf, np.finfo(np.float32).min, -1e4, np.nan])
def test_additive_masks_spell_never_in_several_ways(never):
    assert str(identify([[0.0, never, never], [0.0, -0.5, never], [0.0, 0.0, 0.0]])) == "causal"


def test_torch_tensors_of_any_type():
    import torch

    triangle = torch.tril(torch.ones(6, 6))
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool):
        assert str(identify(triangle.to(dtype))) == "causal"
    assert str(identify(triangle.clone().requires_grad_())) == "causal"
    low = torch.full((6, 6), torch.finfo(torch.bfloat16).min, dtype=torch.bfloat16).triu(1)
    assert str(identify(low)) == "causal"


@pytest.mark.parametrize(
    ("heatmap", "words"),
    [
        (np.ones((1, 1, 4, 4)), r"got shape \[1, 1, 4, 4\]; pass one head's, as in weights\[0, 0\]"),
        ([1.0, 2.0], r"one heatmap \[n_queries, n_keys\] is needed; got shape \[2\]$"),
        ([[1, 2], [3]], "rows of one length are needed"),
        ([["a", "b"]], "a heatmap of bools or real numbers is needed"),
        ([[1j]], "real numbers is needed; got complex128"),
        ([[np.inf, 0.0]], r"\+inf is neither a weight nor a score"),
        (None, r"got shape \[\]"),
    ],
)
def test_what_is_no_heatmap_is_refused_in_words(heatmap, words):
    with pytest.raises(InputError, match=words):
        identify(heatmap)


def test_the_lesson_and_the_quiz_start_without_torch():
    code = (
        "import lookbehind.naming, lookbehind.lesson, lookbehind.quiz, sys;"
        "print({'torch', 'transformers'} & {*sys.modules})"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    )
