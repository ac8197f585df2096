"""Which fused kernel computes what, and that every back end's lse becomes ours."""

import math
from dataclasses import replace

import pytest
import torch

from lookbehind.attention import attend
from lookbehind.engines.kernels import routes
from lookbehind.engines.kernels.routes import Route, aligned, route
from lookbehind.engines.problem import Problem
from lookbehind.engines.sinks import folded
from lookbehind.pattern import Causal, Diagonal, First, Full, Window
from lookbehind.spans import Spans

CUDA = torch.cuda.is_available()


def problem(
    n_queries=32,
    n_keys=32,
    pattern=Causal(),  # noqa: B008
    width=64,
    v_width=None,
    group=2,
    scale=0.125,
    **options,
) -> Problem:
    q = torch.randn(1, 2 * group, n_queries, width).bfloat16()
    k, v = (torch.randn(1, 2, n_keys, wide).bfloat16() for wide in (width, v_width or width))
    spans = pattern if isinstance(pattern, Spans) else pattern.spans(n_queries, n_keys)
    return Problem(q, k, v, spans, scale, **options)


@pytest.fixture
def hopper(monkeypatch):
    """As on a card of capability 9.0 where every kernel is compiled in and right."""
    monkeypatch.setattr(routes, "_capability", lambda device: (9, 0))
    monkeypatch.setattr(routes, "_doubt", lambda *what: "")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("cudnn", {}),
        ("cudnn", {"pattern": Full()}),
        ("cudnn", {"sinks": torch.zeros(4)}),
        ("flash", {"n_queries": 8}),
        ("flash", {"n_queries": 8, "pattern": Full()}),
        ("flash", {"width": 256}),
        ("efficient", {"group": 1, "v_width": 32}),
        ("flex", {"group": 1, "v_width": 32, "n_queries": 65_600, "n_keys": 65_600}),
        ("flex", {"v_width": 32}),
        ("flex", {"pattern": Causal() & Window(9)}),
        ("flex", {"pattern": Causal() & (Window(9) | First(2))}),
        ("flex", {"n_keys": 8}),  # queries before the first key: rows that read nothing
        ("flex", {"pattern": Causal().spans(32, 40, 0)}),  # a triangle that is not at the end
        ("flex", {"softcap": 5.0}),
        ("flex", {"alibi": torch.ones(4)}),
        ("flex", {"width": 50}),
        ("flex", {"scale": -0.1}),  # the others scale what they have masked
        ("flex", {"scale": 0.0}),
        ("flash", {"n_queries": 1, "n_keys": 1}),  # cuDNN takes no single key
    ],
    ids=str,
)
def test_each_kernel_takes_what_it_is_right_for(hopper, name, what):
    assert route(problem(**what)) == Route(name)


def test_before_hopper_flash_comes_first(hopper, monkeypatch):
    monkeypatch.setattr(routes, "_capability", lambda device: (8, 0))
    assert route(problem()).name == "flash"


def test_what_is_not_trusted_is_passed_over(hopper, monkeypatch):
    doubt = "does not run here: no kernel image"
    monkeypatch.setattr(routes, "_doubt", lambda name, *what: doubt if name == "cudnn" else "")
    assert route(problem()).name == "flash"
    monkeypatch.setattr(routes, "_doubt", lambda *what: doubt)
    assert route(problem()) == Route(None, "flex does not run here: no kernel image")


def test_what_no_kernel_takes_is_said(hopper):
    whole = problem()
    single = replace(whole, q=whole.q.float(), k=whole.k.float(), v=whole.v.float())
    assert route(single).reason == "fused kernels may round float32 to TF32; the torch engine does not"
    assert route(problem(n_keys=0)).reason == "nothing is there to be computed"
    assert (
        route(problem(width=8, v_width=300)).reason == "heads of 8 and values of 300 do not fit FlexAttention"
    )
    q = torch.zeros(1, 1, 2, 16, dtype=torch.bfloat16).expand(65536, -1, -1, -1)
    crowd = Problem(q, q, q, Causal().spans(2), 0.1)
    assert route(crowd).reason == "a launch has room for 65,535 heads and as many in a batch"
    many = Spans.from_mask((torch.arange(64) % 2 == 0).expand(32, 64).numpy())
    assert "a query reads 32 intervals of keys" in route(problem(n_keys=64, pattern=many)).reason


# Each back end's conventions, on a CPU, by what they are documented to return.


def padded(multiple: int, tail: float):
    def back_end(q, k, v, scale, causal):
        out, lse = dense(q, k, v, scale, causal)
        more = -lse.shape[2] % multiple
        return out, torch.nn.functional.pad(lse, (0, more), value=tail)

    return back_end


def dense(q, k, v, scale, causal):
    """Top-left triangle where lengths are equal, bottom-right otherwise; as a strided output."""
    pattern = Causal() if causal else Full()
    out, lse = attend(q, k, v, pattern, scale=scale, engine="reference")
    return out.transpose(1, 2).contiguous().transpose(1, 2), lse


