"""The native engine: what it has to reach, and what it reaches here.

All on one thread by the processor's time, which other programs do not disturb much; beside it the same on two
threads by the clock on the wall. What registers allow at most, and how fast memory is copied, are measured in
the same turns as what is compared with them, for as long: what disturbs the core then disturbs both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from lookbehind.attention import attend, observe
from lookbehind.bench.alone import Measure, alone, fresh
from lookbehind.bench.clock import Call, in_turn, threads, timed
from lookbehind.bench.row import Row
from lookbehind.engines import native
from lookbehind.pattern import Causal, Full, Window

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Must and aim, as times the speed of PyTorch's fused attention; long at a width of 64 and of 128, then short.
_SPEED = {"float32": {64: (1.35, 1.5), 128: (1.25, 1.4)}, "bfloat16": {64: (2.6, 3.1), 128: (2.4, 2.8)}}
_SHORT = {"float32": (1.6, 2.0), "bfloat16": (3.0, 3.6)}
_PEAK = {"float32": (80, 90), "bfloat16": (75, 85)}
_BOTH = {"float32": (1.2, 1.0), "bfloat16": (0.63, 0.5)}
_WITH_DOT = ("amx", "avx512bf16")  # sets that multiply bfloat16; others convert it first
_WINDOW = {"float32": ((30, 45), (2, 2.5)), "bfloat16": ((40, 55), (4.5, 6))}


def rows(quick: bool) -> list[Row]:
    """Every figure; none where the engine is not compiled. Small sizes with `quick`, which says nothing."""
    if native.loaded() is not None:
        return []
    n, times = (256, 2) if quick else (4_096, 15)
    found: list[Row] = []
    for name in _TYPES:
        found += _speed(name, n, times)
    for name in _TYPES:
        found += _peak(name, n, times)
    for name in _TYPES:
        found += _observation(name, n, times)
    found.append(_beside_eager(n, times))
    for name in _TYPES:
        found += _window(name, 2 * n, times, compiled=not quick)
    found += [_growth(name, n, times // 2) for name in _TYPES]
    found.append(_memory(alone if quick else fresh, 1024 if quick else 131_072))
    found += _decoding(8 * n, times)
    return found


# -- figures -----------------------------------------------------------------------------------------------


def _speed(name: str, n: int, times: int) -> list[Row]:
    found: list[Row] = []
    for width, target in _SPEED[name].items():
        for words, length, aims in (
            ("", n, target),
            (", longer", 4 * n, target),
            (", short", n // 4, _SHORT[name]),
        ):
            heads = max(1, 4 * n // length)
            q, k, v = _inputs(name, heads, length, width)
            spans = Causal().spans(length)
            ours, theirs, ratio, two = _beside(
                lambda q=q, k=k, v=v, spans=spans: attend(q, k, v, spans, engine="native"),
                lambda q=q, k=k, v=v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
                times,
            )
            note = f"n = {length:,}, {_heads(heads)}, causal: {_ms(ours)} beside {_ms(theirs)}"
            what = f"attend, times SDPA: {name}, D = {width}{words}"
            found.append(Row(what, ratio, "x", note, *_asked(name, aims), two))
    return found


def _asked(name: str, aims: tuple[float, float]) -> tuple[float, float] | tuple[None, None]:
    """Must and aim of a speed beside PyTorch's; none of bfloat16 where it is converted."""
    return (None, None) if name == "bfloat16" and native.sets()[0][0] not in _WITH_DOT else aims


def _peak(name: str, n: int, times: int) -> list[Row]:
    peaks: list[float] = []
    shares: dict[int, list[float]] = {}
    for width in (64, 128):
        q, k, v = _inputs(name, 4, n, width)
        spans = Causal().spans(n)
        operations = 4 * width * 4 * spans.count()
        call = lambda q=q, k=k, v=v, spans=spans: attend(q, k, v, spans, engine="native")  # noqa: E731
        with threads(1):
            stretch = min(max(timed(call), 0.01), 1)
            for _ in range(times):
                peaks.append(native.peak_flops(_TYPES[name], stretch))
                seconds = timed(call, clock=time.process_time)
                shares.setdefault(width, []).append(100 * operations / max(seconds, 1e-9) / peaks[-1])
    note = f"{native.sets()[0][0]}, multiply-adds that stay in registers, one core"
    return [
        Row(f"peak of the registers, {name}", median(peaks) / 1e9, "GFLOP/s", note),
        *(
            Row(
                f"attend, share of that peak: {name}, D = {width}",
                median(share),
                "%",
                f"n = {n:,}, 4 heads, causal; 4 D operations a product",
                *_PEAK[name],
            )
            for width, share in shares.items()
        ),
    ]


