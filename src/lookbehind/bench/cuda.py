"""The triton engine: what it has to reach on a card, and what it reaches here.

Times are device events around a call, what is compared is called in turn, and the medians are given. The
rate of matrix products and of copying are measured in the same run. Without a card the same code runs in
Triton's interpreter on tiny sizes, by the clock on the wall: that it runs, which is all that says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.bench.clock import Call
from lookbehind.bench.row import Row
from lookbehind.engines.kernels import flex, routes, tuning
from lookbehind.engines.problem import Problem
from lookbehind.pattern import Causal
from lookbehind.recorder import record

MB = 2**20
_ALL: dict[str, Any] = {"received": True, "entropy": True, "top": 1, "max_score": True}


@dataclass(frozen=True)
class Setting:
    """What is measured on.

    Attributes:
        device: "cuda", or "cpu" in the interpreter.
        lengths: of observations, ascending.
        eager: the length at which all weights at once are compared.
        window, cache: queries of the eviction window, and keys it looks at.
        heads, kv_heads, width: of a layer.
        side: of the square matrices and of the map.
        times: turns of what is short; a fifth of them where it is long.
        text, layers, hidden: of the model whose forward is recorded.
    """

    device: str
    lengths: tuple[int, ...]
    eager: int
    window: int
    cache: int
    heads: int
    kv_heads: int
    width: int
    side: int
    times: int
    text: int
    layers: int
    hidden: int


FULL = Setting("cuda", (16_384, 32_768, 131_072), 8_192, 256, 131_072, 32, 8, 128, 1024, 15, 32_768, 32, 4096)
QUICK = Setting("cuda", (512, 1024), 512, 64, 1024, 8, 2, 64, 64, 2, 512, 2, 512)
TINY = Setting("cpu", (32, 48), 32, 8, 40, 2, 1, 16, 8, 1, 16, 1, 32)


def rows(setting: Setting) -> list[Row]:
    """Every figure. Those that need something that is not here have no value, and say so."""
    return [row for _, figure in figures(setting) for row in figure()]


def figures(setting: Setting) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """Every figure by name, each read when it is called, so that one that fails leaves the others."""
    rate, bandwidth = _matmul_rate(setting), _copy_bandwidth(setting)
    yield (
        "rates",
        lambda: [
            Row(
                "matrix products, bfloat16",
                rate / 1e12,
                "TFLOP/s",
                f"{8 * setting.side} squared, in this run",
            ),
            Row("memory, read and written by copying", bandwidth / 1e9, "GB/s", "in this run"),
        ],
    )
    yield "received by a cache", lambda: _window(setting, bandwidth)
    for n in setting.lengths:
        yield f"n = {n:,}", lambda n=n: _attention(setting, n, rate)
    yield "memory", lambda: [_growth(setting)]
    yield "eager", lambda: _eager(setting)
    yield "recording", lambda: [_recording(setting)]


# -- figures -----------------------------------------------------------------------------------------------


def _attention(setting: Setting, n: int, rate: float) -> list[Row]:
    q, k, v = _inputs(setting, n, n)
    spans = Causal().spans(n)
    times = max(setting.times // (5 if n > 65_536 else 1), 1)
    peers = _fused(Problem(q, k, v, spans, setting.width**-0.5))
    if not peers:
        return [
            Row(
                f"attend, times the fastest fused kernel's time: n = {n:,}", None, "x", "none runs here", 1.02
            )
        ]
    for call in peers.values():
        call()  # compiles
    speeds = {name: _milliseconds(call, setting.device) for name, call in peers.items()}
    fastest = min(speeds, key=lambda name: speeds[name])
    peer = peers[fastest]
    _, lse = attend(q, k, v, spans, engine="triton")
    size = (setting.side, setting.side)
    several: dict[str, Call] = {
        "attend": lambda: attend(q, k, v, spans, engine="triton"),
        "observe": lambda: observe(q, k, lse, spans, **_ALL, engine="triton"),
        "mapped": lambda: observe(q, k, lse, spans, **_ALL, map=size, engine="triton"),
        "received": lambda: observe(q, k, lse, spans, received=True, engine="triton"),
    }
    read = {name: _in_turn(call, peer, times, setting.device) for name, call in several.items()}
    heads = f"{setting.heads} heads on {setting.kv_heads}, D = {setting.width}, bfloat16, causal"
    all_of = f"received, entropy, top weight, largest score; {heads}"
    operations = 2 * setting.width * setting.heads * spans.count()
    share = 100 * operations / (read["observe"].ours / 1e3) / rate
    kernels = ", ".join(f"{name} {value:,.2f} ms" for name, value in speeds.items())

    def beside(name: str) -> str:
        return f"{read[name].ours:,.2f} ms beside {read[name].theirs:,.2f} ms ({fastest})"

    return [
        Row(
            f"attend, times the fastest fused kernel's time: n = {n:,}",
            read["attend"].ratio,
            "x",
            f"{heads}; {beside('attend')}; {kernels}",
            1.02,
            1.0,
            at_most=True,
        ),
        Row(
            f"observe, times that kernel's time: n = {n:,}",
            read["observe"].ratio,
            "x",
            f"{all_of}; {beside('observe')}",
            0.8,
            0.6,
            at_most=True,
        ),
        Row(
            f"observe and a map, times that kernel's time: n = {n:,}",
            read["mapped"].ratio,
            "x",
            f"the same and {setting.side} x {setting.side} pixels; {beside('mapped')}",
            0.9,
            0.65,
            at_most=True,
        ),
        Row(
            f"observe received mass alone, times that kernel's time: n = {n:,}",
            read["received"].ratio,
            "x",
            beside("received"),
        ),
        Row(
            f"observe, share of the rate of matrix products: n = {n:,}",
            share,
            "%",
            "2 D operations a product",
            45,
            65,
        ),
    ]


def _growth(setting: Setting) -> Row:
    """Memory beside inputs and results, a query: the same however many there are."""
    extras: list[int] = []
    for n in (setting.lengths[0], setting.lengths[-1]):
        q, k, _ = _inputs(setting, n, n)
        spans = Causal().spans(n)
        lse = torch.zeros(1, setting.heads, n, device=setting.device)
        extras.append(
            _extra(lambda q=q, k=k, lse=lse, spans=spans: observe(q, k, lse, spans, **_ALL, engine="triton"))
        )
    first, last = setting.lengths[0], setting.lengths[-1]
    value = None if extras[0] == 0 else extras[1] / extras[0] / (last / first)
    note = f"n = {first:,} to {last:,}: {extras[0] / MB:,.0f} MB to {extras[1] / MB:,.0f} MB; 1 is O(n)"
    if value is None:
        note = "memory of a card is measured on a card only"
    return Row("observe, growth of extra memory over that of n", value, "x", note, 1.1, at_most=True)


def _eager(setting: Setting) -> list[Row]:
    n = setting.eager
    q, k, _ = _inputs(setting, n, n)
    spans = Causal().spans(n)
    lse = logsumexp(q, k, spans, engine="triton")
    hidden = torch.ones(n, n, dtype=torch.bool, device=setting.device).triu(1)

    def ours() -> object:
        return observe(q, k, lse, spans, **_ALL, engine="triton")

    def theirs() -> object:
        s = q @ _repeated(k, setting).mT * setting.width**-0.5
        p = s.masked_fill(hidden, -torch.inf).softmax(-1, dtype=torch.float32)
        return p.sum(2), torch.special.entr(p).sum(-1), p.max(-1), s.amax((2, 3))

    read = _in_turn(ours, theirs, max(setting.times // 3, 1), setting.device)
    mine, usual = _extra(ours), _extra(theirs)
    note = f"n = {n:,}, all heads at once: {read.ours:,.2f} ms beside {read.theirs:,.2f} ms"
    memory = f"{mine / MB:,.0f} MB beside {usual / MB:,.0f} MB"
    return [
        Row("observe, times as fast as eager", 1 / read.ratio, "x", note, 15, 30),
        Row("observe, times less memory than eager", usual / mine if mine else None, "x", memory, 50),
    ]


def _window(setting: Setting, bandwidth: float) -> list[Row]:
    """The mass that the last queries give to a long cache, as eviction methods rank keys by."""
    q, k, _ = _inputs(setting, setting.window, setting.cache)
    spans = Causal().spans(setting.window, setting.cache)
    hidden = torch.ones(setting.window, setting.window, dtype=torch.bool, device=setting.device).triu(1)

    def ours() -> object:
        lse = logsumexp(q, k, spans, engine="triton")
        return observe(q, k, lse, spans, received=True, engine="triton").received

    def theirs() -> object:
        s = q @ _repeated(k, setting).mT * setting.width**-0.5
        s[..., -setting.window :].masked_fill_(hidden, torch.finfo(s.dtype).min)
        return s.softmax(-1, dtype=torch.float32).to(q.dtype).sum(-2)

    read = _in_turn(ours, theirs, setting.times, setting.device)
    mine, usual = _extra(ours), _extra(theirs)
    lse = logsumexp(q, k, spans, engine="triton")
    alone = _milliseconds(lambda: observe(q, k, lse, spans, received=True, engine="triton"), setting.device)
    n_bytes = k.numel() * k.element_size() + 4 * setting.heads * setting.cache
    note = (
        f"last {setting.window} queries over {setting.cache:,} keys, lse and mass: {read.ours:,.2f} ms "
        f"beside {read.theirs:,.2f} ms; {mine / MB:,.0f} MB beside {usual / MB:,.0f} MB"
    )
    return [
        Row("received by a cache, times as fast as the dense window", 1 / read.ratio, "x", note, 3, 5),
        Row(
            "received by a cache, share of the bandwidth of copying",
            100 * n_bytes / (alone / 1e3) / bandwidth,
            "%",
            f"the mass alone, {alone:,.2f} ms; keys read once, mass written once. Where so many rows of "
            "queries meet each key, the products take longer than the reading",
            None,
            80,
        ),
    ]


def _recording(setting: Setting) -> Row:
    """A forward of a random model, statistics kept, beside the same unrecorded."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        hidden_size=setting.hidden,
        intermediate_size=setting.hidden * 7 // 2,
        num_hidden_layers=setting.layers,
        num_attention_heads=setting.heads,
        num_key_value_heads=setting.kv_heads,
        head_dim=setting.width,
        vocab_size=1024,  # there is no head, and a larger table would only be read less densely
        max_position_embeddings=setting.text,
    )
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(setting.device):
            model = LlamaModel(config).eval()
    finally:
        torch.set_default_dtype(before)
    ids = torch.arange(setting.text, device=setting.device)[None] * 7 % 1024

    @torch.no_grad()
    def plain() -> object:
        return model(ids, use_cache=False)

    @torch.no_grad()
    def recorded() -> object:
        with record(model, keep="statistics") as recorder:
            model(ids, use_cache=False)
        return recorder

    read = _in_turn(recorded, plain, max(setting.times // 4, 1), setting.device)
    products = Causal().spans(setting.text).count()
    attention = 4 * setting.width * setting.heads * setting.layers * products
    rest = 2 * setting.text * sum(x.numel() for name, x in model.named_parameters() if "embed" not in name)
    note = (
        f"{setting.layers} layers of {setting.hidden}, {setting.text:,} tokens: {read.ours:,.0f} ms beside "
        f"{read.theirs:,.0f} ms; one more QK^T is {100 * attention / 2 / (attention + rest):.0f} % of the "
        "forward's operations, and lse and observation are two"
    )
    value = 100 * (read.ratio - 1)
    return Row("recording statistics, more time for a forward", value, "%", note, 10, 5, at_most=True)


# -- parts -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """Medians in milliseconds, and of ours over theirs in the same turn."""

    ours: float
    theirs: float
    ratio: float


def _in_turn(ours: Call, theirs: Call, times: int, device: str) -> _Read:
    for call in (ours, ours, theirs):  # compiles, tunes, then once as it will run
        call()
    pairs = [(_milliseconds(ours, device), _milliseconds(theirs, device)) for _ in range(times)]
    a, b = zip(*pairs, strict=True)
    return _Read(median(a), median(b), median(x / max(y, 1e-9) for x, y in pairs))


def _milliseconds(call: Call, device: str) -> float:
    if device != "cuda":
        start = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - start)
    return tuning.milliseconds(call)


def _extra(call: Call) -> int:
    """Bytes of the card that a call takes at most, its results among them; 0 without a card."""
    if not torch.cuda.is_available():
        call()
        return 0
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _inputs(setting: Setting, n_queries: int, n_keys: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator(setting.device).manual_seed(0)

    def random(heads: int, n: int) -> torch.Tensor:
        shape = (1, heads, n, setting.width)
        return torch.randn(shape, device=setting.device, dtype=torch.bfloat16, generator=generator)

    return (
        random(setting.heads, n_queries),
        random(setting.kv_heads, n_keys),
        random(setting.kv_heads, n_keys),
    )


def _repeated(k: torch.Tensor, setting: Setting) -> torch.Tensor:
    """Keys for every query head, as dense code has them."""
    return k.repeat_interleave(setting.heads // setting.kv_heads, dim=1)


def _fused(problem: Problem) -> dict[str, Call]:
    """Every fused kernel that runs this problem here, called as directly as it can be."""
    q, k, v = problem.q, problem.k, problem.v
    assert v is not None
    found: dict[str, Call] = {}
    for name in routes.ORDER:
        if routes.why_not(name, problem):
            continue
        if name == "flex":
            found[name] = lambda: flex.run(problem)
        else:
            raw: Callable[..., Any] = routes.RAW[name]
            found[name] = lambda raw=raw: raw(q, k, v, problem.scale, True)
    return found


def _matmul_rate(setting: Setting) -> float:
    side = 8 * setting.side
    a, b = torch.randn(2, side, side, device=setting.device).bfloat16().unbind()
    torch.matmul(a, b)
    return 2 * side**3 / (median(_milliseconds(lambda: a @ b, setting.device) for _ in range(5)) / 1e3)


def _copy_bandwidth(setting: Setting) -> float:
    source = torch.empty(
        setting.side * MB if setting.device == "cuda" else MB, dtype=torch.uint8, device=setting.device
    )
    target = torch.empty_like(source)
    target.copy_(source)
    took = median(_milliseconds(lambda: target.copy_(source), setting.device) for _ in range(5))
    return 2 * source.numel() / (took / 1e3)
