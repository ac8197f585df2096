"""FlexAttention over spans: a BlockMask made of our tiles, and what a score is besides a product."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from lookbehind.engines.kernels.kept import Kept, place
from lookbehind.engines.kernels.walk import row_edges, tiles
from lookbehind.engines.problem import Problem
from lookbehind.spans import Spans

TILE = 128
MOST = 8  # intervals of a row; each is two loads in every product of a partial tile
ACROSS = 65535  # programs of a launch, in any direction but its first
_WIDEST = 256

_masks: Kept[Any] = Kept(8)


def why_not(problem: Problem) -> str:
    """Why it does not take a problem, or the empty string if it does."""
    assert problem.v is not None
    widths = problem.q.shape[3], problem.v.shape[3]
    if min(widths) < 16 or max(widths) > _WIDEST:
        return f"heads of {widths[0]} and values of {widths[1]} do not fit FlexAttention"
    most = int(np.diff(problem.spans.row_ptr).max(initial=0))
    if most > MOST:
        return f"a query reads {most} intervals of keys; FlexAttention is asked for at most {MOST}"
    if problem.device.type == "cuda" and find_spec("triton") is None:
        return "FlexAttention needs Triton, which is not installed here"
    return ""


def run(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and lse, as FlexAttention gives them."""
    from torch.nn.attention import flex_attention as module

    options: dict[str, Any] = {
        "score_mod": score_mod(problem),
        "block_mask": block_mask(problem.spans, problem.device),
        "scale": problem.scale,
        "enable_gqa": problem.group > 1,
    }
    crowded = problem.n_queries * problem.group > TILE or problem.batch * problem.n_kv_heads > ACROSS
    if problem.n_queries < TILE and crowded:
        # Its kernel for few queries takes heads of a group as more of them, and then has no size that fits;
        # and launches kv heads times the batch in a direction that has no room for more.
        options["kernel_options"] = {"FORCE_USE_FLEX_ATTENTION": True}
    attend: Any = _compiled() if problem.device.type == "cuda" else module.flex_attention
    with _patient() if problem.device.type == "cuda" else nullcontext():
        if hasattr(module, "AuxRequest"):
            options["return_aux"] = module.AuxRequest(lse=True)
            out, more = attend(problem.q, problem.k, problem.v, **options)
            return out, more.lse
        return attend(problem.q, problem.k, problem.v, return_lse=True, **options)  # before PyTorch 2.9


@cache
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, fullgraph=True)


def _patient() -> Any:
    """As many compiled variants as there are kinds of patterns: beyond the usual limit it would stop."""
    from torch._dynamo import config

    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    patch: Any = config.patch  # pyright: ignore[reportAttributeAccessIssue]
    return patch({name: 256})


def score_mod(problem: Problem) -> Callable[..., torch.Tensor] | None:
    """What is done to a scaled product: softcap, then ALiBi. None where nothing is."""
    if problem.softcap is None and problem.alibi is None:
        return None
    # As tensors, so that another number is not another kernel.
    cap = None
    if problem.softcap is not None:
        cap = torch.tensor(problem.softcap, dtype=torch.float32, device=problem.device)
    slopes = None if problem.alibi is None else problem.alibi.float()
    offset = torch.tensor(problem.spans.offset, device=problem.device)

    def bent(score: torch.Tensor, b: Any, h: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        if cap is not None:
            score = cap * torch.tanh(score / cap)
        if slopes is not None:
            score = score + slopes[h] * (j - (i + offset))
        return score

    return bent


def block_mask(spans: Spans, device: torch.device) -> Any:
    """The BlockMask of a span table, made of its tiles and never of its mask."""
    return _masks.get(spans, place(device), lambda: _block_mask(spans, device))


def _block_mask(spans: Spans, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import BlockMask

    cut = tiles(spans, row_edges(spans.n_queries, TILE), TILE)
    lists = [x for some in (cut.partial, cut.full) for x in _blocks(some, device)]
    return BlockMask.from_kv_blocks(
        *lists, BLOCK_SIZE=TILE, mask_mod=mask_mod(spans, device), seq_lengths=(spans.n_queries, spans.n_keys)
    )


def _blocks(some: Spans, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """How many tiles each row of tiles has, and which: int32 [1, 1, rows] and [1, 1, rows, columns]."""
    counts = some.row_counts()
    which = np.zeros((some.n_queries, some.n_keys), dtype=np.int32)
    lengths = some.stops - some.starts
    rows = np.repeat(some.interval_rows(), lengths)
    columns = np.repeat(some.starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    which[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = columns
    return (
        torch.from_numpy(counts.astype(np.int32))[None, None].to(device),
        torch.from_numpy(which)[None, None].to(device),
    )


def mask_mod(spans: Spans, device: torch.device) -> Callable[..., torch.Tensor]:
    """Whether query row i reads key j, from tables of the intervals that each row has."""
    counts = np.diff(spans.row_ptr)
    most = max(int(counts.max(initial=0)), 1)
    bounds = np.zeros((2, most, spans.n_queries), dtype=np.int32)
    rows = spans.interval_rows()
    place = np.arange(len(rows)) - spans.row_ptr[rows]
    bounds[0, place, rows], bounds[1, place, rows] = spans.starts, spans.stops
    starts, stops = torch.from_numpy(bounds).to(device)

    def reads(b: Any, h: Any, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        found = (j >= starts[0, i]) & (j < stops[0, i])
        for one in range(1, most):
            found = found | ((j >= starts[one, i]) & (j < stops[one, i]))
        return found

    return reads