def _observation(name: str, n: int, times: int) -> list[Row]:
    found: list[Row] = []
    for width in (64, 128):
        q, k, v = _inputs(name, 4, n, width)
        spans = Causal().spans(n)
        lse = attend(q, k, v, spans, engine="native")[1]

        def seen(
            q: torch.Tensor = q, k: torch.Tensor = k, lse: torch.Tensor = lse, spans: Any = spans
        ) -> object:
            return _observed(q, k, lse, spans)

        def made(q: torch.Tensor = q, k: torch.Tensor = k, v: torch.Tensor = v, spans: Any = spans) -> object:
            return attend(q, k, v, spans, engine="native")

        note = f"n = {n:,}, 4 heads, causal; received, entropy, top weight, largest score, 512 x 512 map"
        at = f"{name}, D = {width}"
        _, _, ratio, two = _beside(made, seen, times)
        found.append(
            Row(f"observe, times attend's time: {at}", ratio, "x", note, 0.65, 0.5, two, at_most=True)
        )
        _, _, ratio, two = _beside(
            lambda q=q, k=k, v=v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
            lambda made=made, seen=seen: (made(), seen()),
            times,
        )
        found.append(
            Row(
                f"attend + observe, times SDPA's time: {at}",
                ratio,
                "x",
                "the same",
                *_BOTH[name],
                two,
                at_most=True,
            )
        )
    return found


