"""The native engine against the reference, on every instruction set and calls of any shape."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.grammar import parse
from lookbehind.pattern import Causal, Full
from lookbehind.spans import Spans
from tests.engines.cases import EVERYTHING, TOLERANCE, Case, cases, error, tensors
from tests.engines.native.sets import DTYPES, FINE, POOLS, each_set, on
from tests.engines.test_torch import check_top_keys

WIDTHS = (1, 7, 16, 33, 64, 80, 128)
LOGARITHMS = ("entropy", "max_score")
calls = cases(dtypes=DTYPES, longest=777, widths=WIDTHS)
# At most 8 queries are decoded; the matrix unit takes 256 keys at a time, and 16 rows of queries.
decodings = cases(
    dtypes=DTYPES, longest=1500, widths=(32, 64, 96, 128, 160, 256), most_queries=8, largest_group=6
)


def check_attend(instructions: str, case: Case, fine: float) -> None:
    exact = case.double()
    expected = attend(exact.q, exact.k, exact.v, exact.pattern, **exact.options, engine="reference")
    with on(instructions):
        out, lse = attend(case.q, case.k, case.v, case.pattern, **case.options, engine="native")
        alone = logsumexp(case.q, case.k, case.pattern, **case.options, engine="native")
    assert out.dtype == case.q.dtype and lse.dtype == alone.dtype == torch.float32
    assert out.is_contiguous() and lse.is_contiguous() and alone.is_contiguous()
    assert error(out, expected[0], 0.1) < TOLERANCE[case.q.dtype]
    assert error(lse, expected[1]) < fine
    assert error(alone, expected[1]) < 1e-5


@each_set
@given(case=calls)
@settings(max_examples=50)
def test_attend_agrees_with_the_reference(instructions, case):
    check_attend(instructions, case, FINE[case.q.dtype])


@each_set
@given(case=decodings)
@settings(max_examples=50)
def test_decoding_agrees_with_the_reference(instructions, case):
    check_attend(instructions, case, 1e-5)


@each_set
@given(
    case=calls,
    of=st.sampled_from(["weight", "score"]),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
@settings(max_examples=40)
def test_every_reduction_agrees_with_the_reference(instructions, case, of, size):
    exact = case.double()
    lse = logsumexp(exact.q, exact.k, exact.pattern, **exact.options, engine="reference")
    wants = EVERYTHING | {"map": size, "map_reduce": POOLS, "map_of": of}
    expected = observe(exact.q, exact.k, lse, exact.pattern, **exact.options, **wants, engine="reference")
    with on(instructions):
        found = observe(case.q, case.k, lse, case.pattern, **case.options, **wants, engine="native")
    for name, value in tensors(expected).items():
        got = tensors(found)[name]
        assert got.dtype == (torch.int64 if name == "visible" else torch.float32), name
        least = 1.0 if name in LOGARITHMS or of == "score" else 1e-6
        if name == "map sum" and of == "score":
            least = max(1.0, expected.visible.sum().item())  # as many terms, which may cancel
        assert error(got, value, least) < FINE[case.q.dtype], name
    check_top_keys(case, found, expected)


@each_set
def test_every_pattern_of_the_corpus(instructions):
    corpus = json.loads((Path(__file__).parent.parent.parent / "conformance" / "patterns.json").read_text())
    assert len(corpus) > 200
    generator = torch.Generator().manual_seed(0)
    for one in corpus:
        spans = parse(one["pattern"]).spans(one["n_queries"], one["n_keys"], one["offset"])
        q = torch.randn(1, 2, one["n_queries"], 8, generator=generator)
        k, v = torch.randn(2, 1, 1, one["n_keys"], 8, generator=generator).unbind()
        with on(instructions):
            out, lse = attend(q, k, v, spans, engine="native")
        expected = attend(q.double(), k.double(), v.double(), spans, engine="reference")
        assert error(out, expected[0], 0.1) < 1e-5, one["pattern"]
        assert error(lse, expected[1]) < 1e-5, one["pattern"]
        for row, keys in enumerate(one["rows"]):
            if not keys:
                assert (out[:, :, row] == 0).all() and (lse[:, :, row] == -math.inf).all()


@each_set
@given(case=cases(dtypes=DTYPES, longest=24, widths=(4, 16)))
@settings(max_examples=10)
def test_spans_of_any_shape_with_many_keys_and_few_queries(instructions, case: Case):
    """Decoding: a handful of queries over many keys takes another way through the keys."""
    n_keys = 40 * case.k.shape[2]
    k = case.k.repeat(1, 1, 40, 1)
    q = case.q[:, :, : 1 + case.q.shape[2] % 4]
    dense = np.random.default_rng(n_keys).random((q.shape[2], n_keys)) < 0.7
    spans = Spans.from_mask(dense, case.options.pop("offset", None))
    expected = attend(q.double(), k.double(), k.double(), spans, **case.options, engine="reference")
    with on(instructions):
        out, lse = attend(q, k, k, spans, **case.options, engine="native")
    assert error(out, expected[0], 0.1) < TOLERANCE[q.dtype]
    assert error(lse, expected[1]) < FINE[q.dtype]


@pytest.mark.parametrize(
    "wants", [{name: value} for name, value in EVERYTHING.items()] + [{"map": (9, 4)}], ids=str
)
def test_one_reduction_alone_is_the_same_and_brings_no_other(wants):
    q, k = torch.randn(2, 4, 70, 8), torch.randn(2, 2, 81, 8)
    lse = logsumexp(q, k, Causal(), engine="native")
    alone = observe(q, k, lse, Causal(), **wants, engine="native")
    together = observe(q, k, lse, Causal(), **(EVERYTHING | {"map": (9, 4)}), engine="native")
    named = {name for name, value in vars(alone).items() if value is not None}
    asked = next(iter(wants))
    several = {"received": {"received", "visible"}, "top": {"top_weights", "top_keys"}, "map": {"maps"}}
    assert named == several.get(asked, {asked})
    for name, value in tensors(alone).items():
        torch.testing.assert_close(value, tensors(together)[name], equal_nan=True)


@pytest.mark.parametrize(
    "shape",
    [(0, 2, 5, 5), (1, 2, 0, 5), (1, 2, 5, 0), (1, 2, 1, 1), (3, 2, 1, 40)],
    ids=str,
)
def test_lengths_of_zero_and_one(shape):
    batch, heads, n_queries, n_keys = shape
    q, k = torch.randn(batch, heads, n_queries, 8), torch.randn(batch, 1, n_keys, 8)
    for pattern in (Causal(), Full()):
        found = attend(q, k, k, pattern, engine="native")
        expected = attend(q, k, k, pattern, engine="reference")
        assert error(found[0], expected[0]) < 1e-5 and error(found[1], expected[1]) < 1e-5
        if n_queries and n_keys:
            wants = EVERYTHING | {"map": (3, 3), "map_reduce": POOLS}
            seen = observe(q, k, found[1], pattern, **wants, engine="native")
            right = observe(q, k, found[1], pattern, **wants, engine="reference")
            for name, value in tensors(right).items():
                assert error(tensors(seen)[name], value, 1.0) < 1e-5, name
