"""The triton engine against the reference: on the card where there is one, else in Triton's interpreter.

The interpreter runs a kernel's own code on CPU tensors, slowly: shapes are small here, and tiles smaller.
Whether kernels are interpreted is settled when triton is first imported, so that
`tests/engines/test_triton.py` runs this file in a process of its own.
"""

import json
import math
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookbehind import attention, engines
from lookbehind.grammar import parse
from lookbehind.pattern import Causal, Diagonal, First, Full, Window
from tests.engines.cases import TOLERANCE, Case, cases, error, tensors
from tests.engines.kernels.test_shares import lists, touched
from tests.engines.test_torch import Largest, check_top_keys

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
FINE = 1e-5
LOGARITHMS = ("entropy", "max_score")
EVERYTHING = {
    "received": True,
    "entropy": True,
    "top": 3,
    "max_score": True,
    "distance": True,
    "by_distance": True,
    "mass": {"sink": First(1), "near": Window(6)},
}
POOLS = ("mean", "max", "sum")

logsumexp, observe = (partial(verb, engine="triton") for verb in (attention.logsumexp, attention.observe))
calls = cases(dtypes=DTYPES, longest=200 if CUDA else 36)
slowly = settings(max_examples=10 if CUDA else 8)  # each may be a kernel to compile


def there(case: Case) -> Case:
    """The same call on this machine's device, strides kept."""

    def moved(x):
        return x.to(DEVICE) if isinstance(x, torch.Tensor) else x

    options = {name: moved(value) for name, value in case.options.items()}
    return Case(moved(case.q), moved(case.k), moved(case.v), case.pattern, options)


def agree(case: Case, wants: dict, lse: torch.Tensor | None = None) -> None:
    """Every reduction asked for is the reference's."""
    exact = case.double()
    if lse is None:
        lse = attention.logsumexp(exact.q, exact.k, exact.pattern, **exact.options, engine="reference")
    expected = attention.observe(
        exact.q, exact.k, lse, exact.pattern, **exact.options, **wants, engine="reference"
    )
    here = there(case)
    found = observe(here.q, here.k, lse.float().to(DEVICE), here.pattern, **here.options, **wants)
    of_scores = wants.get("map_of") == "score"
    assert tensors(found).keys() == tensors(expected).keys()
    for name, value in tensors(expected).items():
        got = tensors(found)[name].cpu()
        assert got.dtype == (torch.int64 if name == "visible" else torch.float32), name
        least = 1.0 if name in LOGARITHMS or of_scores else 1e-6
        if name == "map sum" and of_scores:
            least = float(max(value.nan_to_num(0).abs().max(), 64.0))  # as many terms, which may cancel
        assert error(got, value, least) < FINE, name
    if "top" in wants:
        found = engines.Observation(top_weights=found.top_weights.cpu(), top_keys=found.top_keys.cpu())
        check_top_keys(case, found, expected)


# -- right -------------------------------------------------------------------------------------------------


@given(case=calls)
@slowly
def test_logsumexp_agrees_with_the_reference(case):
    exact, here = case.double(), there(case)
    expected = attention.logsumexp(exact.q, exact.k, exact.pattern, **exact.options, engine="reference")
    found = logsumexp(here.q, here.k, here.pattern, **here.options)
    assert found.dtype == torch.float32 and found.is_contiguous() and found.device.type == DEVICE
    assert error(found.cpu(), expected) < FINE


