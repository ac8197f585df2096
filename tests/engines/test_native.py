"""The native engine against the reference on every instruction set that runs here, and what it promises."""

import json
import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.engines import choose, native
from lookbehind.engines.problem import Problem
from lookbehind.errors import EngineError
from lookbehind.grammar import parse
from lookbehind.pattern import Causal, Chunk, Diagonal, First, Full, Window
from lookbehind.spans import Spans
from tests.engines.cases import TOLERANCE, Case, cases, error, tensors
from tests.engines.test_torch import check_top_keys

SETS = native.sets()[0]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Of lse and of weights. Products of half types are exact in float32, but bfloat16 has a coarser exponential.
FINE = {torch.float32: 1e-5, torch.float16: 1e-5, torch.bfloat16: 2e-4}
WIDTHS = (1, 7, 16, 33, 64, 80, 128)
EVERYTHING = {
    "received": True,
    "entropy": True,
    "top": 4,
    "max_score": True,
    "distance": True,
    "by_distance": True,
    "mass": {"sink": First(1), "previous": Diagonal(1), "near": Window(6), "all": Full()},
}
POOLS = ("mean", "max", "sum")
LOGARITHMS = ("entropy", "max_score")
STREAMING = Causal() & (Window(90) | First(3))

each_set = pytest.mark.parametrize("instructions", SETS)
calls = cases(dtypes=DTYPES, longest=777, widths=WIDTHS)
# At most 8 queries are decoded; the matrix unit takes 256 keys at a time, and 16 rows of queries.
decodings = cases(
    dtypes=DTYPES, longest=1500, widths=(32, 64, 96, 128, 160, 256), most_queries=8, largest_group=6
)