def cudnn(q, k, v, scale, causal):
    out, lse = dense(q, k, v, scale, causal)
    return out, lse[..., None]


@pytest.mark.parametrize(
    ("name", "back_end"),
    [("cudnn", cudnn), ("flash", padded(128, math.inf)), ("efficient", padded(32, math.inf))],
    ids=["cudnn", "flash", "efficient"],
)
@pytest.mark.parametrize("sinks", [None, torch.randn(2)], ids=["no sinks", "sinks"])
def test_every_convention_of_lse_becomes_ours(hopper, monkeypatch, name, back_end, sinks):
    monkeypatch.setattr(routes, "ORDER", (name,))
    monkeypatch.setitem(routes.RAW, name, back_end)
    one = problem(37, 37, group=1, sinks=sinks)
    out, lse = routes.attend(one)
    expected = attend(one.q, one.k, one.v, one.spans, sinks=sinks, engine="reference")
    assert lse.shape == (1, 2, 37) and lse.dtype == torch.float32
    assert out.is_contiguous() and lse.is_contiguous()
    torch.testing.assert_close(lse, expected[1])
    torch.testing.assert_close(out, expected[0])


@pytest.mark.parametrize("said", [0.0, math.inf, -math.inf])
def test_rows_that_read_nothing_are_set_whatever_a_back_end_says(said):
    one = problem(6, 6, pattern=Diagonal(2), group=1)
    out, lse = routes.normalised(
        torch.full((1, 2, 6, 64), math.nan).bfloat16(), torch.full((1, 2, 6), said), one
    )
    assert (out[:, :, :2] == 0).all() and (lse[:, :, :2] == -math.inf).all()
    assert out[:, :, 2:].isnan().all() and (lse[:, :, 2:] == said).all()


@pytest.mark.parametrize(
    "q",
    [
        torch.randn(1, 2, 32, 128)[..., ::2],
        torch.randn(1, 2, 32, 65)[..., 1:],
        torch.randn(1, 2, 32, 68)[..., :64],
        torch.randn(2 * 32 * 64 + 1)[1:].view(1, 2, 32, 64),
    ],
    ids=["every second", "odd rows", "rows of half an address", "an odd beginning"],
)
def test_what_kernels_cannot_read_is_copied_before_they_see_it(hopper, monkeypatch, q):
    """They read 16 bytes at a time, and what lies at other places they read wrongly or not at all."""
    seen = []
    monkeypatch.setattr(routes, "ORDER", ("flash",))
    monkeypatch.setitem(routes.RAW, "flash", lambda *call: seen.append(call) or dense(*call))
    one = problem(group=1)
    routes.attend(replace(one, q=bfloat16_at(q)))
    for x in seen[0][:3]:
        assert x.stride(3) == 1 and x.data_ptr() % 16 == 0 and all(step % 8 == 0 for step in x.stride()[:3])
    assert torch.equal(seen[0][0], q.bfloat16())
    assert seen[0][1] is one.k  # and nothing else is