def _beside_eager(n: int, times: int) -> Row:
    q, k, v = _inputs("float32", 4, n, 64)
    spans = Causal().spans(n)
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)

    def ours() -> None:
        _observed(q, k, attend(q, k, v, spans, engine="native")[1], spans)

    def theirs() -> None:
        for head in range(q.shape[1]):
            s = (q[:, head] @ k[:, head].mT * 64**-0.5).masked_fill(hidden, -torch.inf)
            p = s.softmax(-1)
            _ = p @ v[:, head], p.sum(1), torch.special.entr(p).sum(-1), p.max(-1), s.max()
            functional.avg_pool2d(p, max(n // 512, 1))

    mine, usual, ratio, two = _beside(ours, theirs, max(2, times // 3))
    note = f"n = {n:,}, 4 heads, causal; eager a head at a time: {_ms(mine)} beside {_ms(usual)}"
    return Row("attend + observe, times eager: float32, D = 64", ratio, "x", note, 7, 12, two)


def _window(name: str, n: int, times: int, compiled: bool) -> list[Row]:
    q, k, v = _inputs(name, 4, n, 64)
    pattern = Causal() & Window(512)
    spans, mask = pattern.spans(n), pattern.to_sdpa_mask(n)
    dense, flex = _WINDOW[name]

    def ours() -> object:
        return attend(q, k, v, spans, engine="native")

    mine, theirs, ratio, two = _beside(
        ours,
        lambda: functional.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        max(2, times // 3),
    )
    at = f"{name}, D = 64"
    note = f"n = {n:,}, 4 heads, {pattern}: {_ms(mine)} beside {_ms(theirs)}"
    found = [Row(f"attend, times SDPA with a dense mask: {at}", ratio, "x", note, *dense, two)]
    peer = f"attend, times compiled FlexAttention: {at}"
    call = (
        _flex(q, k, v, pattern.to_flex_mask_mod(), n)
        if compiled
        else "not compiled with --quick: it takes a minute"
    )
    if isinstance(call, str):
        return [*found, Row(peer, None, "x", call, *flex)]
    mine, theirs, ratio, two = _beside(ours, call, times)
    note = f"the same: {_ms(mine)} beside {_ms(theirs)}, its block mask made beforehand"
    return [*found, Row(peer, ratio, "x", note, *flex, two)]


def _flex(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask_mod: Any, n: int) -> Call | str:
    """FlexAttention, compiled and run once; or why that cannot be."""
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        block_mask = create_block_mask(mask_mod, None, None, n, n, device="cpu")
        compiled: Callable[..., torch.Tensor] = torch.compile(flex_attention)
        with torch.no_grad():
            compiled(q, k, v, block_mask=block_mask)
    except Exception as error:  # whatever a compiler may say; it is only what we compare with
        words = str(error).strip().splitlines() or [type(error).__name__]
        return f"FlexAttention does not compile here: {words[0][:150]}"

    def call() -> object:
        with torch.no_grad():
            return compiled(q, k, v, block_mask=block_mask)

    return call


def _growth(name: str, n: int, times: int) -> Row:
    calls: list[tuple[Call, int]] = []
    for length in (n, 8 * n):
        q, k, v = _inputs(name, 8 * n // length, length, 64)
        spans = Causal().spans(length)
        calls.append(
            (
                lambda q=q, k=k, v=v, spans=spans: attend(q, k, v, spans, engine="native"),
                q.shape[1] * spans.count(),
            )
        )
    (small, few), (large, many) = calls
    with threads(1):
        _, _, ratio = in_turn(small, large, max(times, 2), clock=time.process_time)
    more = 100 * (ratio * few / many - 1)
    note = f"n = {n:,} to {8 * n:,}, causal, D = 64; one head of the longer"
    return Row(f"attend, how much dearer a product gets: {name}", more, "%", note, 15, at_most=True)


def _memory(measure: Measure, n: int) -> Row:
    seconds, extra = measure("attend", n)
    note = f"one head, n = {n:,}, D = 64, float32, causal; {seconds:.1f} s; output and lse are in it"
    return Row("attend: extra memory", extra / 2**20, "MB", note, 1000, at_most=True)


def _decoding(n: int, times: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(1, 32, 1, 128, generator=generator).bfloat16()
    k, v = torch.randn(2, 1, 8, n, 128, generator=generator).bfloat16().unbind()
    spans = Full().spans(1, n)
    size = 2 * (k.numel() + v.numel())
    bandwidths: list[float] = []

    def ours() -> object:
        return attend(q, k, v, spans, engine="native")

    calls = 5 if times > 2 else 1

    def share(clock: Callable[[], float]) -> float:
        took = timed(lambda: [ours() for _ in range(calls)], clock=clock) / calls
        bandwidths.append(native.copy_bandwidth(size, max(calls * took, 0.01)))
        return 100 * size / max(took, 1e-9) / bandwidths[-1]

    with threads(1):
        share(time.process_time)
        bandwidths.clear()
        one = median(share(time.process_time) for _ in range(times))
        bandwidth = median(bandwidths)
    with threads(2):
        two = median(share(time.perf_counter) for _ in range(times))
    _, _, ratio, both = _beside(
        ours,
        lambda: functional.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        times,
    )
    note = f"32 heads on 8, {n:,} keys, D = 128: {size / 2**20:.0f} MB read"
    return [
        Row("memory, read and written by copying", bandwidth / 1e9, "GB/s", "one thread"),
        Row("decode, share of that bandwidth: bfloat16", one, "%", note, 80, 90, two),
        Row("decode, times SDPA: bfloat16", ratio, "x", "the same", 1, None, both),
    ]


# -- parts -------------------------------------------------------------------------------------------------


def _beside(ours: Call, theirs: Call, times: int) -> tuple[float, float, float, float]:
    """Our seconds, theirs, and how many times as fast ours is, on one thread; and the last on two threads."""
    with threads(1):
        mine, other, ratio = in_turn(ours, theirs, times, clock=time.process_time)
    with threads(2):
        _, _, two = in_turn(ours, theirs, max(2, times // 2))
    return mine, other, ratio, two


def _inputs(name: str, heads: int, n: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, heads, n, width, generator=generator).to(_TYPES[name]).unbind()
    return q, k, v


def _observed(q: torch.Tensor, k: torch.Tensor, lse: torch.Tensor, spans: Any) -> object:
    return observe(
        q,
        k,
        lse,
        spans,
        received=True,
        entropy=True,
        top=1,
        max_score=True,
        map=(512, 512),
        engine="native",
    )


def _heads(number: int) -> str:
    return "one head" if number == 1 else f"{number} heads"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms"