@contextmanager
def on(instructions: str, threads: int | None = None):
    """Calls run on this instruction set, and on so many threads."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "SET", instructions)
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def test_it_is_loaded_here():
    """A build that failed installs without it, in silence: that must not pass for a tested engine."""
    assert native.loaded() is None
    assert choose(Problem(*torch.zeros(3, 1, 1, 2, 4), Causal().spans(2), 1.0)).NAME == "native"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags below are x86's")
def test_every_set_that_this_machine_has_is_found():
    info = Path("/proc/cpuinfo")
    if not info.exists():
        pytest.skip("no /proc/cpuinfo here to compare with")
    flags = set(info.read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "f16c"}
    needed = {
        "amx": wide | {"avx512_bf16", "amx_tile", "amx_bf16"}
        if sys.platform == "linux"
        else {"no other system"},
        "avx512bf16": wide | {"avx512_bf16"},
        "avx512": wide,
        "avx2": {"avx2", "fma", "f16c"},
        "portable": set(),
    }
    assert [name for name in needed if needed[name] <= flags] == SETS
    assert native.sets()[1] == list(needed)


# -- right -------------------------------------------------------------------------------------------------


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
    corpus = json.loads((Path(__file__).parent.parent / "conformance" / "patterns.json").read_text())
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


@each_set
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_scores_are_not_less_exact_than_pytorchs(instructions, dtype):
    """Inputs scaled by 100: rounding of the scores decides, and everyone rounds. In the mean of 16 heads."""
    generator = torch.Generator().manual_seed(7)
    q, k, v = (100 * torch.randn(3, 1, 16, 200, 64, generator=generator)).to(dtype).unbind()
    exact, lse = attend(q.double(), k.double(), v.double(), Causal(), engine="reference")
    with on(instructions):
        out, found = attend(q, k, v, Causal(), engine="native")
    theirs = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    off = [(one.double() - exact).square().mean().sqrt().item() for one in (out, theirs)]
    assert off[0] <= 1.05 * off[1], off
    # A few times float32's own spacing at these sizes.
    assert (found - lse).abs().max() <= 8 * 2**-23 * lse.abs().max()


@each_set
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("where", ["q", "k", "v"])
@pytest.mark.parametrize("decodes", [False, True], ids=["many queries", "few queries"])
def test_infinities_and_nan_do_what_they_do_in_the_reference(instructions, dtype, where, decodes):
    generator = torch.Generator().manual_seed(1)
    n_queries, n_keys, width, at = (6, 300, 64, {"q": 0}.get(where, 230)) if decodes else (100, 100, 16, 40)
    patterns = [Causal(), STREAMING, Full()]
    if not decodes:
        patterns += [Causal() & Window(7), ~Causal(), Diagonal(0)]
    q = torch.randn(1, 2, n_queries, width, generator=generator).to(dtype)
    k, v = torch.randn(2, 1, 2, n_keys, width, generator=generator).to(dtype).unbind()
    inputs = {"q": q, "k": k, "v": v}
    # Where a finite score exceeds float32, float64 says nothing of what is right: large ones in v alone, with
    # room for the few more bits that sums not yet divided by their total take.
    large = min(torch.finfo(dtype).max / 8, 1e30)
    for place, odd in enumerate([math.inf, -math.inf, math.nan] + [large] * (where == "v")):
        inputs[where][:, 0, at + place, place] = odd
    for pattern in patterns:
        exact = {name: x.double() for name, x in inputs.items()}
        expected = attend(**exact, pattern=pattern, engine="reference")
        with on(instructions):
            out, lse = attend(**inputs, pattern=pattern, engine="native")
        assert not expected[0][:, 0].isfinite().all() and expected[0][:, 1].isfinite().all()
        # Finite ones are compared where none of them drowns the others.
        large = expected[0].isfinite() & (expected[0].abs() > 1e3)
        for drop in (large, ~large):
            got, right = out.double().masked_fill(drop, 0), expected[0].masked_fill(drop, 0)
            assert error(got, right) < TOLERANCE[dtype], pattern
        assert error(lse, expected[1]) < FINE[dtype], pattern


@each_set
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("odd", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize(("n_queries", "width"), [(300, 24), (8, 24), (8, 64)], ids=str)
def test_what_a_row_does_not_read_does_not_reach_it(instructions, dtype, odd, n_queries, width):
    """Not even as 0 * NaN: the same bits, whatever other keys, values and queries are."""
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(1, 2, n_queries, width, generator=generator).to(dtype)
    k, v = torch.randn(2, 1, 1, 300, width, generator=generator).to(dtype).unbind()
    spans = STREAMING.spans(n_queries, 300)
    with on(instructions):
        out, lse = attend(q, k, v, spans, engine="native")
    mask = torch.from_numpy(spans.mask())
    for poisoned in (7, 2, 206, 299):
        for whose in ("keys and values", "a query"):
            bad = [x.clone() for x in (q, k, v)]
            at = poisoned if whose == "keys and values" else poisoned % n_queries
            for x in bad[1:] if whose == "keys and values" else bad[:1]:
                x[:, :, at] = odd
            reads = mask[:, at] if whose == "keys and values" else torch.arange(n_queries) == at
            with on(instructions):
                found, found_lse = attend(*bad, spans, engine="native")
            assert torch.equal(found[:, :, ~reads], out[:, :, ~reads]), whose
            assert torch.equal(found_lse[:, :, ~reads], lse[:, :, ~reads]), whose
            assert not found[:, :, reads].isfinite().any(-1).any() or math.isinf(odd)


@each_set
@pytest.mark.parametrize("power", [-90, 90])
def test_queries_and_keys_of_any_size_give_products_of_one(instructions, power):
    """However far from 1 the elements are: q is large where k is small, and v is as large as k."""
    generator = torch.Generator().manual_seed(4)
    q, k, v = torch.randn(3, 1, 2, 90, 48, generator=generator).unbind()
    scaled = (q * 2.0**-power, k * 2.0**power, v * 2.0**power)
    expected, expected_lse = attend(q.double(), k.double(), v.double(), Causal(), engine="reference")
    with on(instructions):
        out, lse = attend(*scaled, Causal(), engine="native")
        seen = observe(*scaled[:2], lse, Causal(), received=True, top=1, engine="native")
    right = observe(q.double(), k.double(), expected_lse, Causal(), received=True, top=1, engine="reference")
    assert error(out * 2.0**-power, expected) < TOLERANCE[torch.float32]
    assert error(lse, expected_lse) < FINE[torch.float32]
    assert error(seen.received, right.received) < 90 * FINE[torch.float32]
    assert error(seen.top_weights, right.top_weights) < FINE[torch.float32]


@each_set
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [24, 64])
def test_a_scale_of_zero_weighs_what_is_read_alike(instructions, dtype, width):
    k, v = torch.randn(2, 1, 2, 301, width).to(dtype).unbind()
    for n_queries, pattern in [(1, Full()), (8, Causal()), (5, STREAMING), (20, Causal())]:
        q = torch.randn(1, 2, n_queries, width).to(dtype)
        with on(instructions):
            out, lse = attend(q, k, v, pattern, scale=0.0, engine="native")
        expected = attend(q, k, v, pattern, scale=0.0, engine="reference")
        assert error(out, expected[0], 0.1) < TOLERANCE[dtype] and error(lse, expected[1]) < 1e-5


@each_set
@pytest.mark.parametrize("slope", [-0.5, 0.5])
@pytest.mark.parametrize("width", [24, 64])
def test_a_bias_as_large_as_positions_does_not_round_what_it_weighs(instructions, slope, width):
    """A few queries whose weight lies where the bias is some ten thousand."""
    generator = torch.Generator().manual_seed(5)
    n_keys, slopes = 20_000, torch.tensor([slope])
    patterns = [Causal(), Causal() & ~Window(10_000), Full()]
    for dtype in DTYPES[:2]:
        q = torch.randn(1, 1, 8, width, generator=generator).to(dtype)
        k, v = torch.randn(2, 1, 1, n_keys, width, generator=generator).to(dtype).unbind()
        for pattern in patterns:
            for offset in (None, 5_000_000):
                call = {"pattern": pattern, "alibi": slopes, "offset": offset}
                expected = attend(q.double(), k.double(), v.double(), **call, engine="reference")
                with on(instructions):
                    out, lse = attend(q, k, v, **call, engine="native")
                assert error(out, expected[0], 0.1) < TOLERANCE[dtype], (pattern, offset)
                assert error(lse, expected[1]) < 1e-6, (pattern, offset)


@each_set
@pytest.mark.parametrize("top", [0, 1, 4])
def test_a_large_lse_does_not_round_the_largest_score(instructions, top):
    q, k = torch.randn(2, 1, 2, 100, 16).unbind()
    expected = observe(q, k, torch.zeros(1, 2, 100), Causal(), max_score=True, engine="reference")
    for sink in (1e4, 1e9):
        lse = logsumexp(q, k, Causal(), sinks=torch.tensor([sink, 0.0]), engine="native")
        with on(instructions):
            seen = observe(q, k, lse, Causal(), max_score=True, top=top, engine="native")
        assert error(seen.max_score, expected.max_score) < 1e-6


def test_a_sign_that_pytorch_puts_off_is_seen():
    """Tensors with the negative bit: their memory holds the opposite of what they are."""
    x = torch.randn(1, 1, 9, 1)
    seen = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert seen.is_neg() and torch.equal(seen, x)
    sinks = torch.complex(torch.zeros(1), torch.tensor([3.0])).conj().imag
    out, lse = attend(seen, seen, seen, Causal(), sinks=sinks, engine="native")
    expected = attend(x, x, x, Causal(), sinks=torch.tensor([-3.0]), engine="native")
    assert torch.equal(out, expected[0]) and torch.equal(lse, expected[1])
    negated = torch.complex(torch.zeros_like(lse), -lse).conj().imag
    received = [observe(x, x, one, Causal(), received=True).received for one in (lse, negated)]
    assert torch.equal(*received)


def test_tensors_are_made_where_the_problem_is():
    """Whatever device PyTorch makes tensors on where none is named."""
    q = torch.randn(1, 2, 40, 8)
    with torch.device("meta"):
        for engine in ("native", "torch"):
            out, lse = attend(q, q, q, Causal(), engine=engine)
            seen = observe(
                q, q, lse, Causal(), received=True, map=(7, 9), map_reduce=("max", "mean"), engine=engine
            )
            assert {x.device.type for x in (out, lse, seen.received, *seen.maps.values())} == {"cpu"}


def test_a_row_whose_lse_is_minus_infinity_weighs_nothing():
    q = torch.randn(1, 1, 6, 4)
    lse = logsumexp(q, q, Causal(), engine="native")
    lse[0, 0, 2] = -math.inf
    seen = observe(q, q, lse, Causal(), **EVERYTHING, map=(6, 6), engine="native")
    expected = observe(q, q, lse, Causal(), **EVERYTHING, map=(6, 6), engine="reference")
    for name, value in tensors(expected).items():
        assert error(tensors(seen)[name], value) < 1e-5, name


def test_tiny_weights_keep_their_keys():
    """A weight that underflows to 0 is still a computed product."""
    q, k = torch.full((1, 1, 1, 1), 200.0), torch.tensor([0.0, -1.0, -2.0]).view(1, 1, 3, 1)
    lse = logsumexp(q, k, Full(), scale=1.0, engine="native")
    seen = observe(q, k, lse, Full(), scale=1.0, top=4, engine="native")
    assert seen.top_weights.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]
    assert sorted(seen.top_keys.flatten().tolist()) == [-1, 0, 1, 2]


def test_expected_distance_does_not_cancel_far_from_zero():
    n = 20_000
    q, k = torch.randn(1, 1, 64, 8), torch.randn(1, 1, n, 8)
    pattern = Causal() & Window(2)
    lse = logsumexp(q, k, pattern, engine="native")
    seen = observe(q, k, lse, pattern, distance=True, mass={"previous": Diagonal(1)}, engine="native")
    torch.testing.assert_close(seen.distance, seen.mass["previous"], rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize("shape", [(0, 2, 5, 5), (1, 2, 0, 5), (1, 2, 5, 0)], ids=str)
def test_nothing_may_lie_anyhow(shape):
    """An empty tensor is contiguous to PyTorch, whatever its strides are."""
    batch, heads, n_queries, n_keys = shape
    q, k = torch.randn(batch, heads, n_queries, 16)[..., ::2], torch.randn(batch, 1, n_keys, 16)[..., ::2]
    out, lse = attend(q, k, k, Causal(), engine="native")
    assert out.shape == q.shape and (lse == -math.inf).all()
    strided = torch.zeros(*lse.shape, 2)[..., 0]
    seen = observe(q, k, strided, Causal(), received=True, entropy=True, engine="native")
    assert (seen.received == 0).all() and (seen.entropy == 0).all()


# -- the same bits -----------------------------------------------------------------------------------------


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


@each_set
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("n_queries", [1, 3, 500])
def test_results_do_not_depend_on_the_number_of_threads(instructions, dtype, n_queries):
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(2, 4, n_queries, 64, generator=generator).to(dtype)
    k, v = torch.randn(2, 2, 2, 900, 64, generator=generator).to(dtype).unbind()
    wants = EVERYTHING | {"map": (50, 60), "map_reduce": POOLS}
    results = []
    for threads in (1, 2, 5):
        with on(instructions, threads):
            out, lse = attend(q, k, v, STREAMING | First(600), engine="native")
            alone = logsumexp(q, k, STREAMING, engine="native")
            seen = observe(q, k, lse, STREAMING, **wants, engine="native")
            results.append([out, lse, alone, *tensors(seen).values(), seen.top_keys])
    for other in results[1:]:
        assert all(same(a, b) for a, b in zip(results[0], other, strict=True))


@each_set
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_a_head_alone_gives_the_bits_it_gives_in_company(instructions, dtype):
    generator = torch.Generator().manual_seed(4)
    q, k, v = torch.randn(3, 2, 4, 300, 48, generator=generator).to(dtype).unbind()
    k, v = k[:, :2], v[:, :2]
    with on(instructions):
        out, lse = attend(q, k, v, STREAMING, engine="native")
        for b, h in ((0, 0), (1, 3)):
            kv = slice(h // 2, h // 2 + 1)
            alone = attend(
                q[b : b + 1, h : h + 1], k[b : b + 1, kv], v[b : b + 1, kv], STREAMING, engine="native"
            )
            assert torch.equal(alone[0][0, 0], out[b, h]) and torch.equal(alone[1][0, 0], lse[b, h])


@each_set
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("width", [48, 64])
def test_a_query_gives_the_same_bits_in_any_company(instructions, dtype, width):
    """Of more than 8 queries, or of at most 8: those are decoded, which joins the keys in another order."""
    generator = torch.Generator().manual_seed(5)
    q, k, v = torch.randn(3, 1, 2, 300, width, generator=generator).to(dtype).unbind()
    spans = STREAMING.spans(300)

    def part(first: int, last: int) -> list[torch.Tensor]:
        rows = spans.region(slice(first, last))
        out, lse = attend(q[:, :, first:last], k, v, rows, engine="native")
        return [out, lse, logsumexp(q[:, :, first:last], k, rows, engine="native")]

    with on(instructions):
        whole, few = part(0, 300), part(140, 148)
        for first, last in ((5, 300), (37, 101), (140, 149)):
            assert all(map(torch.equal, part(first, last), [x[:, :, first:last] for x in whole])), (
                first,
                last,
            )
        for first, last in ((140, 141), (142, 148), (147, 148)):
            found = part(first, last)
            assert all(map(torch.equal, found, [x[:, :, first - 140 : last - 140] for x in few])), (
                first,
                last,
            )
            for one, other in zip(found, whole, strict=True):
                assert error(one, other[:, :, first:last]) < TOLERANCE[dtype]


# -- what arrives ------------------------------------------------------------------------------------------


@pytest.mark.skipif("amx" not in SETS, reason="no matrix unit here, or the system does not lend it")
def test_the_matrix_unit_is_left_as_pytorch_had_it():
    """oneDNN shapes the unit's registers for itself and remembers that it did."""
    a, b = torch.randn(2, 96, 96).bfloat16().unbind()
    q, k, v = torch.randn(3, 1, 2, 300, 64).bfloat16().unbind()
    with on("amx", 1):
        product, (out, lse) = a @ b, attend(q, k, v, Causal(), engine="native")
        for _ in range(3):
            assert torch.equal(a @ b, product)
            again, its_lse = attend(q, k, v, Causal(), engine="native")
            assert torch.equal(again, out) and torch.equal(its_lse, lse)