def bfloat16_at(x: torch.Tensor) -> torch.Tensor:
    """The same numbers in a storage of the same strides and beginning."""
    storage = torch.empty(x.untyped_storage().size() // x.element_size(), dtype=torch.bfloat16)
    return torch.as_strided(storage, x.shape, x.stride(), x.storage_offset()).copy_(x)


def test_fused_kernels_are_handed_what_they_read():
    """Adjacent numbers at addresses and steps of 16 bytes, copied only where they are not so."""
    x = torch.randn(2, 3, 5, 64).bfloat16()
    one = torch.randn(2, 3, 65).bfloat16().as_strided((2, 3, 1, 64), (192, 64, 65, 1))
    for kept in (x, x.transpose(1, 2), x[:, :, :3, 8:24], one):
        found = aligned(kept)
        assert torch.equal(found, kept) and found.data_ptr() == kept.data_ptr()
        assert all(step * 2 % 16 == 0 for step in found.stride()[:3]) and found.stride(3) == 1
    for copied in (x[..., 1:17], x[..., ::2], torch.randn(2, 3, 5, 65).bfloat16()[..., :64]):
        found = aligned(copied)
        assert torch.equal(found, copied) and found.is_contiguous() and found.data_ptr() % 16 == 0


@pytest.mark.parametrize("wrong", ["top-left", "base 2", "raises"])
def test_a_kernel_that_disagrees_is_not_used(monkeypatch, wrong):
    def back_end(q, k, v, scale, causal):
        if wrong == "raises":
            raise RuntimeError("no kernel image\nis available")
        if wrong == "base 2":
            out, lse = dense(q, k, v, scale, causal)
            return out, lse / math.log(2)
        return attend(q, k, v, Causal() if causal else Full(), offset=0, scale=scale, engine="reference")

    monkeypatch.setitem(routes.RAW, "flash", back_end)
    ask = ("flash", torch.device("cpu"), torch.bfloat16, 16, 16, 2)
    said = {
        "top-left": "gives another lse on this device",
        "base 2": "gives another lse on this device",
        "raises": "does not run here: no kernel image",
    }
    assert routes._doubt.__wrapped__(*ask) == said[wrong]
    monkeypatch.setitem(routes.RAW, "flash", dense)
    assert routes._doubt.__wrapped__(*ask) == ""


def test_a_full_card_says_nothing_of_a_kernel(monkeypatch):
    def back_end(q, k, v, scale, causal):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(routes.RAW, "flash", back_end)
    with pytest.raises(torch.OutOfMemoryError):
        routes._doubt.__wrapped__("flash", torch.device("cpu"), torch.bfloat16, 16, 16, 2)


def test_sinks_are_folded_in_afterwards():
    one = problem(group=1)
    sinks = torch.randn(2)
    plain = attend(one.q, one.k, one.v, one.spans, engine="reference")
    together = attend(one.q, one.k, one.v, one.spans, sinks=sinks, engine="reference")
    out, lse = folded(replace(one, sinks=sinks), *plain)
    torch.testing.assert_close(lse, together[1])
    torch.testing.assert_close(out, together[0], rtol=2e-2, atol=2e-3)
    assert folded(one, *plain)[0] is plain[0]
    # A query that reads nothing has no sink either; one that reads what weighs nothing has nothing else.
    none = torch.zeros_like(plain[0]), torch.full_like(plain[1], -math.inf)
    for pattern, expected in [(one.spans, sinks), (~Full(), torch.full((2,), -math.inf))]:
        spans = pattern if pattern is one.spans else pattern.spans(one.n_queries, one.n_keys)
        out, lse = folded(replace(one, spans=spans, sinks=sinks), *none)
        assert (out == 0).all() and (lse == expected[:, None]).all()


@pytest.mark.skipif(not CUDA, reason="the kernels themselves need a card; none is here")
@pytest.mark.parametrize("name", ["cudnn", "flash", "efficient"])
@pytest.mark.parametrize("pattern", [Causal(), Full()], ids=str)
def test_on_a_card_every_kernel_agrees_with_the_reference(monkeypatch, name, pattern):
    monkeypatch.setattr(routes, "ORDER", (name,))
    one = problem(200, 200, pattern=pattern, width=128, group=1 if name == "efficient" else 4)
    there = {letter: getattr(one, letter).cuda() for letter in "qkv"}
    one = replace(one, **there)
    found = route(one)
    if name == "cudnn" and torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("cuDNN is asked on Hopper and later; this card is older")
    assert found.name == name, found.reason
    out, lse = routes.attend(one)
    expected = attend(one.q, one.k, one.v, one.spans, scale=one.scale, engine="reference")
    torch.testing.assert_close(lse, expected[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(out, expected[0], rtol=2e-2, atol=2e-2)


@pytest.mark.skipif(not CUDA, reason="the kernels themselves need a card; none is here")
@pytest.mark.parametrize("lengths", [(1, 200), (37, 70), (100, 150), (150, 190)], ids=str)
def test_on_a_card_flex_attention_agrees_with_the_reference(monkeypatch, lengths):
    monkeypatch.setattr(routes, "ORDER", ("flex",))
    for group, scale in ((1, 0.125), (2, -0.1), (4, 0.125), (8, 0.0)):
        one = problem(*lengths, pattern=Causal() & (Window(40) | First(2)), group=group, scale=scale)
        one = replace(one, **{letter: getattr(one, letter).cuda() for letter in "qkv"})
        assert route(one) == Route("flex")
        out, lse = routes.attend(one)
        expected = attend(one.q, one.k, one.v, one.spans, scale=scale, engine="reference")
        torch.testing.assert_close(lse, expected[1], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(out, expected[0], rtol=2e-2, atol=2e-2)


@pytest.mark.skipif(not CUDA, reason="the kernels themselves need a card; none is here")
@pytest.mark.parametrize("name", ["cudnn", "flash", "flex"])
def test_on_a_card_rows_beyond_65536_are_as_right_as_those_before(monkeypatch, name):
    monkeypatch.setattr(routes, "ORDER", (name,))
    n, rows = 66_000, torch.tensor([0, 40_000, 65_535, 65_536, 65_999])
    one = problem(n, n, group=1)
    one = replace(one, **{letter: getattr(one, letter).cuda() for letter in "qkv"})
    found = route(one)
    assert found.name == name, found.reason
    out, lse = routes.attend(one)
    scores = one.q[:, :, rows].double() @ one.k.double().mT * one.scale
    scores = scores.masked_fill((torch.arange(n) > rows[:, None]).cuda(), -math.inf)
    torch.testing.assert_close(lse[:, :, rows].double(), scores.logsumexp(-1), rtol=1e-3, atol=1e-3)
    right = scores.softmax(-1) @ one.v.double()
    torch.testing.assert_close(out[:, :, rows].double(), right, rtol=2e-2, atol=2e-2)
