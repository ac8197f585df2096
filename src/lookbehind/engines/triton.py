"""The triton engine: attention on a GPU by PyTorch's fused kernels, and its observation by our own.

`attend` is dispatched to the fastest fused kernel that is right for the call (`routes`), its lse brought to
our conventions. `logsumexp` and `observe` are Triton kernels over spans: tiles without a product are never
launched, full ones are not masked, heads of a group share their keys, and nothing is added with atomics, so
that results are the same bits from call to call. Everything is accumulated in float32; float32 inputs are
multiplied as they are, never as TF32.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import torch

from lookbehind.engines.kernels import routes
from lookbehind.engines.kernels.arguments import LOG2E
from lookbehind.engines.kernels.tuning import LARGEST, interpreted
from lookbehind.engines.observation import Observation, Wants
from lookbehind.engines.problem import Problem

NAME = "triton"

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_WIDEST = 256
_FURTHEST = 2**31 - 1
_LEAST = (8, 0)
_OLDEST = (3, 4)


def why_not(problem: Problem, wants: Wants | None = None) -> str | None:
    """Why this engine cannot run this call here, or None if it can."""
    device = problem.device
    if device.type != "cuda" and not (device.type == "cpu" and interpreted()):
        return f"it runs on CUDA; these tensors are on {device}"
    if problem.q.dtype not in _DTYPES:
        return "it computes in float32; float64 is for the torch engine"
    if problem.v is not None:
        chosen = routes.route(problem)
        return None if chosen.name else chosen.reason
    if find_spec("triton") is None:
        return "Triton is not installed here; PyTorch for CUDA brings it"
    if _triton() < _OLDEST:
        return "its kernels need Triton 3.4 or later, which PyTorch 2.8 for CUDA brings"
    if problem.q.shape[3] > _WIDEST:
        return f"heads of {problem.q.shape[3]} are wider than its tiles, which hold {_WIDEST}"
    spans, most = problem.spans, torch.finfo(torch.float32).max / LOG2E
    if max(abs(spans.offset), abs(spans.offset + problem.n_queries)) + problem.n_keys > _FURTHEST:
        return "it counts positions in int32; these lie further than that from 0"
    if wants is not None and min(wants.top, problem.n_keys) > LARGEST:
        return f"it keeps at most {LARGEST} of each query's largest weights; {wants.top:,} are asked for"
    if max(abs(problem.scale), problem.softcap or 0.0) > most:
        return f"it computes scores in bits; a scale or softcap above {most:.2g} then is beyond float32"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _LEAST:
        return "it is made for compute capability 8.0 (A100) and later"
    return None


@cache
def _triton() -> tuple[int, ...]:
    import triton  # and not its metadata: the package is named otherwise in nightly builds

    return tuple(int(part) for part in triton.__version__.split(".")[:2])


def route(problem: Problem) -> routes.Route:
    """Which fused kernel `attend` takes for this problem, or why none; what "auto" and `attend` go by."""
    return routes.route(problem)


def attend(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The output [B, Hq, Lq, Dv] in q's dtype, and lse [B, Hq, Lq]."""
    with _on(problem.device):
        return routes.attend(problem)


def logsumexp(problem: Problem) -> torch.Tensor:
    """lse [B, Hq, Lq] alone, by our kernel: never a fused one's, which carries the rounding of half types."""
    from lookbehind.engines.kernels.reduce import logsumexp as found

    with _on(problem.device):
        return found(problem)


def observe(problem: Problem, lse: torch.Tensor, wants: Wants) -> Observation:
    """The reductions asked for: one pass over the products for most of them together."""
    from lookbehind.engines.kernels.reduce import observe as found

    with _on(problem.device):
        return found(problem, lse.detach().to(torch.float32).contiguous(), wants)


@contextmanager
def _on(device: torch.device) -> Generator[None]:
    """Kernels are launched on the current card, which may be another; and autocast may round nothing."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        with torch.cuda.device(device):
            yield
