"""PyTorch's fused attention, where its output and its lse are right; each back end's conventions end here.

What the back ends disagree about (alignment of the causal triangle, strides and padding of lse, empty inputs,
rows that see nothing) is avoided by asking only for shapes without such rows, or mended before return.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch.nn import functional

from lookbehind.engines.problem import Problem, aligned

_HALVES = (torch.bfloat16, torch.float16)


def attempt(problem: Problem) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(out, lse) without sinks, or None where no fused kernel is known to be right.

    They serve two shapes: every key for every query, and a triangle whose queries are the last positions.
    """
    if problem.v is None or problem.softcap is not None or problem.alibi is not None:
        return None
    q, k, v = problem.q, problem.k, problem.v
    before = _keys_before_triangle(problem)
    if before is None or 0 in (*q.shape, *k.shape, *v.shape):  # the CPU kernel divides by a length of 0
        return None
    if q.device.type == "cpu":
        if before != problem.n_keys and not _masks_right(problem):
            return None
        q, k, v, width = _same_width(q, k, v)
        if before == problem.n_keys:
            out, lse = _cpu(q, k, v, problem.scale, causal=False)
        else:
            # The kernel's triangle starts top-left. Keys before it are read by every query: a second, full
            # call, and the two halves of each softmax are put together by their lse.
            out, lse = _cpu(q, k[:, :, before:], v[:, :, before:], problem.scale, causal=True)
            if before:
                head = _cpu(q, k[:, :, :before], v[:, :, :before], problem.scale, causal=False)
                out, lse = _joined((out, lse), head)
        if bool(lse.isnan().any()):  # as it has where a score is infinite
            return None
        return out[..., :width].contiguous(), lse.contiguous()
    if q.device.type == "cuda" and before in (problem.n_keys - problem.n_queries, problem.n_keys):
        return _cuda(problem, causal=before != problem.n_keys)
    return None


def _keys_before_triangle(problem: Problem) -> int | None:
    """t if query row r reads keys 0 to t + r; Lk if every query reads every key; None otherwise."""
    spans, n_queries, n_keys = problem.spans, problem.n_queries, problem.n_keys
    if spans.count() == n_queries * n_keys:
        return n_keys
    before = n_keys - n_queries
    one_each = len(spans.starts) == n_queries and bool((np.diff(spans.row_ptr) == 1).all())
    if before < 0 or not one_each or spans.starts.any():
        return None
    return before if np.array_equal(spans.stops, np.arange(before + 1, n_keys + 1)) else None


def _masks_right(problem: Problem) -> bool:
    """Whether what the CPU kernel's triangle hides adds nothing.

    It scales what it has masked: minus infinity becomes NaN or infinity unless the scale is above 0. And it
    multiplies values by the weights of 0 of queries that do not read them.
    """
    assert problem.v is not None
    return problem.scale >= torch.finfo(problem.dtype).tiny and bool(problem.v.isfinite().all())


def _same_width(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """q, k, v of one width, zeros added, each row contiguous; and how wide the output is."""
    width, out_width = max(q.shape[3], v.shape[3]), v.shape[3]

    def fit(x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, (0, width - x.shape[3])) if x.shape[3] < width else x
        return x if x.stride(3) == 1 else x.contiguous()  # other strides are read wrongly, without an error

    # The kernel gives its output q's strides, and writes rows as if adjacent: those must not overlap.
    rows = [step for step, size in zip(q.stride()[:3], q.shape, strict=False) if size > 1]
    if rows and min(rows) < q.shape[3]:
        q = q.contiguous()
    return fit(q), fit(k), fit(v), out_width


def _cpu(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    out, lse = op(q, k, v, 0.0, causal, scale=scale)
    return out, lse


def _joined(
    one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    lse = torch.logaddexp(one[1], other[1])
    parts = [out.to(lse.dtype) * torch.exp(part - lse)[..., None] for out, part in (one, other)]
    return (parts[0] + parts[1]).to(one[0].dtype), lse


def _cuda(problem: Problem, causal: bool) -> tuple[torch.Tensor, torch.Tensor] | None:
    """FlashAttention on CUDA: half types, equal widths; its triangle starts bottom-right, as ours does."""
    q, k, v = problem.q, problem.k, problem.v
    assert v is not None
    width = q.shape[3]
    if q.dtype not in _HALVES or v.shape[3] != width or width % 8 or width > 256 or problem.scale <= 0:
        return None  # it scales what it has masked: by a number below 0, minus infinity becomes infinity
    q, k, v = aligned(q), aligned(k), aligned(v)
    if not _cuda_trusted(q.device, q.dtype, width, problem.group):
        return None
    return _cuda_flash(q, k, v, problem.scale, causal)


def _cuda_flash(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    op = torch.ops.aten._scaled_dot_product_flash_attention.default
    out, lse = op(q, k, v, 0.0, causal, False, scale=scale)[:2]
    return out.contiguous(), lse[:, :, : q.shape[2]].float().contiguous()


@cache
def _cuda_trusted(device: torch.device, dtype: torch.dtype, width: int, group: int) -> bool:
    """Whether this build's kernel agrees with the definition on a small problem; asked once per process.

    Builds differ in what they compile in, align and pad. A kernel that fails or disagrees is not used.
    """
    generator = torch.Generator(device).manual_seed(0)

    def random(heads: int, length: int) -> torch.Tensor:
        x = torch.randn(1, heads, length, width, device=device, generator=generator, dtype=torch.float32)
        return x.to(dtype)

    q, k, v = random(group, 37), random(1, 70), random(1, 70)
    scores = (q.double() @ k.double().transpose(2, 3)) * 0.1
    for causal in (False, True):
        if causal:
            hidden = ~torch.ones(37, 70, dtype=torch.bool, device=device).tril(70 - 37)
            scores = scores.masked_fill(hidden, -torch.inf)
        try:
            out, lse = _cuda_flash(q, k, v, 0.1, causal)
        except RuntimeError:  # not compiled in, or not for this device
            return False
        if lse.shape != scores.shape[:3] or not torch.allclose(lse.double(), scores.logsumexp(-1), atol=2e-3):
            return False
        if not torch.allclose(out.double(), scores.softmax(-1) @ v.double(), atol=2e-2):
            return False
    return True
