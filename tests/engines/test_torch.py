"""The torch engine against the reference: all shapes, reductions and tile sizes; and what it must not do."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lookbehind import attention
from lookbehind.engines.blockwise import fused, strips, tiles
from lookbehind.pattern import Causal, Diagonal, First, Full, Window
from lookbehind.spans import Spans
from tests.engines.cases import EVERYTHING, TOLERANCE, Case, cases, error, tensors

# The engine of this file, where no other is named.
attend, logsumexp, observe = (
    partial(verb, engine="torch") for verb in (attention.attend, attention.logsumexp, attention.observe)
)

WINDOW = Causal() & (Window(90) | First(3))
ALONE = [{name: value} for name, value in EVERYTHING.items()] + [{"map": (9, 4)}]
LOGARITHMS = ("entropy", "max_score")
REDUCES = st.lists(st.sampled_from(["mean", "max", "sum"]), min_size=1, unique=True)
SIZES = [tiles.CPU, tiles.Sizes(8, 8, 300), tiles.Sizes(6, 3, 10**6)]


@contextmanager
def tiled(sizes: tiles.Sizes, threads_from: int = strips.WORTH_THREADS):
    """Other tile sizes, so that small problems have many tiles; and threads from fewer products on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "CPU", sizes)
        patch.setattr(strips, "WORTH_THREADS", threads_from)
        yield


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@given(case=cases())
@settings(max_examples=30)
def test_attend_agrees_with_the_reference(sizes, case):
    exact = case.double()
    expected = attend(exact.q, exact.k, exact.v, exact.pattern, **exact.options, engine="reference")
    with tiled(sizes):
        out, lse = attend(case.q, case.k, case.v, case.pattern, **case.options, engine="torch")
        alone = logsumexp(case.q, case.k, case.pattern, **case.options, engine="torch")
    assert out.dtype == case.q.dtype
    assert lse.dtype == alone.dtype == (torch.float64 if case.q.dtype == torch.float64 else torch.float32)
    assert lse.is_contiguous() and alone.is_contiguous()
    limit = TOLERANCE[case.q.dtype]
    assert error(out, expected[0], 0.1) < limit
    assert error(lse, expected[1]) < limit
    # lse alone never goes through a half-precision kernel.
    assert error(alone, expected[1]) < min(limit, 1e-5)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@given(case=cases(), how=REDUCES, of=st.sampled_from(["weight", "score"]))
@settings(max_examples=25)
def test_every_reduction_agrees_with_the_reference(sizes, case, how, of):
    exact = case.double()
    lse = logsumexp(exact.q, exact.k, exact.pattern, **exact.options, engine="reference")
    wants = EVERYTHING | {"map": (7, 11), "map_reduce": how, "map_of": of}
    expected = observe(exact.q, exact.k, lse, exact.pattern, **exact.options, **wants, engine="reference")
    with tiled(sizes):
        found = observe(case.q, case.k, lse, case.pattern, **case.options, **wants, engine="torch")
    dtype = torch.float64 if case.q.dtype == torch.float64 else torch.float32
    # Half types are read exactly, and nothing is rounded to them.
    limit = TOLERANCE[dtype]
    for name, value in tensors(expected).items():
        got = tensors(found)[name]
        assert got.dtype == (torch.int64 if name == "visible" else dtype), name
        logarithm = name in LOGARITHMS or (of == "score" and name.startswith("map "))
        assert error(got, value, 1.0 if logarithm else 1e-6) < limit, name
    assert list(found.maps) == list(how)
    check_top_keys(case, found, expected)


def check_top_keys(case: Case, found, expected):
    """Keys differ from the reference's only among equal weights; no row has a key twice."""
    assert torch.equal(found.top_keys < 0, expected.top_keys < 0)
    assert (found.top_weights[found.top_keys < 0] == 0).all()
    ranked = found.top_keys.sort(-1).values
    assert ((ranked[..., 1:] != ranked[..., :-1]) | (ranked[..., 1:] < 0)).all()
    other = found.top_keys != expected.top_keys
    if other.any():
        near = (found.top_weights - expected.top_weights)[other].abs().max()
        assert near <= 1e-6


@pytest.mark.parametrize("wants", ALONE, ids=str)
def test_one_reduction_alone_is_the_same_and_brings_no_other(wants):
    q, k = torch.randn(2, 4, 30, 8), torch.randn(2, 2, 41, 8)
    lse = logsumexp(q, k, Causal())
    with tiled(tiles.Sizes(8, 8, 300)):
        alone = observe(q, k, lse, Causal(), **wants)
        together = observe(q, k, lse, Causal(), **(EVERYTHING | {"map": (9, 4)}))
    named = {name for name, value in vars(alone).items() if value is not None}
    asked = next(iter(wants))
    brings = {"received": {"received", "visible"}, "top": {"top_weights", "top_keys"}, "map": {"maps"}}
    assert named == brings.get(asked, {asked})
    for name, value in tensors(alone).items():
        torch.testing.assert_close(value, tensors(together)[name], equal_nan=True)


