"""Attention, observation and spans beside the usual way."""

from __future__ import annotations

from torch.nn import functional

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.bench.alone import WIDTH, Measure, alone, counted, eager, fresh, observed, qkv
from lookbehind.bench.clock import in_turn, timed
from lookbehind.bench.row import Row
from lookbehind.pattern import Causal, First, Window

MB = 2**20


def rows(quick: bool) -> list[Row]:
    """Every figure; small sizes with `quick`."""
    n, eager_n, times = (2048, 512, 3) if quick else (65_536, 8_192, 7)
    # A process of its own for each takes longer than what is measured where it is short.
    measure = alone if quick else fresh
    return [
        *_observation(measure, n, eager_n, times),
        *_attention(512 if quick else 4_096, times),
        *_windows(1024 if quick else 8_192, times),
        *_spans(measure, 20_000 if quick else 1_000_000, times),
    ]


def _observation(measure: Measure, n: int, eager_n: int, times: int) -> list[Row]:
    rows: list[Row] = []
    note = f"one head, n = {n:,}, D = {WIDTH}, float32; its weights would be {_weights(n)}"
    seconds, extra = measure("observe", n)
    rows.append(Row("observe: extra memory", extra / MB, "MB", note))
    rows.append(
        Row(
            "observe: time",
            seconds,
            "s",
            "the same: received mass, entropy, 2 masses, 512 x 512 map",
        )
    )
    seconds, extra = measure("received", n)
    rows.append(Row("observe received mass alone: time", seconds, "s", f"one head, n = {n:,}"))
    seconds, extra = measure("eager", eager_n)
    note = f"softmax(QK^T) in full and reduced, n = {eager_n:,}; its weights are {_weights(eager_n)}"
    rows.append(Row("eager: extra memory", extra / MB, "MB", note))
    seconds, extra = measure("observe", eager_n)
    rows.append(Row("observe beside eager: extra memory", extra / MB, "MB", f"one head, n = {eager_n:,}"))
    q, k, _ = qkv(eager_n)
    lse = logsumexp(q, k, Causal())
    ours, theirs, ratio = in_turn(lambda: observed(q, k, lse), lambda: eager(q, k), times)
    rows.append(
        Row(
            "observe beside eager: time",
            ours,
            "s",
            f"one head, n = {eager_n:,}; from the lse that attention leaves",
        )
    )
    rows.append(Row("eager: time", theirs, "s", f"one head, n = {eager_n:,}"))
    rows.append(Row("observe, times as fast as eager", ratio, "x", f"one head, n = {eager_n:,}"))
    return rows


def _attention(n: int, times: int) -> list[Row]:
    q, k, v = qkv(n, heads=4)
    ours, _, ratio = in_turn(
        lambda: attend(q, k, v, Causal()),
        lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        times,
    )
    note = (
        f"4 heads, n = {n:,}, D = {WIDTH}, float32; beside scaled_dot_product_attention, which keeps no lse"
    )
    lse = logsumexp(q, k, Causal())
    alone, whole, share = in_turn(
        lambda: observe(q, k, lse, Causal(), received=True), lambda: attend(q, k, v, Causal()), times
    )
    return [
        Row("attend, causal: time", ours, "s", f"4 heads, n = {n:,}"),
        Row("attend, causal, times as fast as PyTorch", ratio, "x", note),
        Row(
            "observe received mass, times as fast as attend",
            share,
            "x",
            f"{alone:.3f} s beside {whole:.3f} s, the same heads",
        ),
    ]


def _windows(n: int, times: int) -> list[Row]:
    q, k, v = qkv(n)
    rows: list[Row] = []
    window = Window(n // 16)
    for name, pattern in (
        ("a window", Causal() & window),
        ("a window and first keys", Causal() & (window | First(4))),
    ):
        spans, mask = pattern.spans(n), pattern.to_sdpa_mask(n)
        ours, theirs, ratio = in_turn(
            lambda spans=spans: attend(q, k, v, spans),
            lambda mask=mask: functional.scaled_dot_product_attention(q, k, v, attn_mask=mask),
            times,
        )
        note = f"{pattern}, n = {n:,}, one head: {ours:.3f} s beside {theirs:.3f} s with a dense mask"
        rows.append(Row(f"attend, {name}, times as fast as PyTorch", ratio, "x", note))
    return rows


def _spans(measure: Measure, n: int, times: int) -> list[Row]:
    note = f"{n:,} queries of causal & (window(4096) | first(4))"
    _, extra = measure("spans", n)
    seconds = min(timed(lambda: counted(n)) for _ in range(times))
    return [
        Row("spans, made and counted: time", seconds * 1000, "ms", f"{note}; fastest of {times}"),
        Row("spans, made and counted: extra memory", extra / MB, "MB", note),
    ]


def _weights(n: int) -> str:
    return f"{4 * n * n / 1e9:.1f} GB"