def test_tensors_are_read_where_they_lie():
    x = torch.randn(2, 30, 4, 2 * 16)
    rows_first = x[..., :16].transpose(1, 2)
    assert native._readable(rows_first) is rows_first
    assert native._readable(x[:1, :, :1].expand(2, 30, 4, 32)).stride() == (0, 128, 0, 1)
    every_second = x.transpose(1, 2)[..., ::2]
    assert native._readable(every_second).is_contiguous()
    out, lse = attend(every_second, every_second, rows_first, Causal(), engine="native")
    copied = attend(
        every_second.clone(), every_second.clone(), rows_first.contiguous(), Causal(), engine="native"
    )
    assert torch.equal(out, copied[0]) and torch.equal(lse, copied[1])


def test_parameters_that_require_grad_are_read():
    q = torch.randn(1, 2, 5, 8, requires_grad=True)
    per_head = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    found = attend(q, q, q, Causal(), sinks=per_head, alibi=per_head, engine="native")
    expected = attend(q, q, q, Causal(), sinks=per_head, alibi=per_head, engine="reference")
    assert error(found[0], expected[0]) < 1e-5 and error(found[1], expected[1]) < 1e-5


def test_what_it_cannot_run_it_says():
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(
        EngineError, match=r"^engine native: it computes in float32; float64 is for the torch engine"
    ):
        attend(*[q.double()] * 3, Causal(), engine="native")
    with pytest.raises(EngineError, match=r"^engine native: it runs on the CPU; these tensors are on meta;"):
        attend(*[q.to("meta")] * 3, Causal(), engine="native")
    with pytest.raises(EngineError, match=r"^engine native: it takes no values of width 0"):
        attend(q, q, q[..., :0], Causal(), engine="native")
    assert attend(q, q, q[..., :0], Causal())[0].shape == (1, 1, 2, 0)
    with pytest.raises(EngineError, match=r"^engine native: it counts fewer than 2,147,483,648 positions"):
        attend(q, q, q, Causal(), offset=2**31 - 2, engine="native")
    assert attend(q, q, q, Causal(), offset=2**31 - 2)[1].isfinite().all()