@given(
    case=calls,
    of=st.sampled_from(["weight", "score"]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
@slowly
def test_every_reduction_agrees_with_the_reference(case, of, size):
    agree(case, EVERYTHING | {"map": size, "map_reduce": POOLS, "map_of": of})


@given(case=calls)
@slowly
def test_what_comes_from_one_pass_agrees_with_the_reference(case):
    """Top weight instead of several, and a map whose pixels lie within tiles."""
    n_queries, n_keys = case.q.shape[2], case.k.shape[2]
    size = n_queries // 4 if n_queries % 4 == 0 else n_queries, n_keys
    wants = {"received": True, "entropy": True, "top": 1, "max_score": True, "distance": True}
    agree(case, wants | {"map": size, "map_reduce": POOLS})


def test_maps_that_are_made_of_finer_ones():
    """Pixels larger than a tile, and of a size that is no power of two."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, heads, 96, 16, generator=generator) for heads in (2, 1))
    for size in ((2, 2), (4, 8), (12, 24)):
        for of in ("weight", "score"):
            agree(Case(q, k, k, Causal(), {}), {"map": size, "map_reduce": POOLS, "map_of": of})


def test_no_two_programs_add_to_one_row_of_pixels(monkeypatch):
    """The interpreter would not tell: there they run one after another."""
    from lookbehind.engines.kernels import passes

    seen, real = [], passes.rows_of_pixels

    def told(way, n_queries, pixels, device):
        found = real(way, n_queries, pixels, device)
        seen.append(touched(lists(*(x.cpu() for x in found)), way.rows_at.tolist(), n_queries, pixels))
        return found

    monkeypatch.setattr(passes, "rows_of_pixels", told)
    q, k = torch.randn(1, 1, 90, 8), torch.randn(1, 1, 40, 8)
    for rows in (2, 7, 31):
        agree(Case(q, k, k, Full(), {}), {"map": (rows, 7)})
        (each,) = seen
        assert sum(map(len, each)) == len(set().union(*each)) == rows
        seen.clear()


def test_every_kind_of_pattern_of_the_corpus():
    """A sample in the interpreter; `kernels/test_walk.py` takes every one's tiles."""
    corpus = json.loads((Path(__file__).parents[2] / "conformance" / "patterns.json").read_text())
    assert len(corpus) > 200
    generator = torch.Generator().manual_seed(0)
    for one in corpus[:: 1 if CUDA else 16]:
        spans = parse(one["pattern"]).spans(one["n_queries"], one["n_keys"], one["offset"])
        q = torch.randn(1, 2, one["n_queries"], 8, generator=generator)
        k = torch.randn(1, 1, one["n_keys"], 8, generator=generator)
        agree(Case(q, k, k, spans, {}), {"received": True, "entropy": True})
        found = logsumexp(q.to(DEVICE), k.to(DEVICE), spans)
        for row, keys in enumerate(one["rows"]):
            if not keys:
                assert (found[:, :, row] == -math.inf).all()


def test_few_queries_over_many_keys_are_split_over_keys():
    """The last queries of a long cache, in groups: what eviction methods look at. And one query, decoding."""
    generator = torch.Generator().manual_seed(0)
    n_keys = 20_000 if CUDA else 150
    k = torch.randn(1, 2, n_keys, 16, generator=generator)
    for n_queries in (1, 20):
        q = torch.randn(1, 8, n_queries, 16, generator=generator)
        case = Case(q, k, k, Causal(), {})
        agree(case, {"received": True})
        agree(case, {"entropy": True, "top": 5, "max_score": True, "distance": True})
        found = logsumexp(q.to(DEVICE), k.to(DEVICE), Causal())
        assert error(found.cpu(), attention.logsumexp(q, k, Causal(), engine="reference")) < FINE


@pytest.mark.parametrize(
    "wants", [{name: value} for name, value in EVERYTHING.items()] + [{"map": (9, 4)}, {"top": 1}], ids=str
)
def test_one_reduction_alone_brings_no_other(wants):
    q, k = torch.randn(2, 2, 20, 8), torch.randn(2, 1, 31, 8)
    agree(Case(q, k, k, Causal(), {}), wants)
    lse = attention.logsumexp(q, k, Causal()).to(DEVICE)
    alone = observe(q.to(DEVICE), k.to(DEVICE), lse, Causal(), **wants)
    named = {name for name, value in vars(alone).items() if value is not None}
    asked = next(iter(wants))
    several = {"received": {"received", "visible"}, "top": {"top_weights", "top_keys"}, "map": {"maps"}}
    assert named == several.get(asked, {asked})


def test_the_same_bits_from_call_to_call():
    q, k = torch.randn(1, 4, 70, 16, device=DEVICE), torch.randn(1, 2, 70, 16, device=DEVICE)
    wants = {"received": True, "entropy": True, "top": 1, "map": (7, 7)}
    lse = logsumexp(q, k, Causal())
    assert torch.equal(lse, logsumexp(q, k, Causal()))
    one, other = (observe(q, k, lse, Causal(), **wants) for _ in range(2))
    for name, value in tensors(one).items():
        assert torch.equal(value.nan_to_num(-1), tensors(other)[name].nan_to_num(-1)), name


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64], ids=str)
def test_the_default_dtype_changes_nothing(default):
    q, k = torch.randn(1, 2, 20, 8), torch.randn(1, 1, 31, 8)
    torch.set_default_dtype(default)
    try:
        agree(Case(q, k, k, Causal(), {"softcap": 2.3}), EVERYTHING | {"map": (3, 4), "map_reduce": POOLS})
    finally:
        torch.set_default_dtype(torch.float32)


