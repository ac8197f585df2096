"""Numbers that are hard to compute with: huge, tiny, infinite, none at all."""

import math

import pytest
import torch
from torch.nn import functional

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.pattern import Causal, Diagonal, Full, Window
from tests.engines.cases import EVERYTHING, TOLERANCE, error, tensors
from tests.engines.native.sets import DTYPES, FINE, STREAMING, each_set, on


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
@pytest.mark.parametrize(
    "extra", [{}, {"alibi": (0.5, -0.1)}, {"sinks": (0.0, 3e9)}, {"softcap": 1e30}], ids=str
)
@pytest.mark.parametrize("power", [12, 16, 30])
def test_scores_whose_own_rounding_is_more_than_a_weight_are_weighed(instructions, dtype, extra, power):
    """By some bits, and from 2^31 bits on by hundreds."""
    generator = torch.Generator().manual_seed(9)
    extra = {name: torch.tensor(x) if isinstance(x, tuple) else x for name, x in extra.items()}
    q, k, v = torch.randn(3, 1, 2, 90, 64, generator=generator).unbind()
    most = 12 if dtype == torch.float16 else power
    q, k = (q * 2.0**most).to(dtype), (k * 2.0**most).to(dtype)
    q[:, :, 40:50] /= 2.0**most  # in the company of others
    v = v.to(dtype)
    expected, lse = attend(q.double(), k.double(), v.double(), STREAMING, engine="reference", **extra)
    with on(instructions):
        out, found = attend(q, k, v, STREAMING, engine="native", **extra)
        alone = logsumexp(q, k, STREAMING, engine="native", **extra)
    assert error(out, expected) < TOLERANCE[dtype]
    for one in (found, alone):
        assert ((one - lse).abs() / (1 + lse.abs())).max() < FINE[dtype]


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
