"""PyTorch's fused attention on a CPU, where its output and its lse are right.

What it does otherwise than we (the triangle begins top-left, strides, empty inputs, rows that see nothing) is
avoided by asking only for what it does right, or mended before return. On a card that is the triton engine's.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from lookbehind.engines.blockwise.tiles import finite
from lookbehind.engines.problem import Problem, keys_before_triangle


def attempt(problem: Problem) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(out, lse) without sinks, or None where the fused kernel is not known to be right.

    It serves two shapes: every key for every query, and a triangle whose queries are the last positions.
    """
    if problem.v is None or problem.softcap is not None or problem.alibi is not None:
        return None
    q, k, v = problem.q, problem.k, problem.v
    before = keys_before_triangle(problem.spans)
    if before is None or q.device.type != "cpu" or 0 in (*q.shape, *k.shape, *v.shape):
        return None  # it divides by a length of 0
    if before != problem.n_keys and not _masks_right(problem):
        return None
    q, k, v, width = _same_width(q, k, v)
    # The kernel's triangle starts top-left. Keys before it are read by every query: a second, full call, and
    # the two parts of each softmax are put together by their lse.
    parts = [_cpu(q, k[:, :, :before], v[:, :, :before], problem.scale, causal=False)] if before else []
    if before < problem.n_keys:
        parts.append(_cpu(q, k[:, :, before:], v[:, :, before:], problem.scale, causal=True))
    if any(_doubtful(lse) for _, lse in parts):
        return None
    out, lse = parts[0] if len(parts) == 1 else _joined(*parts)
    return out[..., :width].contiguous(), lse.contiguous()


def _doubtful(lse: torch.Tensor) -> bool:
    """Whether some score may not have been finite: the kernel may have made an output of 0 of that.

    Over a few keys a query that is NaN has an lse of 0 there, too.
    """
    return not bool((lse.isfinite() & (lse != 0)).all())


def _masks_right(problem: Problem) -> bool:
    """Whether what the CPU kernel's triangle hides adds nothing.

    It scales what it has masked: minus infinity becomes NaN or infinity unless the scale is above 0. And it
    multiplies values by the weights of 0 of queries that do not read them.
    """
    assert problem.v is not None
    return problem.scale >= torch.finfo(problem.dtype).tiny and finite(problem.v)


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
