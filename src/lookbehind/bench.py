"""The figures of benchmarks/README.md, read on this machine: memory and time, beside the usual way.

Speeds that are compared are timed in turn, again and again, and the median of the ratios is given: a busy
machine slows both. Memory is the highest resident size of a fresh process above what it held before the call.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.errors import EngineError, InputError
from lookbehind.pattern import Causal, Diagonal, First, Window

_WIDTH = 64  # of a head
_MB = 2**20


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        value: how much.
        unit: of what: "MB", "s", "ms", or "x" (times as fast as what it is compared with).
        note: the sizes, and what it is compared with.
    """

    name: str
    value: float
    unit: str
    note: str

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self)


def machine(device: str = "cpu") -> str:
    """What the figures were read on, in a line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line[:10] == "model name"
        ]
        cpu = names[0] if names else cpu
    parts = [cpu, f"{torch.get_num_threads()} threads", f"torch {torch.__version__}", platform.system()]
    return ", ".join([torch.cuda.get_device_name(), *parts] if device == "cuda" else parts)


def run(device: str = "cpu", quick: bool = False) -> list[Row]:
    """Measure everything.

    Args:
        device: "cpu" or "cuda". Memory of a process is measured on a CPU only.
        quick: small sizes, a few seconds: to see that it runs, not for figures.

    Raises:
        InputError: the device is not here.
    """
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"bench: device {device!r} is not here; use 'cpu'")
    n, eager_n, times = (2048, 512, 3) if quick else (65_536, 8_192, 7)
    return [
        *_observation(device, n, eager_n, times),
        *_attention(device, 512 if quick else 4_096, times),
        *_windows(device, 1024 if quick else 8_192, times),
        *_spans(20_000 if quick else 1_000_000, times),
    ]


def _observation(device: str, n: int, eager_n: int, times: int) -> list[Row]:
    rows: list[Row] = []
    if device == "cpu":
        note = f"one head, n = {n:,}, D = {_WIDTH}, float32; its weights would be {_weights(n)}"
        seconds, extra = _fresh("observe", n)
        rows.append(Row("observe: extra memory", extra / _MB, "MB", note))
        rows.append(
            Row(
                "observe: time",
                seconds,
                "s",
                "the same: received mass, entropy, 2 masses, 512 x 512 map",
            )
        )
        seconds, extra = _fresh("received", n)
        rows.append(Row("observe received mass alone: time", seconds, "s", f"one head, n = {n:,}"))
        seconds, extra = _fresh("eager", eager_n)
        note = f"softmax(QK^T) in full and reduced, n = {eager_n:,}; its weights are {_weights(eager_n)}"
        rows.append(Row("eager: extra memory", extra / _MB, "MB", note))
        seconds, extra = _fresh("observe", eager_n)
        rows.append(
            Row("observe beside eager: extra memory", extra / _MB, "MB", f"one head, n = {eager_n:,}")
        )
    q, k, _ = _qkv(device, eager_n)
    lse = logsumexp(q, k, Causal())
    ours, theirs, ratio = _in_turn(lambda: _observed(q, k, lse), lambda: _eager(q, k), device, times)
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


def _attention(device: str, n: int, times: int) -> list[Row]:
    q, k, v = _qkv(device, n, heads=4)
    ours, _, ratio = _in_turn(
        lambda: attend(q, k, v, Causal()),
        lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        device,
        times,
    )
    note = (
        f"4 heads, n = {n:,}, D = {_WIDTH}, float32; beside scaled_dot_product_attention, which keeps no lse"
    )
    lse = logsumexp(q, k, Causal())
    alone, whole, share = _in_turn(
        lambda: observe(q, k, lse, Causal(), received=True), lambda: attend(q, k, v, Causal()), device, times
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


def _windows(device: str, n: int, times: int) -> list[Row]:
    q, k, v = _qkv(device, n)
    rows: list[Row] = []
    window = Window(n // 16)
    for name, pattern in (
        ("a window", Causal() & window),
        ("a window and first keys", Causal() & (window | First(4))),
    ):
        spans, mask = pattern.spans(n), pattern.to_sdpa_mask(n, device=device)
        ours, theirs, ratio = _in_turn(
            lambda spans=spans: attend(q, k, v, spans),
            lambda mask=mask: functional.scaled_dot_product_attention(q, k, v, attn_mask=mask),
            device,
            times,
        )
        note = f"{pattern}, n = {n:,}, one head: {ours:.3f} s beside {theirs:.3f} s with a dense mask"
        rows.append(Row(f"attend, {name}, times as fast as PyTorch", ratio, "x", note))
    return rows


def _spans(n: int, times: int) -> list[Row]:
    note = f"{n:,} queries of causal & (window(4096) | first(4))"
    _, extra = _fresh("spans", n)
    seconds = min(_timed(lambda: _counted(n), "cpu") for _ in range(times))
    return [
        Row("spans, made and counted: time", seconds * 1000, "ms", f"{note}; fastest of {times}"),
        Row("spans, made and counted: extra memory", extra / _MB, "MB", note),
    ]


# -- what is measured --------------------------------------------------------------------------------------


def _qkv(device: str, n: int, heads: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    q, k, v = torch.randn(3, 1, heads, n, _WIDTH, generator=generator, device=device).unbind()
    return q, k, v


def _observed(q: torch.Tensor, k: torch.Tensor, lse: torch.Tensor) -> None:
    size = min(512, q.shape[2])
    mass = {"sink": First(1), "previous": Diagonal(1)}
    observe(q, k, lse, Causal(), received=True, entropy=True, mass=mass, map=(size, size))


def _eager(q: torch.Tensor, k: torch.Tensor) -> None:
    n = q.shape[2]
    size = min(512, n)
    hidden = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
    p = (q @ k.transpose(2, 3) * _WIDTH**-0.5).masked_fill(hidden, -torch.inf).softmax(-1)
    p.sum(2)
    torch.special.entr(p).sum(-1)
    _ = p[..., 0], p.diagonal(-1, 2, 3)
    functional.avg_pool2d(p, n // size)


def _counted(n: int) -> int:
    return (Causal() & (Window(4096) | First(4))).spans(n).count()


# -- how it is measured ------------------------------------------------------------------------------------


def _timed(call: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], device: str, times: int
) -> tuple[float, float, float]:
    """Medians of our seconds, of theirs, and of how many times as fast ours was in the same turn."""
    _timed(ours, device)
    _timed(theirs, device)
    pairs = [(_timed(ours, device), _timed(theirs, device)) for _ in range(times)]
    a, b = zip(*pairs, strict=True)
    return median(a), median(b), median(theirs / ours for ours, theirs in pairs)


def _fresh(what: str, n: int) -> tuple[float, int]:
    """(seconds, extra bytes) of one call in a process of its own."""
    command = [sys.executable, "-m", "lookbehind.bench", what, str(n), str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise EngineError(f"bench: measuring {what} at n = {n:,} failed: {last}")
    seconds, extra = json.loads(done.stdout)
    return seconds, extra


def _alone(what: str, n: int) -> tuple[float, int]:
    """Measure here, in a fresh process. A small call first, so that libraries have loaded what they load."""
    calls: dict[str, Callable[[int], Callable[[], object]]] = {
        "observe": _observe_call,
        "received": _received_call,
        "eager": _eager_call,
        "spans": lambda n: lambda: _counted(n),
    }
    calls[what](min(n, 256))()
    call = calls[what](n)
    before = _resident(reset=True)
    seconds = _timed(call, "cpu")
    return seconds, _resident() - before


def _observe_call(n: int) -> Callable[[], object]:
    q, k, _ = _qkv("cpu", n)
    lse = logsumexp(q, k, Causal())
    return lambda: _observed(q, k, lse)


def _received_call(n: int) -> Callable[[], object]:
    q, k, _ = _qkv("cpu", n)
    lse = logsumexp(q, k, Causal())
    return lambda: observe(q, k, lse, Causal(), received=True)


def _eager_call(n: int) -> Callable[[], object]:
    q, k, _ = _qkv("cpu", n)
    return lambda: _eager(q, k)


def _resident(reset: bool = False) -> int:
    """The highest resident size so far, in bytes. With `reset`: what is now; the highest starts anew.

    Linux can forget the highest. Elsewhere it is that of the whole process: what a preparation once held may
    hide some of what the call takes.
    """
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if status.exists() and os.access(clear, os.W_OK):
        if reset:
            clear.write_text("5")
        field = "VmRSS:" if reset else "VmHWM:"
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _weights(n: int) -> str:
    return f"{4 * n * n / 1e9:.1f} GB"


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(_alone(sys.argv[1], int(sys.argv[2]))))