def test_nothing_as_large_as_all_weights_is_ever_made():
    n = 4096 if CUDA else 256
    q = torch.randn(1, 1, n, 16, device=DEVICE)
    with Largest() as seen:
        lse = logsumexp(q, q, Causal())
        observe(q, q, lse, Causal(), received=True, entropy=True, top=1, map=(8, 8))
        if CUDA:  # the interpreter is slow
            observe(q, q, lse, Causal(), top=2, by_distance=True, map=(7, 9), map_of="score")
    assert 0 < seen.elements <= n * n / 4
    with Largest() as dense:  # the measuring can fail
        attention.logsumexp(q, q, Causal(), engine="reference")
    assert dense.elements >= n * n


def test_it_agrees_with_the_cpu_engine():
    """The same observation of the same numbers, whichever engine `auto` picks on a CPU."""
    q, k = torch.randn(1, 4, 60, 16).bfloat16(), torch.randn(1, 2, 60, 16).bfloat16()
    lse = attention.logsumexp(q, k, Causal())
    expected = attention.observe(q, k, lse, Causal(), received=True, entropy=True)
    found = observe(q.to(DEVICE), k.to(DEVICE), lse.to(DEVICE), Causal(), received=True, entropy=True)
    # bfloat16 has a coarser exponential there.
    torch.testing.assert_close(found.received.cpu(), expected.received, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.entropy.cpu(), expected.entropy, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not CUDA, reason="131,072 queries are for a card; none is here")
def test_rows_weigh_one_in_bfloat16_at_131072():
    n = 131_072
    q, k = (torch.randn(1, heads, n, 128, device=DEVICE).bfloat16() for heads in (4, 1))
    _, lse = attention.attend(q, k, k, Causal(), engine="triton")
    seen = observe(q, k, lse, Causal(), mass={"all": Full()}, received=True)
    assert (seen.mass["all"] - 1).abs().max() < 1e-3
    assert abs(seen.received.double().sum().item() / (4 * n) - 1) < 1e-3


# -- at the edges ------------------------------------------------------------------------------------------


def test_a_row_whose_lse_is_minus_infinity_weighs_nothing():
    q = torch.randn(1, 1, 6, 4)
    lse = attention.logsumexp(q, q, Causal(), engine="reference")
    lse[0, 0, 2] = -math.inf
    agree(Case(q, q, q, Causal(), {}), {name: EVERYTHING[name] for name in EVERYTHING if name != "top"}, lse)
    for top in (1, 4):
        seen = observe(q.to(DEVICE), q.to(DEVICE), lse.to(DEVICE), Causal(), top=top)
        assert (seen.top_weights[0, 0, 2] == 0).all() and (seen.top_keys[0, 0, 2] == -1).all()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("where", ["q", "k", "lse", "sinks"])