def test_results_do_not_depend_on_the_number_of_threads():
    q, k = torch.randn(1, 4, 200, 8), torch.randn(1, 2, 200, 8)
    wants = EVERYTHING | {"map": (50, 60), "map_reduce": ("sum", "max"), "map_of": "score"}
    with tiled(tiles.Sizes(32, 16, 10**4), threads_from=10**9):
        lse = logsumexp(q, k, WINDOW)
        one = observe(q, k, lse, WINDOW, **wants)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with tiled(tiles.Sizes(32, 16, 10**4), threads_from=0):
            assert torch.equal(attend(q, k, k, WINDOW)[1], lse)
            three = observe(q, k, lse, WINDOW, **wants)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for name, value in tensors(one).items():
        assert torch.equal(value.nan_to_num(-1), tensors(three)[name].nan_to_num(-1)), name


def test_an_error_in_a_thread_reaches_the_caller():
    q = torch.randn(1, 1, 64, 8)
    torch.set_num_threads(max(2, threads := torch.get_num_threads()))
    try:
        with tiled(tiles.Sizes(8, 8, 64), threads_from=0), pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiles.Grid, "hidden", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                logsumexp(q, q, Causal() & Window(20))
    finally:
        torch.set_num_threads(threads)


def test_expected_distance_does_not_cancel_far_from_zero():
    n = 20_000
    q, k = torch.randn(1, 1, 64, 8), torch.randn(1, 1, n, 8)
    pattern = Causal() & Window(2)
    lse = logsumexp(q, k, pattern)
    seen = observe(q, k, lse, pattern, distance=True, mass={"previous": Diagonal(1)})
    torch.testing.assert_close(seen.distance, seen.mass["previous"], rtol=1e-5, atol=1e-6)


def test_assertions_may_be_left_out():
    code = (
        "import lookbehind as lb, torch; q = torch.zeros(1, 1, 3, 4); "
        "lse = lb.logsumexp(q, q, 'causal'); "
        "print(lb.observe(q, q, lse, 'causal', by_distance=True, engine='torch').by_distance.sum().item())"
    )
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert float(done.stdout or "nan") == pytest.approx(3.0), done.stderr


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returned, in its own thread."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, torch.Tensor):
                self.elements = max(self.elements, one.numel())
        return result


def test_nothing_as_large_as_all_weights_is_ever_made(one_thread):
    n = 4096
    q, k, v = torch.randn(3, 1, 1, n, 16).unbind()
    largest = 4 * max(tiles.CPU.scores, n * 16)  # a tile, skewed; never n * n
    assert largest < n * n / 8
    with Largest() as seen:
        _, lse = attend(q, k, v, Causal() & (Window(700) | First(4)), engine="torch")
        attend(q, k, v, Causal(), softcap=3.0, engine="torch")
        for of in ("weight", "score"):
            pools = {"map": (512, 512), "map_reduce": ("mean", "max", "sum"), "map_of": of}
            observe(q, k, lse, Causal(), **EVERYTHING, **pools, engine="torch")
    assert 0 < seen.elements <= largest
    with Largest() as dense:  # the measuring can fail
        attend(q, k, v, Causal(), engine="reference")
    assert dense.elements >= n * n


def flops(pattern, **wants) -> int:
    q = torch.randn(1, 1, 4096, 16)
    lse = torch.zeros(1, 1, 4096)
    with FlopCounterMode(display=False) as counter:
        observe(q, q, lse, pattern, **wants)
    return counter.get_total_flops()


def test_empty_tiles_are_not_visited(one_thread):
    full, causal = flops(Full(), entropy=True), flops(Causal(), entropy=True)
    window = flops(Causal() & Window(512), entropy=True)
    assert full == 2 * 16 * 4096 * 4096
    assert causal == 2 * 16 * (Causal().spans(4096).blocks(tiles.CPU.rows, tiles.CPU.keys).computed())
    assert window < causal / 2
    # A mass alone looks at its own tiles: the diagonal's.
    assert flops(Full(), mass={"previous": Diagonal(1)}) < full / 4


