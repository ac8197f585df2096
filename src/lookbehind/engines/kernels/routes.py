"""Routes: which of PyTorch's fused kernels computes `attend`, and where its conventions end.

Asked in order: cuDNN, FlashAttention, the memory-efficient kernel, FlexAttention. Each is asked only for
what it is right for, and only once it has agreed with the definition on a small problem in this process:
builds differ in what they compile in, align and pad. What none of them takes is refused with a reason, and
is the torch engine's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from lookbehind.engines.kernels import flex
from lookbehind.engines.kernels.kept import Kept
from lookbehind.engines.problem import Problem, keys_before_triangle
from lookbehind.engines.sinks import folded
from lookbehind.spans import Spans

ORDER = ("cudnn", "flash", "efficient", "flex")

_HALVES = (torch.bfloat16, torch.float16)

# Beyond so many rows the memory-efficient kernel is silently wrong in some releases (PyTorch issue 162588).
_EFFICIENT_ROWS = 2**16
_shapes: Kept[tuple[str, bool]] = Kept(64)

Raw = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float, bool], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Route:
    """What `attend` does with a problem.

    Attributes:
        name: one of `ORDER`; None where no fused kernel takes it.
        reason: why none does; empty otherwise.
    """

    name: str | None
    reason: str = ""


def route(problem: Problem) -> Route:
    """Which fused kernel takes a problem; where none does, what the last and most general one says."""
    reason = ""
    for name in ORDER:
        reason = why_not(name, problem)
        if not reason:
            return Route(name)
    return Route(None, reason)


def attend(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The output [B, Hq, Lq, Dv] in q's dtype, and lse [B, Hq, Lq] in natural log."""
    name = route(problem).name
    assert name is not None  # why_not has said so
    return folded(problem, *_run(name, problem))


def why_not(name: str, problem: Problem) -> str:
    """Why a fused kernel does not take a problem, or the empty string if it does."""
    assert problem.v is not None
    if problem.q.dtype not in _HALVES:
        return "fused kernels may round float32 to TF32; the torch engine does not"
    if 0 in (*problem.q.shape, *problem.k.shape, *problem.v.shape):
        return "nothing is there to be computed"
    if max(problem.batch, problem.n_heads) > flex.ACROSS:
        return f"a launch has room for {flex.ACROSS:,} heads and as many in a batch"
    shape, _ = _shape(problem.spans)
    width, out_width = problem.q.shape[3], problem.v.shape[3]
    bent = problem.softcap is not None or problem.alibi is not None
    equal = problem.n_queries == problem.n_keys
    if name == "flex":
        reason = flex.why_not(problem)
    elif bent or shape == "other":
        reason = "it knows neither softcap nor ALiBi, and of patterns only causal and full"
    elif problem.scale <= 0:
        reason = "it scales what it has masked: by a number below 0, minus infinity becomes infinity"
    elif name == "cudnn":
        reason = _cudnn_why_not(problem, equal, width, out_width)
    elif name == "flash":
        fits = width == out_width and width % 8 == 0 and width <= 256
        reason = "" if fits else f"heads of {width} and values of {out_width} do not fit it"
    elif max(problem.n_queries, problem.n_keys) > _EFFICIENT_ROWS:
        reason = f"it may be wrong beyond {_EFFICIENT_ROWS:,} queries or keys"
    else:
        # It takes no groups, and its triangle begins top-left.
        fits = problem.group == 1 and (shape == "full" or equal) and width % 8 == 0 and out_width % 8 == 0
        reason = "" if fits else "it takes one query head for each kv head, and triangles of equal lengths"
    if reason:
        return reason
    doubt = _doubt(name, problem.device, problem.q.dtype, width, out_width, problem.group)
    return doubt and f"{name} {doubt}"


def _cudnn_why_not(problem: Problem, equal: bool, width: int, out_width: int) -> str:
    if _capability(problem.device) < (9, 0):
        return "before Hopper FlashAttention is as fast"
    if not equal or problem.n_keys == 1 or width != out_width or width % 8 or width > 128:
        return "it is asked for equal lengths of at least 2, and equal widths up to 128"
    return ""


def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)


def _shape(spans: Spans) -> tuple[str, bool]:
    """("causal", queries being last, "full" or "other"; whether every query reads some key)."""
    return _shapes.get(spans, (), lambda: _shape_of(spans))


def _shape_of(spans: Spans) -> tuple[str, bool]:
    some = bool((np.diff(spans.row_ptr) > 0).all())
    before = keys_before_triangle(spans)
    if before is None:
        return "other", some
    return ("full" if before == spans.n_keys else "causal"), some


# -- the kernels -------------------------------------------------------------------------------------------