WITHOUT = """
import sys, types
import lookbehind, torch
{how}
q = torch.zeros(1, 1, 2, 4)
print(lookbehind.attend(q, q, q, "causal")[1].isfinite().all().item())
from lookbehind.engines import native
print(native.sets())
try:
    lookbehind.attend(q, q, q, "causal", engine="native")
except lookbehind.EngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            "sys.modules['lookbehind._native'] = None",  # importing it is now a ModuleNotFoundError
            "it was not compiled when lookbehind was installed; where a C++20 compiler is, install again",
        ),
        (
            "from importlib.machinery import ModuleSpec\n"
            "class Broken:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'lookbehind._native': raise ImportError('undefined symbol: attend')\n"
            "sys.meta_path.insert(0, Broken())",
            "what was compiled of it does not load (undefined symbol: attend); install it again",
        ),
    ],
    ids=["absent", "broken"],
)
def test_without_the_compiled_part_it_says_how_to_get_it(how, words):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(how=how)], capture_output=True, text=True, check=True
    )
    works, sets, said = done.stdout.splitlines()
    assert works == "True" and sets == "([], [])"
    assert said == f"engine native: {words}; engine='auto' picks one that can"


def arguments() -> dict:
    """A right call of _native.attend; the tests below break one thing each."""
    q = torch.randn(1, 4, 6, 8)
    k, v = torch.randn(2, 1, 2, 7, 8).unbind()
    spans = Causal().spans(6, 7)
    return {
        "q": q,
        "k": k,
        "v": v,
        "out": torch.full((1, 4, 6, 8), 7.0),
        "lse": torch.full((1, 4, 6), 7.0),
        "spans": (spans.row_ptr, spans.starts, spans.stops, spans.offset),
        "scale": 1.0,
        "softcap": 0.0,
        "sinks": None,
        "alibi": None,
        "threads": 2,
        "set": "",
    }


def spans(row_ptr, starts, stops, offset=1):
    return (*(np.array(one, dtype=np.int64) for one in (row_ptr, starts, stops)), offset)


ONES = [0, 1, 2, 3, 4, 5, 6]  # one interval a row
WRONG = {
    "q of float64": {"q": torch.zeros(1, 4, 6, 8, dtype=torch.float64)},
    "q of integers": {"q": torch.zeros(1, 4, 6, 8, dtype=torch.int32)},
    "k of another type": {"k": torch.zeros(1, 2, 7, 8, dtype=torch.bfloat16)},
    "q of three axes": {"q": torch.zeros(4, 6, 8)},
    "a stride of 2": {"k": torch.zeros(1, 2, 7, 16)[..., ::2]},
    "kv heads that do not divide": {"k": torch.zeros(1, 3, 7, 8), "v": torch.zeros(1, 3, 7, 8)},
    "no kv heads": {"k": torch.zeros(1, 0, 7, 8), "v": torch.zeros(1, 0, 7, 8)},
    "another batch": {"k": torch.zeros(2, 2, 7, 8)},
    "k of another width": {"k": torch.zeros(1, 2, 7, 9)},
    "v of another length": {"v": torch.zeros(1, 2, 6, 8)},
    "v of other heads": {"v": torch.zeros(1, 1, 7, 8)},
    "out too small": {"out": torch.zeros(1, 4, 5, 8)},
    "out of another type": {"out": torch.zeros(1, 4, 6, 8, dtype=torch.bfloat16)},
    "out whose rows lie on one another": {"out": torch.zeros(1, 4, 1, 8).expand(1, 4, 6, 8)},
    "lse too small": {"lse": torch.zeros(1, 4, 5)},
    "lse not contiguous": {"lse": torch.zeros(1, 6, 4).transpose(1, 2)},
    "lse of float64": {"lse": torch.zeros(1, 4, 6, dtype=torch.float64)},
    "sinks of another count": {"sinks": torch.zeros(3)},
    "alibi of float64": {"alibi": torch.zeros(4, dtype=torch.float64)},
    "too few row pointers": {"spans": spans([0, 1, 2], [0, 1], [1, 2])},
    "row pointers of another type": {"spans": (np.zeros(7, np.int32), np.zeros(0, int), np.zeros(0, int), 1)},
    "fewer stops than starts": {"spans": spans(ONES, [0] * 6, [1] * 5)},
    "row pointers that descend": {"spans": spans([0, 2, 1, 3, 4, 5, 6], [0] * 6, [1] * 6)},
    "row pointers that begin at 1": {"spans": spans([1, 1, 2, 3, 4, 5, 6], [0] * 6, [1] * 6)},
    "row pointers that pass the end": {"spans": spans([0, 1, 2, 3, 4, 5, 9], [0] * 6, [1] * 6)},
    "row pointers out of the world": {"spans": spans([0, 1, 2, 2**40, 4, 5, 6], [0] * 6, [1] * 6)},
    "a start before the first key": {"spans": spans(ONES, [-1, 0, 0, 0, 0, 0], [1] * 6)},
    "a stop past the last key": {"spans": spans(ONES, [0] * 6, [1, 1, 1, 8, 1, 1])},
    "an interval that is empty": {"spans": spans(ONES, [1] * 6, [1, 2, 2, 2, 2, 2])},
    "an interval turned round": {"spans": spans(ONES, [5, 0, 0, 0, 0, 0], [2, 1, 1, 1, 1, 1])},
    "intervals that descend": {"spans": spans([0, 2, 2, 2, 2, 2, 2], [4, 0], [5, 1])},
    "intervals that overlap": {"spans": spans([0, 2, 2, 2, 2, 2, 2], [0, 2], [3, 5])},
    "intervals that touch": {"spans": spans([0, 2, 2, 2, 2, 2, 2], [0, 3], [3, 5])},
    "spans that are no arrays": {"spans": ([0] * 7, [], [], 1)},
    "spans of three parts": {"spans": spans([0] * 7, [], [])[:3]},
    "an offset of 80 bits": {"spans": spans([0] * 7, [], [], 2**80)},
    "an offset no sum survives": {"spans": spans(ONES, [0] * 6, [1] * 6, 2**63 - 1)},
    "a scale that is no number": {"scale": math.nan},
    "a softcap below 0": {"softcap": -1.0},
    "no threads": {"threads": 0},
    "a set that is not here": {"set": "sve9"},
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_before_memory_is_touched(what):
    given = arguments() | WRONG[what]
    before = {name: given[name].clone() for name in ("out", "lse")}
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        native._native.attend(**given)
    assert len(str(refused.value)) > 15
    assert torch.equal(given["out"], before["out"]) and torch.equal(given["lse"], before["lse"])


def test_the_right_call_is_right():
    given = arguments()
    native._native.attend(**given)
    spans = Causal().spans(6, 7)
    out, _ = attend(given["q"], given["k"], given["v"], spans, scale=1.0, engine="reference")
    assert error(given["out"], out) < 1e-5


def test_sizes_beyond_32_bits_are_refused():
    """A stride of 0 makes it long without memory."""
    long = torch.zeros(1, 1, 1, 1).expand(1, 1, 2**31, 1)
    one = torch.zeros(1, 1, 1, 1)
    given = arguments() | {"q": one, "k": long, "v": long, "out": one.clone(), "lse": torch.zeros(1, 1, 1)}
    given["spans"] = spans([0, 1], [2**31 - 2], [2**31])
    with pytest.raises(
        ValueError, match=r"^k: each size must lie in 0 to 2147483647; got \[1, 1, 2147483648, 1\]$"
    ):
        native._native.attend(**given)


def test_places_beyond_32_bits_are_found():
    """Rows 2**31 numbers apart: 4 GB of address space, of which a few pages are ever touched."""
    memory = torch.empty(2**31 + 64, dtype=torch.bfloat16)
    far = memory.as_strided((1, 1, 2, 16), (0, 0, 2**31, 1))
    far.copy_(torch.randn(1, 1, 2, 16))
    found = attend(far, far, far, Causal(), engine="native")
    expected = attend(*[far.double()] * 3, Causal(), engine="reference")
    assert error(found[0], expected[0]) < 2e-2 and error(found[1], expected[1]) < 2e-4


MEASURED = {
    "a reduction that is not there": ({"colour": torch.zeros(1, 4, 6)}, []),
    "received too short": ({"received": torch.zeros(1, 4, 6)}, []),
    "entropy of float64": ({"entropy": torch.zeros(1, 4, 6, dtype=torch.float64)}, []),
    "weights without their keys": ({"top_weights": torch.zeros(1, 4, 6, 2)}, []),
    "keys of another count": (
        {"top_weights": torch.zeros(1, 4, 6, 2), "top_keys": torch.zeros(1, 4, 6, 3, dtype=torch.int64)},
        [],
    ),
    "too few distances": ({"by_distance": torch.zeros(1, 4, 3)}, []),
    "a map of more rows than queries": ({"map_sum": torch.zeros(1, 4, 9, 2)}, []),
    "maps of two sizes": ({"map_sum": torch.zeros(1, 4, 2, 2), "map_max": torch.zeros(1, 4, 3, 2)}, []),
    "a mass of lying spans": ({}, [(spans(ONES, [0] * 6, [99] * 6), torch.zeros(1, 4, 6))]),
    "a mass that is no pair": ({}, [torch.zeros(1, 4, 6)]),
    "a mass beyond the spans": ({}, [(spans(ONES, [6] * 6, [7] * 6), torch.zeros(1, 4, 6))]),
}


@pytest.mark.parametrize("what", MEASURED)
def test_wrong_wants_are_refused(what):
    given = arguments()
    for name in ("v", "out"):
        given.pop(name)
    wants, masses = MEASURED[what]
    with pytest.raises(ValueError, match=r"^[^\n]{10,}$"):
        native._native.observe(**given, wants=wants, masses=masses, map_of_scores=False)


# -- large -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak is read from Linux's /proc"
)
def test_nothing_as_large_as_all_weights_is_ever_made():
    n = 8192
    q, k, v = torch.randn(3, 1, 1, n, 16).unbind()
    attend(q[:, :, :64], k[:, :, :64], v[:, :, :64], Causal(), engine="native")
    status = Path("/proc/self/status")

    def held(field: str) -> int:
        return int(
            next(line for line in status.read_text().splitlines() if line.startswith(field)).split()[1]
        )

    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    _, lse = attend(q, k, v, Causal(), engine="native")
    observe(q, k, lse, Causal(), received=True, entropy=True, top=2, map=(256, 256), engine="native")
    assert held("VmHWM") - before < 4 * n * n / 1024 / 8  # kB; all weights are 262,144


@contextmanager
def interrupted_within(seconds: float):
    """Ctrl-C in 0.3 s: what is inside is left by KeyboardInterrupt, so soon after it was pressed."""
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def handle(number, frame):
        raise KeyboardInterrupt

    timer = threading.Timer(0.3, press)
    before = signal.signal(signal.SIGINT, handle)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            yield
        assert time.monotonic() - pressed[0] < seconds
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("verb", ["attend", "logsumexp", "observe"])
def test_interrupting_stops_within_a_second(verb, threads):
    n = 60_000
    q, every = torch.randn(1, 8, n, 64), Full().spans(n)
    lse = torch.zeros(1, 8, n)
    call = {
        "attend": lambda: attend(q, q, q, every, engine="native"),
        "logsumexp": lambda: logsumexp(q, q, every, engine="native"),
        "observe": lambda: observe(q, q, lse, every, received=True, by_distance=True, engine="native"),
    }[verb]
    with on(SETS[0], threads), interrupted_within(1.0):
        call()
    few = q[:, :, :50]
    assert (
        attend(few, few, few, Causal(), engine="native")[0].isfinite().all()
    )  # the next call is as good as any


def test_other_threads_run_meanwhile():
    """The GIL is released."""
    q = torch.randn(1, 4, 4000, 64)
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1
            time.sleep(0.001)

    other = threading.Thread(target=count)
    other.start()
    before = counted[0]
    attend(q, q, q, Full(), engine="native")
    during = counted[0] - before
    done.set()
    other.join()
    assert during > 5


def test_callers_on_many_threads_do_not_disturb_one_another():
    q = torch.randn(1, 2, 400, 32)
    expected = attend(q, q, q, Chunk(90), engine="native")
    wrong: list[int] = []

    def call(number: int) -> None:
        for _ in range(5):
            found = attend(q, q, q, Chunk(90), engine="native")
            if not (torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


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