def test_fused_attention_serves_the_shapes_it_is_right_for(monkeypatch):
    served = []
    real = fused._cpu
    monkeypatch.setattr(fused, "_cpu", lambda *args, **options: served.append(1) or real(*args, **options))
    q, k = torch.randn(1, 2, 20, 8), torch.randn(1, 2, 30, 8)
    for calls, (queries, keys, pattern, options) in [
        (1, (q, q, Causal(), {})),
        (1, (q, k, Full(), {})),
        (2, (q, k, Causal(), {})),
        (1, (q[:, :, :1], k, Causal(), {})),
        (1, (q[:, :1, :1], k[:, :1], Causal(), {})),
        (1, (q, q, Causal(), {"sinks": torch.zeros(2)})),
        (0, (k, q, Causal(), {})),
        (0, (q, k, Causal(), {"offset": 0})),
        (0, (q, q, Causal() & Window(3), {})),
        (0, (q, q, Causal(), {"softcap": 5.0})),
        (0, (q, q, Causal(), {"alibi": torch.ones(2)})),
        (0, (q[:0], q[:0], Causal(), {})),
    ]:
        served.clear()
        attend(queries, keys, keys, pattern, **options, engine="torch")
        assert len(served) == calls, (pattern, options)


def test_a_row_whose_lse_is_minus_infinity_weighs_nothing():
    q = torch.randn(1, 1, 6, 4)
    lse = logsumexp(q, q, Causal())
    lse[0, 0, 2] = -math.inf
    seen = observe(q, q, lse, Causal(), **EVERYTHING, map=(6, 6))
    assert seen.entropy[0, 0, 2] == 0 and seen.distance[0, 0, 2] == 0
    assert (seen.top_weights[0, 0, 2] == 0).all()
    assert sorted(seen.top_keys[0, 0, 2].tolist()) == [-1, 0, 1, 2]  # computed, whatever they weigh
    assert all(value.isfinite().all() for name, value in tensors(seen).items() if "map" not in name)
    assert seen.map[0, 0, 2].nan_to_num(0).sum() == 0
    scores = observe(q, q, lse, Causal(), map=(6, 6), map_of="score").map[0, 0]
    torch.testing.assert_close(scores[2, :3], (q[0, 0] @ q[0, 0].T)[2, :3] / 2)  # lse does not enter


def test_tiny_weights_keep_their_keys():
    """A weight that underflows to 0 is still a computed product."""
    q, k = torch.full((1, 1, 1, 1), 200.0), torch.tensor([0.0, -1.0, -2.0]).view(1, 1, 3, 1)
    lse = logsumexp(q, k, Full(), scale=1.0)
    seen = observe(q, k, lse, Full(), scale=1.0, top=4)
    assert seen.top_weights.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]
    assert seen.top_keys.flatten().tolist() == [0, 1, 2, -1]


def test_large_scores_neither_overflow_nor_vanish():
    q = torch.tensor([300.0, 500.0]).view(1, 1, 2, 1)
    out, lse = attend(q, q, q, Causal() & Window(2), scale=1.0, engine="torch")
    assert lse.flatten().tolist() == [90_000.0, 250_000.0]
    assert out.flatten().tolist() == [300.0, 500.0]


@pytest.mark.parametrize("size", [1e15, 1e16, 1e17])
def test_finite_scores_far_below_zero_are_scores(size):
    """They lie below what stands for products that do not exist, where such a number does."""
    q, k = (0.1 * size * torch.randn(1, heads, 6, 8) for heads in (2, 1))
    q[..., 0], k[..., 0] = size, -3 * size
    v = torch.randn(1, 1, 6, 3)
    for pattern in ("causal", "causal & (window(2) | first(1))"):
        out, lse = attend(q, k, v, pattern)
        expected = attention.attend(q, k, v, pattern, engine="reference")
        torch.testing.assert_close(logsumexp(q, k, pattern), expected[1])
        torch.testing.assert_close((out, lse), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [0.0, -0.7, 0.3])
def test_scales_that_are_not_above_zero(dtype, scale):
    q, k = torch.randn(1, 2, 9, 8, dtype=dtype), torch.randn(1, 2, 12, 8, dtype=dtype)
    for queries, pattern in [(q, Causal()), (k, Causal()), (q, Full())]:
        found = attend(queries, k, k, pattern, scale=scale)
        expected = attend(queries, k, k, pattern, scale=scale, engine="reference")
        for one, right in zip(found, expected, strict=True):
            assert error(one, right) < TOLERANCE[dtype]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("where", ["q", "k", "v"])