@pytest.mark.parametrize("pattern", [Causal() & Window(9), Full()], ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, which computes in a card's place
def test_infinities_and_nan_do_what_they_do_in_the_reference(pattern, where, odd):
    """Also where no query reads them, and in full tiles that have rows beyond the last query."""
    generator = torch.Generator().manual_seed(1)
    x = {
        "q": torch.randn(1, 2, 20, 8, generator=generator),
        "k": torch.randn(1, 1, 48, 8, generator=generator),
    }
    x["q"][..., 3] = x["q"][..., 3].abs()  # a key's infinity is one of its scores, and of one sign
    if where in x:
        x[where][:, 0, 17 if where == "q" else 40, 3] = odd
    options = {"sinks": torch.tensor([odd, 0.0])} if where == "sinks" else {}
    case = Case(x["q"], x["k"], x["k"], pattern, options)
    lse = attention.logsumexp(x["q"].double(), x["k"].double(), pattern, **options, engine="reference")
    here = there(case)
    assert error(logsumexp(here.q, here.k, pattern, **here.options).cpu(), lse) < FINE
    if where == "lse":
        lse[0, 0, 15] = odd
    exact = case.double()
    rows = {"entropy": True, "max_score": True, "distance": True}
    for wants in (
        rows | {"received": True, "map": (20, 48), "map_reduce": POOLS},
        rows | {"received": True, "top": 1},
        rows | {"top": 3},
        rows | {"map": (3, 5), "map_reduce": POOLS},
        {"map": (3, 5), "map_reduce": POOLS, "map_of": "score"},
    ):
        expected = attention.observe(exact.q, exact.k, lse, pattern, **options, **wants, engine="reference")
        found = observe(here.q, here.k, lse.float().to(DEVICE), pattern, **here.options, **wants)
        for name, value in tensors(expected).items():
            assert error(tensors(found)[name].cpu(), value) < FINE, (wants, name)


def test_tiny_weights_keep_their_keys():
    """A weight that underflows to 0 is still a computed product."""
    q, k = torch.full((1, 1, 1, 1), 200.0), torch.tensor([0.0, -1.0, -2.0]).view(1, 1, 3, 1)
    lse = attention.logsumexp(q, k, Full(), scale=1.0).to(DEVICE)
    seen = observe(q.to(DEVICE), k.to(DEVICE), lse, Full(), scale=1.0, top=4)
    assert seen.top_weights.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]
    assert seen.top_keys.flatten().tolist() == [0, 1, 2, -1]


@pytest.mark.parametrize("n_keys", [0, 1, 20])
def test_more_largest_weights_than_there_are_keys(n_keys):
    """However many: a tile has no room for so many."""
    q, k = torch.randn(1, 2, 18, 8), torch.randn(1, 1, n_keys, 8)
    agree(Case(q, k, k, Causal(), {}), {"top": 100_000, "received": True})


def test_tiles_have_fewer_rows_where_many_of_the_largest_are_kept(monkeypatch):
    """Even fewer than heads that share keys."""
    from lookbehind.engines.kernels import passes

    monkeypatch.setattr(passes, "ROOM", 64)
    q, k = torch.randn(1, 32, 2, 4), torch.randn(1, 1, 20, 4)
    agree(Case(q, k, k, Causal(), {}), {"top": 8})


@pytest.mark.parametrize("scale", [0.0, -0.7])
def test_scales_that_do_not_rank_as_the_products_do(scale):
    q, k = torch.randn(1, 2, 20, 8), torch.randn(1, 1, 20, 8)
    case = Case(q, k, k, Causal(), {"scale": scale})
    agree(case, {"max_score": True, "received": True, "map": (5, 5), "map_of": "score", "map_reduce": "max"})
    if scale:
        agree(case, {"top": 1, "received": True})


def test_softcap_is_exact_near_zero_and_far_from_it():
    q, k = torch.randn(1, 1, 30, 8), torch.randn(1, 1, 30, 8)
    for cap in (1e-2, 1e4):
        exact = attention.logsumexp(q, k, Causal(), softcap=cap, engine="reference")
        assert error(logsumexp(q.to(DEVICE), k.to(DEVICE), Causal(), softcap=cap).cpu(), exact) < FINE


def test_a_softcap_takes_nan_for_no_number():
    q, k = torch.randn(1, 2, 20, 8), torch.randn(1, 1, 20, 8)
    q[0, 0, 5, 3] = math.nan
    exact = attention.logsumexp(q, k, Causal(), softcap=3.0, engine="reference")
    assert exact[0, 0, 5].isnan()
    assert error(logsumexp(q.to(DEVICE), k.to(DEVICE), Causal(), softcap=3.0).cpu(), exact) < FINE
    for wants in ({"received": True, "max_score": True}, {"entropy": True, "max_score": True}):
        agree(Case(q, k, k, Causal(), {"softcap": 3.0}), wants)