def _cudnn(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    op = torch.ops.aten._scaled_dot_product_cudnn_attention.default
    out, lse = op(q, k, v, None, True, 0.0, causal, False, scale=scale)[:2]
    return out, lse


def _flash(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    op = torch.ops.aten._scaled_dot_product_flash_attention.default
    out, lse = op(q, k, v, 0.0, causal, False, scale=scale)[:2]
    return out, lse


def _efficient(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    op = torch.ops.aten._scaled_dot_product_efficient_attention.default
    out, lse = op(q, k, v, None, True, 0.0, causal, scale=scale)[:2]
    return out, lse


RAW: dict[str, Raw] = {"cudnn": _cudnn, "flash": _flash, "efficient": _efficient}


def _run(name: str, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and lse as we mean them, without sinks."""
    assert problem.v is not None
    q, k, v = aligned(problem.q), aligned(problem.k), aligned(problem.v)
    if name == "flex":
        out, lse = flex.run(replace(problem, q=q, k=k, v=v))
    else:
        out, lse = RAW[name](q, k, v, problem.scale, _shape(problem.spans)[0] == "causal")
    return normalised(out, lse, problem)


def normalised(out: torch.Tensor, lse: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Any back end's (out, lse) as ours: lse float32 [B, Hq, Lq], contiguous; empty rows 0 and -inf.

    cuDNN gives lse a fourth axis, FlashAttention and the memory-efficient kernel may pad its last one, and
    rows that read nothing have 0, inf or -inf; so they are set by what the spans say.
    """
    assert problem.v is not None
    if lse.ndim == 4:
        lse = lse[..., 0]
    lse = lse[:, :, : problem.n_queries].float().contiguous()
    out = out[:, :, : problem.n_queries, : problem.v.shape[3]].contiguous()
    if not _shape(problem.spans)[1]:
        empty = torch.from_numpy(np.diff(problem.spans.row_ptr) == 0).to(lse.device)
        lse = lse.masked_fill(empty, -math.inf)
        out = out.masked_fill(empty[:, None], 0.0)
    return out, lse


def aligned(x: torch.Tensor) -> torch.Tensor:
    """`x` as fused kernels on cards read it, or a copy: adjacent numbers, 16 bytes at a time.

    They do not all check: other strides are read wrongly, other addresses end the process's use of the card.
    """
    whole = x.shape[3] * x.element_size() % 16 == 0  # rows of a copy begin at such places too
    odd = [step * x.element_size() % 16 != 0 for step in x.stride()[:3]]
    if whole and any(odd):
        # Where an axis has one row, the step to the next means nothing, but is checked.
        alone = [size == 1 and one for size, one in zip(x.shape, odd, strict=False)]
        steps = [x.shape[3] if one else step for step, one in zip(x.stride(), alone, strict=False)]
        x = x.as_strided(x.shape, (*steps, x.stride(3)))
    fits = not whole or all(step * x.element_size() % 16 == 0 for step in x.stride()[:3])
    if x.stride(3) == 1 and x.data_ptr() % 16 == 0 and fits:
        return x
    return x.clone(memory_format=torch.contiguous_format)  # contiguous() leaves what only begins elsewhere


# -- trust -------------------------------------------------------------------------------------------------


@cache
def _doubt(
    name: str, device: torch.device, dtype: torch.dtype, width: int, out_width: int, group: int
) -> str:
    """Why a kernel is not to be used: what it said, or that it disagrees, on small problems.

    The empty string if nothing is against it; asked once per process.
    """
    generator = torch.Generator(device).manual_seed(0)

    def random(heads: int, length: int, wide: int) -> torch.Tensor:
        return torch.randn(1, heads, length, wide, device=device, generator=generator).to(dtype)

    for spans in _tried(name):
        q, k, v = (
            random(group, spans.n_queries, width),
            random(1, spans.n_keys, width),
            random(1, spans.n_keys, out_width),
        )
        problem = Problem(q, k, v, spans, width**-0.5)
        try:
            out, lse = _run(name, problem)
        except torch.OutOfMemoryError:
            raise  # says nothing of the kernel, and is not remembered
        except Exception as error:  # not compiled in, or not for this device; a compiler may raise anything
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return f"does not run here: {said}"
        scores = (q.double() @ k.double().mT) * problem.scale
        scores = scores.masked_fill(~torch.from_numpy(spans.mask()).to(device), -math.inf)
        right = scores.softmax(-1).nan_to_num(0.0) @ v.double()
        if lse.shape != scores.shape[:3] or out.shape != right.shape:
            return "gives results of another shape on this device"
        if not torch.allclose(lse.double(), scores.logsumexp(-1), atol=2e-3):
            return "gives another lse on this device"
        if not torch.allclose(out.double(), right, atol=2e-2):
            return "gives another output on this device"
    return ""


def _tried(name: str) -> list[Spans]:
    from lookbehind.pattern import Causal, First, Full, Window

    if name == "flex":
        # A window, first keys, and a row that reads nothing. It has a kernel for few queries, and another.
        pattern = Causal() & (Window(9) | First(2)) & ~Window(1) & ~First(1)
        return [pattern.spans(37, 70), pattern.spans(150, 190)]
    if name == "flash":  # has a way of its own for a single query
        return [Full().spans(37, 70), Causal().spans(37, 70), Full().spans(1, 600)]
    return [one.spans(72) for one in (Full(), Causal())]
