"""attend, logsumexp and observe at the door: what they take, and the words with which they refuse."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.engines import ORDER
from lookbehind.errors import InputError, PatternError
from lookbehind.pattern import Causal, Diagonal, First, Full, Window
from lookbehind.spans import Spans

OUTSIDE = "is out of the range of float32, in which float32 is computed; use 1.2e-38 to 3.4e+38, or float64"
LSE = "float32 or float64 [1, 2, 5] on cpu is needed, as attend() returns it"


def randn(*shape: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype)


def refusal(**changed) -> str:
    """The message with which a good call, changed like this, is refused."""
    good = {"q": randn(2, 6, 5, 8), "k": randn(2, 3, 7, 8), "v": randn(2, 3, 7, 4), "pattern": Causal()}
    call = good | changed
    with pytest.raises(InputError) as caught:
        attend(call.pop("q"), call.pop("k"), call.pop("v"), call.pop("pattern"), **call)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"k": randn(2, 4, 7, 8)},
            "keys: 4 kv heads cannot serve 6 query heads; 6 must be a multiple of 4",
        ),
        ({"k": randn(2, 0, 7, 8)}, "keys: 0 kv heads cannot serve 6 query heads; 6 must be a multiple of 0"),
        (
            {"q": np.zeros((2, 6, 5, 8), np.float32)},
            "q: a torch tensor is needed; got numpy.ndarray; use torch.from_numpy()",
        ),
        ({"v": [1.0]}, "v: a torch tensor is needed; got list"),
        (
            {"q": randn(6, 5, 8)},
            "q: [B, Hq, Lq, D] is needed; got 3 axes, [6, 5, 8]; add the batch axis with x[None]",
        ),
        ({"k": randn(7, 8)}, "keys: [B, Hkv, Lk, D] is needed; got 2 axes, [7, 8]"),
        (
            {"q": torch.zeros(2, 6, 5, 8, dtype=torch.int64)},
            "q: int64 cannot be attended; use float64, float32, bfloat16, float16",
        ),
        (
            {"q": torch.zeros(2, 6, 5, 8, dtype=torch.complex64)},
            "q: complex64 cannot be attended; use float64, float32, bfloat16, float16",
        ),
        ({"q": randn(2, 0, 5, 8)}, "q: at least one head of width at least 1 is needed; got [2, 0, 5, 8]"),
        ({"q": randn(2, 6, 5, 0)}, "q: at least one head of width at least 1 is needed; got [2, 6, 5, 0]"),
        (
            {"k": randn(2, 3, 7, 8).double()},
            "keys: float64 on cpu does not fit queries of float32 on cpu; convert one with .to()",
        ),
        (
            {"v": torch.zeros(2, 3, 7, 4, device="meta")},
            "values: float32 on meta does not fit queries of float32 on cpu; convert one with .to()",
        ),
        ({"k": randn(1, 3, 7, 8)}, "keys: a batch of 1 does not fit 2 of queries; they must be equal"),
        ({"k": randn(2, 3, 7, 6)}, "keys: width 6 does not fit queries of width 8; they must be equal"),
        (
            {"v": randn(2, 3, 6, 4)},
            "values: 3 heads x 6 positions do not fit keys of 3 x 7; they must be equal",
        ),
        (
            {"v": randn(2, 6, 7, 4)},
            "values: 6 heads x 7 positions do not fit keys of 3 x 7; they must be equal",
        ),
        ({"v": None}, "v: a torch tensor is needed; got NoneType"),
        ({"q": randn(2, 6, 5, 8).to_sparse()}, "q: a dense tensor is needed; got a sparse one"),
        ({"scale": float("nan")}, "scale: a finite number is needed; got nan"),
        ({"scale": "0.1"}, "scale: a finite number is needed; got '0.1'"),
        ({"softcap": 0}, "softcap: a number above 0 is needed, or None for no cap; got 0"),
        ({"softcap": float("inf")}, "softcap: a finite number is needed; got inf"),
        (
            {"sinks": randn(3)},
            "sinks: one floating-point number for each of 6 heads on cpu is needed; got float32 [3] on cpu",
        ),
        (
            {"alibi": torch.arange(6)},
            "alibi: one floating-point number for each of 6 heads on cpu is needed; got int64 [6] on cpu",
        ),
        ({"offset": 1.5}, "offset: a whole number is needed; got 1.5"),
        (
            {"pattern": torch.ones(5, 7)},
            "pattern: a Pattern, its text or Spans is needed; got Tensor; use Spans.from_mask()",
        ),
        ({"pattern": None}, "pattern: a Pattern, its text or Spans is needed; got NoneType"),
        (
            {"pattern": Causal().spans(5, 6)},
            "pattern: spans of 5 queries x 6 keys do not fit 5 x 7; make them for these lengths",
        ),
        (
            {"pattern": Causal().spans(5, 7), "offset": 0},
            "offset: 0 contradicts the spans, whose first query is at 2; leave it out",
        ),
        (
            {"offset": 2**63},
            "offset: a whole number of at most 4611686018427387904 is needed; got 9223372036854775808",
        ),
        ({"scale": "1"}, "scale: a finite number is needed; got '1'"),
        ({"scale": 10**400}, f"scale: a finite number is needed; got 1{76 * '0'}..."),
        ({"scale": 1e39}, f"scale: 1e+39 {OUTSIDE}"),
        ({"scale": 1e-46}, f"scale: 1e-46 {OUTSIDE}"),
        ({"softcap": 1e-40}, f"softcap: 1e-40 {OUTSIDE}"),
        ({"softcap": 1e-20, "scale": 1e20}, f"scale / softcap: 1e+40 {OUTSIDE}"),
        (
            {"alibi": torch.full((6,), -1e300, dtype=torch.float64)},
            "alibi: 1e+300 is out of the range of float32, in which float32 is computed; use smaller ones, "
            "or float64",
        ),
        ({"q": torch.zeros(2, 6, 5, 8).to_mkldnn()}, "q: a dense tensor is needed; got one of torch._mkldnn"),
        ({"engine": "fast"}, f"engine: there is no 'fast'; choose from {', '.join(('auto', *ORDER))}"),
    ],
)
def test_wrong_input_is_refused_in_a_line(changed, message):
    assert refusal(**changed) == message


@pytest.mark.parametrize("within", [torch.vmap, torch.func.grad, torch.func.functionalize])
def test_tensors_inside_transforms_are_refused_in_a_line(within):
    words = "^q: a tensor that holds numbers is needed; inside vmap, grad and the like it does not, nor where"
    with pytest.raises(InputError, match=words):
        within(lambda x: attend(x, x, x, Causal())[0].sum())(randn(1, 1, 2, 5, 4)[0])


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("trace", [
    lambda call, q: torch.jit.trace(call, (q,), check_trace=False),
    lambda call, q: make_fx(call)(q),
    lambda call, q: make_fx(call, pre_dispatch=True)(q),
    lambda call, q: torch.export.export(Module(call), (q,)),
    lambda call, q: torch.export.export(Module(call), (q,), strict=False),
], ids=["jit", "fx", "before dispatch", "export", "plain export"])  # fmt: skip
def test_what_would_trace_an_engine_is_refused(trace):
    q = randn(1, 2, 5, 4)
    _, lse = attend(q, q, q, Causal())
    for call in (
        lambda x: attend(x, q, q, Causal())[0],
        lambda x: observe(x, q, lse, Causal(), received=True).received,
    ):
        with pytest.raises(
            InputError, match=r"^attend, observe: they cannot be traced, as jit.trace, make_fx"
        ):
            trace(call, q)


class Module(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


def test_tensors_without_numbers_of_their_own_are_refused_in_a_line():
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(randn(1, 2, 4, 8))
    assert refusal(q=fake) == "q: a tensor that holds its own numbers is needed; got FakeTensor"
    freed = randn(1, 2, 4, 8)
    freed.untyped_storage().resize_(0)
    assert refusal(q=freed).startswith("q: a tensor that holds numbers is needed; inside vmap")


def test_what_no_memory_holds_is_said_in_words():
    q = randn(1, 1, 2, 4)
    lse = attend(q, q, q, "full")[1]
    for asked in (
        {"top": 2**31 - 1},
        {"by_distance": True, "offset": 2**46},
        {"by_distance": True, "offset": 2**62},
    ):
        with pytest.raises(
            InputError, match=r"^observe: the result takes more memory than there is; ask for"
        ):
            observe(q, q, lse, "full", **asked)
    with pytest.raises(InputError, match=r"^received: True or False is needed; got tensor\(\[1, 2\]\)$"):
        observe(q, q, lse, "full", received=torch.tensor([1, 2]))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
def test_nested_tensors_are_refused_in_a_line(layout):
    nested = torch.nested.nested_tensor([randn(4, 8), randn(5, 8)], layout=layout)
    assert refusal(q=nested) == "q: a dense tensor is needed; got a nested one"


def test_wrong_pattern_text_is_refused_as_parse_does():
    with pytest.raises(PatternError, match="causa"):
        attend(randn(1, 1, 2, 4), randn(1, 1, 2, 4), randn(1, 1, 2, 4), "causa")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"lse": torch.zeros(1, 2, 6)},
            f"lse: {LSE}; got float32 [1, 2, 6] on cpu",
        ),
        (
            {"lse": torch.zeros(1, 2, 5, dtype=torch.bfloat16)},
            f"lse: {LSE}; got bfloat16 [1, 2, 5] on cpu",
        ),
        ({"lse": None}, "lse: a torch tensor is needed; got NoneType"),
        ({"top": -1}, "top: a whole number of at least 0 is needed; got -1"),
        ({"top": 2**63}, "top: a whole number of at most 2147483647 is needed; got 9223372036854775808"),
        ({"top": True}, "top: a whole number is needed; got True"),
        ({"map": (4,)}, "map: (rows, columns), two whole numbers of at least 1, is needed; got (4,)"),
        ({"map": (4, 0)}, "map: (rows, columns), two whole numbers of at least 1, is needed; got (4, 0)"),
        ({"map": 512}, "map: (rows, columns), two whole numbers of at least 1, is needed; got 512"),
        ({"map_reduce": "median"}, "map_reduce: 'median' is none of mean, max, sum"),
        ({"map_reduce": ("max", 3)}, "map_reduce: 3 is none of mean, max, sum"),
        ({"map_reduce": ()}, "map_reduce: one or several of mean, max, sum are needed; got ()"),
        ({"map_reduce": None}, "map_reduce: one or several of mean, max, sum are needed; got None"),
        ({"map_of": "logit"}, "map_of: 'logit' is none of weight, score"),
        (
            {"mass": First(1)},
            "mass: patterns by name are needed, as in {'sink': 'first(1)'}; got first(1)",
        ),
        ({"mass": {"sink": 1}}, "mass 'sink': a Pattern, its text or Spans is needed; got int"),
        (
            {"mass": {"sink": First(1).spans(5)}},
            "mass 'sink': spans of 5 queries x 5 keys do not fit 5 x 7; make them for these lengths",
        ),
        (
            {"mass": {"sink": First(1).spans(5, 7, offset=3)}},
            "mass 'sink': spans whose first query is at 3 do not fit a pattern whose first query is at 2; "
            "make them at that offset",
        ),
        (
            {"mass": ["causal"]},
            "mass: patterns by name are needed, as in {'sink': 'first(1)'}; got ['causal']",
        ),
        (
            {"mass": {1: "causal"}},
            "mass: patterns by name are needed, as in {'sink': 'first(1)'}; got {1: 'causal'}",
        ),
    ],
)
def test_wrong_wishes_are_refused_in_a_line(changed, message):
    call = {"lse": torch.zeros(1, 2, 5)} | changed
    with pytest.raises(InputError) as caught:
        observe(randn(1, 2, 5, 4), randn(1, 1, 7, 4), call.pop("lse"), Full(), **call)
    assert str(caught.value) == message


def test_numbers_of_any_kind_are_numbers():
    q = randn(1, 2, 5, 4)
    found = attend(q, q, q, Causal(), scale=np.float32(0.25), softcap=np.float64(3), offset=np.int64(2))
    expected = attend(q, q, q, Causal(), scale=0.25, softcap=3, offset=2)
    assert torch.equal(found[0], expected[0])
    assert observe(q, q, found[1], Causal(), top=np.int64(2)).top_keys.shape == (1, 2, 5, 2)
    assert observe(q, q, found[1], Causal(), map=(np.int64(2), 9)).map.shape == (1, 2, 2, 5)
    assert attend(*[q.double()] * 3, Causal(), scale=1e-46)[1].isfinite().all()


def test_a_pattern_its_text_and_its_spans_are_the_same():
    q, k, v = randn(1, 2, 5, 4), randn(1, 2, 9, 4), randn(1, 2, 9, 4)
    pattern = Causal() & Window(3)
    one = attend(q, k, v, pattern)
    for other in (str(pattern), pattern.spans(5, 9), Spans.from_mask(pattern.spans(5, 9).mask())):
        assert all(torch.equal(a, b) for a, b in zip(one, attend(q, k, v, other), strict=True))


def test_the_queries_are_the_last_positions_unless_said():
    q, k = randn(1, 1, 2, 4), randn(1, 1, 6, 4)
    lse = logsumexp(q, k, Causal())
    seen = observe(q, k, lse, Causal(), received=True)
    assert seen.visible.tolist() == [2, 2, 2, 2, 2, 1]
    assert observe(q, k, lse, Causal(), offset=0, received=True).visible.tolist() == [2, 1, 0, 0, 0, 0]


def test_a_mass_is_meant_at_the_problem_s_own_positions():
    q, k = randn(1, 1, 2, 4), randn(1, 1, 6, 4)
    spans = Full().spans(2, 6, offset=1)
    lse = logsumexp(q, k, spans)
    seen = observe(q, k, lse, spans, mass={"previous": Diagonal(1), "text": "diagonal(1)"}, top=6)
    for name in ("previous", "text"):
        for row, key in ((0, 0), (1, 1)):
            at = seen.top_keys[0, 0, row] == key
            torch.testing.assert_close(seen.mass[name][0, 0, row], seen.top_weights[0, 0, row][at][0])


def test_a_region_of_the_map_is_the_same_call_on_a_part():
    q, k = randn(1, 2, 30, 8), randn(1, 1, 40, 8)
    pattern = Causal() & Window(17)
    lse = logsumexp(q, k, pattern)
    rows, keys = slice(8, 20), slice(15, 35)
    spans = pattern.spans(30, 40).region(rows, keys)
    part = observe(q[:, :, rows], k[:, :, keys], lse[:, :, rows], spans, map=(12, 20)).map
    whole = observe(q, k, lse, pattern, map=(30, 40)).map
    torch.testing.assert_close(part, whole[:, :, rows, keys], equal_nan=True)


@pytest.mark.parametrize("engine", ["torch", "reference"])
@pytest.mark.parametrize(
    ("batch", "n_queries", "n_keys"), [(1, 0, 0), (1, 0, 4), (1, 4, 0), (0, 3, 3), (1, 1, 1)]
)
def test_empty_lengths_give_empty_results(engine, batch, n_queries, n_keys):
    q, k, v = randn(batch, 2, n_queries, 4), randn(batch, 1, n_keys, 4), randn(batch, 1, n_keys, 3)
    sinks = randn(2)
    out, lse = attend(q, k, v, Causal(), sinks=sinks, engine=engine)
    assert out.shape == (batch, 2, n_queries, 3) and lse.shape == (batch, 2, n_queries)
    if n_keys == 0:
        assert (out == 0).all() and (lse == -torch.inf).all()
    wants = dict.fromkeys(("received", "entropy", "max_score", "distance", "by_distance"), True)
    seen = observe(q, k, lse, Causal(), **wants, top=2, mass={"sink": First(1)}, map=(2, 2), engine=engine)
    assert seen.received.shape == (batch, 2, n_keys) and seen.visible.shape == (n_keys,)
    assert seen.entropy.shape == seen.distance.shape == seen.mass["sink"].shape == (batch, 2, n_queries)
    assert seen.top_weights.shape == seen.top_keys.shape == (batch, 2, n_queries, 2)
    assert seen.max_score.shape == (batch, 2)
    assert seen.map.shape == (batch, 2, min(2, n_queries), min(2, n_keys))
    if n_keys == 0:
        assert (seen.max_score == -torch.inf).all()


def test_a_query_without_keys_gives_zero_and_minus_infinity():
    q = randn(1, 1, 3, 4)
    for engine in ("torch", "reference"):
        for sinks in (None, torch.zeros(1)):
            out, lse = attend(q, q, q, ~Causal(), sinks=sinks, engine=engine)
            assert (out[0, 0, 2] == 0).all() and lse[0, 0, 2] == -torch.inf
            assert lse[0, 0, :2].isfinite().all()


@pytest.mark.parametrize("engine", [engine for engine in ORDER if engine != "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_entropy_is_never_below_zero(engine, dtype):
    generator = torch.Generator().manual_seed(0)
    q, k = (3 * torch.randn(1, heads, 300, 64, generator=generator).to(dtype) for heads in (4, 2))
    lse = logsumexp(q, k, "causal & (window(1) | first(1))", engine=engine)
    entropy = observe(q, k, lse, "causal & (window(1) | first(1))", entropy=True, engine=engine).entropy
    assert entropy is not None and not bool(entropy.signbit().any())
    assert float(entropy[..., 0].max()) < 1e-5 < float(entropy.max())


def test_sinks_take_their_share_of_every_row():
    q, k, v = randn(1, 2, 6, 8), randn(1, 2, 6, 8), torch.ones(1, 2, 6, 8)
    sinks = torch.tensor([-30.0, 1.0])
    out, lse = attend(q, k, v, Causal(), sinks=sinks)
    seen = observe(q, k, lse, Causal(), mass={"all": Full()})
    torch.testing.assert_close(out[..., 0], seen.mass["all"])
    assert (seen.mass["all"][0, 0] > 0.9999).all() and (seen.mass["all"][0, 1] < 0.99).all()


def test_nothing_is_recorded_for_autograd():
    q, k, v = (randn(1, 1, 40, 4).requires_grad_() for _ in range(3))
    for pattern in (Causal(), Causal() & Window(3)):
        out, lse = attend(q, k, v, pattern)
        seen = observe(q, k, lse, pattern, received=True, map=(2, 2))
        assert not any(x.requires_grad for x in (out, lse, seen.received, seen.map))
    assert torch.is_grad_enabled()


def test_inputs_are_left_as_they_are():
    q, k, v = randn(1, 2, 9, 4), randn(1, 2, 9, 4), randn(1, 2, 9, 4)
    copies = [x.clone() for x in (q, k, v)]
    for engine in ("torch", "reference"):
        out, lse = attend(q, k, v, Causal(), sinks=torch.zeros(2), softcap=2.0, engine=engine)
        kept = lse.clone()
        observe(q, k, lse, Causal(), softcap=2.0, entropy=True, top=2, map=(3, 3), engine=engine)
        assert torch.equal(lse, kept)
    assert all(torch.equal(a, b) for a, b in zip((q, k, v), copies, strict=True))
    assert out.data_ptr() != v.data_ptr()