def test_infinities_and_nan_do_what_they_do_in_the_reference(where, odd):
    """Also where no query reads them: padding that holds anything at all."""
    generator = torch.Generator().manual_seed(1)
    inputs = {name: torch.randn(1, 2, 40, 8, generator=generator, dtype=torch.float64) for name in "qkv"}
    inputs[where][:, 0, 11, 3] = odd
    inputs["v"][:, :, 39] = math.nan
    wants = {"entropy": True, "top": 3, "max_score": True, "received": True}
    maps = {"map": (5, 7), "map_reduce": ("mean", "sum", "max")}
    padded = Causal().spans(40) & Spans.from_mask(
        torch.ones(40, 40, dtype=torch.bool).index_fill_(1, torch.tensor(39), False)
    )
    for pattern in (Causal(), Full(), WINDOW, Causal() & Window(3), padded):
        with tiled(tiles.Sizes(16, 8, 300)):
            out, lse = attend(**inputs, pattern=pattern)
            alone = logsumexp(inputs["q"], inputs["k"], pattern)
        expected = attend(**inputs, pattern=pattern, engine="reference")
        for one, right in ((out, expected[0]), (lse, expected[1]), (alone, expected[1])):
            assert error(one, right) < 1e-12, pattern
        with tiled(tiles.Sizes(16, 8, 300)):
            seen = observe(inputs["q"], inputs["k"], lse, pattern, **wants, **maps)
        right = observe(inputs["q"], inputs["k"], lse, pattern, **wants, **maps, engine="reference")
        for name, value in tensors(right).items():
            assert error(tensors(seen)[name], value) < 1e-12, (pattern, name)
        assert torch.equal(seen.top_keys < 0, right.top_keys < 0), pattern
        scores = [
            observe(inputs["q"], inputs["k"], lse, pattern, **maps, map_of="score", engine=engine)
            for engine in ("torch", "reference")
        ]
        for how, value in scores[1].maps.items():
            assert error(scores[0].maps[how], value) < 1e-12, (pattern, how)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("n_keys", [5, 64])
@pytest.mark.parametrize("where", ["q", "k"])
def test_scores_that_are_not_finite_do_not_vanish_in_fused_attention(where, n_keys, odd, dtype):
    """Of a query that is NaN the kernel makes an output and an lse of 0 over a few keys."""
    generator = torch.Generator().manual_seed(1)
    lengths = {"q": 5, "k": n_keys, "v": n_keys}
    inputs = {name: torch.randn(1, 2, n, 16, generator=generator).to(dtype) for name, n in lengths.items()}
    inputs[where][:, 0, 2, 3] = odd
    for pattern in (Full(), Causal()):
        found = attend(**inputs, pattern=pattern)
        expected = attend(**inputs, pattern=pattern, engine="reference")
        for one, right in zip(found, expected, strict=True):
            assert error(one, right) < TOLERANCE[dtype], pattern


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_one_number_that_is_not_finite_is_found(dtype):
    numbers = torch.randn(2, 3, 70, 5).to(dtype)
    assert tiles.finite(numbers) and tiles.finite(numbers[:0]) and tiles.finite(numbers[..., ::2])
    assert tiles.finite(torch.full((9,), torch.finfo(dtype).max, dtype=dtype))
    for odd in (math.nan, math.inf, -math.inf):
        for place in (0, 1049, 2099):
            one = numbers.clone()
            one.view(-1)[place] = odd
            assert not tiles.finite(one), (odd, place)


def test_a_large_lse_does_not_round_the_largest_score():
    q = torch.randn(1, 2, 20, 8)
    expected = observe(q, q, torch.zeros(1, 2, 20), Causal(), max_score=True, engine="reference").max_score
    lse = logsumexp(q, q, Causal(), sinks=torch.tensor([1e9, 0.0]))
    assert error(observe(q, q, lse, Causal(), max_score=True).max_score, expected) < 1e-6


def test_queries_whose_rows_overlap_are_read_as_they_are():
    q = torch.randn(40, dtype=torch.float64).as_strided((1, 1, 10, 16), (0, 0, 1, 1))
    k = torch.randn(1, 1, 10, 16, dtype=torch.float64)
    found = attend(q, k, k, Causal())
    expected = attend(q, k, k, Causal(), engine="reference")
    assert error(found[0], expected[0]) < 1e-12 and error(found[1], expected[1]) < 1e-12


def test_threads_do_not_lower_one_another_s_precision():
    q = torch.randn(1, 4, 300, 64)
    expected = logsumexp(q, q, Causal())
    torch.set_float32_matmul_precision("medium")
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: logsumexp(q, q, Causal()), range(40)))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(torch.equal(one, expected) for one in found)


def test_autocast_and_reduced_matmuls_do_not_round_it():
    q, k = torch.randn(2, 1, 2, 40, 16).unbind()
    lse = logsumexp(q, k, Causal())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(logsumexp(q, k, Causal()), lse)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(logsumexp(q, k, Causal()), lse)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
