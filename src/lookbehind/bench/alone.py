"""Time and memory of one call in a process of its own, and the calls that are measured so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import torch
from torch.nn import functional

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.bench.clock import resident, timed
from lookbehind.errors import EngineError
from lookbehind.pattern import Causal, Diagonal, First, Window

WIDTH = 64  # of a head
Measure = Callable[[str, int], tuple[float, int]]


def fresh(what: str, n: int) -> tuple[float, int]:
    """(seconds, extra bytes) of one call in a process of its own."""
    command = [sys.executable, "-m", "lookbehind.bench", what, str(n), str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise EngineError(f"bench: measuring {what} at n = {n:,} failed: {last}")
    seconds, extra = json.loads(done.stdout)
    return seconds, extra


def alone(what: str, n: int) -> tuple[float, int]:
    """Measure here, in a fresh process. A small call first, so that libraries have loaded what they load."""
    calls: dict[str, Callable[[int], Callable[[], object]]] = {
        "observe": _observe_call,
        "received": _received_call,
        "eager": _eager_call,
        "attend": _attend_call,
        "spans": lambda n: lambda: counted(n),
    }
    calls[what](min(n, 256))()
    call = calls[what](n)
    before = resident(reset=True)
    seconds = timed(call)
    return seconds, resident() - before


def _observe_call(n: int) -> Callable[[], object]:
    q, k, _ = qkv(n)
    lse = logsumexp(q, k, Causal())
    return lambda: observed(q, k, lse)


def _received_call(n: int) -> Callable[[], object]:
    q, k, _ = qkv(n)
    lse = logsumexp(q, k, Causal())
    return lambda: observe(q, k, lse, Causal(), received=True)


def _eager_call(n: int) -> Callable[[], object]:
    q, k, _ = qkv(n)
    return lambda: eager(q, k)


def _attend_call(n: int) -> Callable[[], object]:
    q, k, v = qkv(n)
    return lambda: attend(q, k, v, Causal())


def qkv(n: int, heads: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values, random and always the same."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, heads, n, WIDTH, generator=generator).unbind()
    return q, k, v


def observed(q: torch.Tensor, k: torch.Tensor, lse: torch.Tensor) -> None:
    """What is asked of the weights, in one pass."""
    size = min(512, q.shape[2])
    mass = {"sink": First(1), "previous": Diagonal(1)}
    observe(q, k, lse, Causal(), received=True, entropy=True, mass=mass, map=(size, size))


def eager(q: torch.Tensor, k: torch.Tensor) -> None:
    """The same from all weights at once."""
    n = q.shape[2]
    size = min(512, n)
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    p = (q @ k.transpose(2, 3) * WIDTH**-0.5).masked_fill(hidden, -torch.inf).softmax(-1)
    p.sum(2)
    torch.special.entr(p).sum(-1)
    _ = p[..., 0], p.diagonal(-1, 2, 3)
    functional.avg_pool2d(p, n // size)


def counted(n: int) -> int:
    """Spans made, and their products counted."""
    return (Causal() & (Window(4096) | First(4))).spans(n).count()