def test_a_result_may_be_written_on():
    """What is kept for the next call is not what the last one was given."""
    q = torch.zeros(1, 1, 9, 4, device=DEVICE)
    spans, lse = Causal().spans(9), torch.zeros(1, 1, 9, device=DEVICE)
    observe(q, q, lse, spans, received=True).visible.zero_()
    assert observe(q, q, lse, spans, received=True).visible.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("shape", [(0, 2, 5, 5), (1, 2, 0, 5), (1, 2, 5, 0), (1, 2, 1, 1)], ids=str)
def test_lengths_of_zero_and_one(shape):
    batch, heads, n_queries, n_keys = shape
    q, k = torch.randn(batch, heads, n_queries, 4), torch.randn(batch, 1, n_keys, 4)
    for top in (1, 3):
        agree(Case(q, k, k, Causal(), {}), EVERYTHING | {"top": top, "map": (3, 3), "map_reduce": POOLS})
    found = logsumexp(q.to(DEVICE), k.to(DEVICE), Causal())
    assert error(found.cpu(), attention.logsumexp(q, k, Causal(), engine="reference")) < FINE


@pytest.mark.parametrize("which", ["q", "k"])
def test_numbers_of_a_row_that_lie_further_apart_than_int32_counts(which):
    """What lies between them is never touched; without a card it is address space alone."""
    width, apart = 256, 9_000_000
    room = torch.empty((width - 1) * apart + 8, dtype=torch.float16, device=DEVICE)
    x = {name: torch.randn(1, 1, 8, width).half().to(DEVICE) for name in "qk"}
    far = x | {which: room.as_strided((1, 1, 8, width), (1, 1, 1, apart)).copy_(x[which])}
    lse = logsumexp(**x, pattern=Causal())
    assert torch.equal(logsumexp(**far, pattern=Causal()), lse)
    wants = {"received": True, "by_distance": True}
    one, other = (observe(**some, lse=lse, pattern=Causal(), **wants) for some in (x, far))
    assert torch.equal(one.received, other.received) and torch.equal(one.by_distance, other.by_distance)


def test_expected_distance_does_not_cancel_far_from_zero():
    q, k = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 400, 8)
    pattern = Causal() & Window(2)
    lse = attention.logsumexp(q, k, pattern).to(DEVICE)
    seen = observe(q.to(DEVICE), k.to(DEVICE), lse, pattern, distance=True, mass={"previous": Diagonal(1)})
    torch.testing.assert_close(seen.distance, seen.mass["previous"], rtol=1e-5, atol=1e-6)


def test_attend_is_a_fused_kernel_with_our_lse():
    """On a CPU only FlexAttention can be asked, uncompiled; on a card whatever the route says."""
    q = torch.randn(1, 4, 150, 16, device=DEVICE).bfloat16()
    k, v = torch.randn(2, 1, 2, 200, 16, device=DEVICE).bfloat16().unbind()
    pattern = Causal() & (Window(40) | First(3)) & ~Window(1)
    for options in ({}, {"softcap": 3.0}, {"alibi": torch.rand(4) / 9, "sinks": torch.rand(4)}):
        options = {name: x.to(DEVICE) if isinstance(x, torch.Tensor) else x for name, x in options.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # uncompiled, it says that it is slow
            out, lse = attention.attend(q, k, v, pattern, offset=-1, **options, engine="triton")
        expected = attention.attend(q, k, v, pattern, offset=-1, **options, engine="reference")
        assert out.is_contiguous() and lse.is_contiguous() and lse.dtype == torch.float32
        assert error(out, expected[0], 0.1) < TOLERANCE[torch.bfloat16]
        assert error(lse, expected[1]) < 1e-3
        assert (out[:, :, 0] == 0).all() and (lse[:, :, 0] == -math.inf).all()
