"""The native engine: the C++ library of native/, on CPU tensors.

Any span of keys, whatever its shape, costs what its products cost; queries and keys are read where they lie.
Copied first, because the library reads rows of adjacent numbers: a tensor whose last axis has a stride other
than 1, span tables that are not contiguous, and sinks, slopes and an lse that are not contiguous float32. All
sums are float32. Results are the same bits for any number of threads, which is `torch.get_num_threads()`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lookbehind.engines.observation import Observation, Wants
from lookbehind.engines.problem import Problem

if TYPE_CHECKING:
    from lookbehind.spans import Spans

_why_missing: str | None = None
try:
    import lookbehind._native as _native  # pyright: ignore[reportMissingModuleSource]
except ModuleNotFoundError:
    _native = None
    _why_missing = (
        "it was not compiled when lookbehind was installed; where a C++20 compiler is, install again"
    )
except ImportError as error:
    _native = None
    _why_missing = f"what was compiled of it does not load ({error}); install it again"

NAME = "native"

# The instruction set that calls run on; the best that this machine has where it is empty.
SET = ""

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_POSITIONS = 2**31


def loaded() -> str | None:
    """Why the compiled part is not here, or None if it is."""
    return _why_missing


def sets() -> tuple[list[str], list[str]]:
    """Instruction sets that this machine runs, best first (calls run on the first); and all compiled in."""
    return (_native.sets(), _native.compiled_sets()) if _native else ([], [])


def peak_flops(dtype: torch.dtype, seconds: float) -> float:
    """Operations a second that one core can multiply and add in registers: no kernel can do more."""
    assert _native
    return _native.peak_flops("bfloat16" if dtype == torch.bfloat16 else "float32", SET, seconds)


def copy_bandwidth(n_bytes: int, seconds: float) -> float:
    """Bytes read plus written a second, by copying so many on as many threads as PyTorch has."""
    assert _native
    return _native.copy_bandwidth(n_bytes, torch.get_num_threads(), seconds)


def why_not(problem: Problem, wants: Wants | None = None) -> str | None:
    """Why this engine cannot run this call here, or None if it can."""
    if problem.device.type != "cpu":
        return f"it runs on the CPU; these tensors are on {problem.device}"
    if problem.q.dtype not in _DTYPES:
        return "it computes in float32; float64 is for the torch engine"
    if problem.v is not None and problem.v.shape[3] == 0:
        return "it takes no values of width 0"
    most = max(abs(problem.spans.offset) + problem.n_queries, problem.n_keys)
    if most >= _POSITIONS:
        return f"it counts fewer than {_POSITIONS:,} positions; these reach {most:,}"
    return loaded()


def attend(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The output [B, Hq, Lq, Dv] in q's dtype, and lse [B, Hq, Lq]."""
    assert problem.v is not None and _native
    out = problem.q.new_empty(*problem.q.shape[:3], problem.v.shape[3])
    lse = _floats(problem, problem.n_queries)
    _native.attend(**_call(problem), v=_readable(problem.v), out=out, lse=lse)
    return out, lse


def logsumexp(problem: Problem) -> torch.Tensor:
    """lse [B, Hq, Lq] alone."""
    assert _native
    lse = _floats(problem, problem.n_queries)
    _native.logsumexp(**_call(problem), lse=lse)
    return lse


def observe(problem: Problem, lse: torch.Tensor, wants: Wants) -> Observation:
    """The reductions asked for, in one pass over the products."""
    assert _native
    problem = replace(problem, spans=wants.walked(problem.spans))
    to = _targets(problem, wants)
    masses = {name: _floats(problem, problem.n_queries) for name in wants.mass}
    if to or masses:
        _native.observe(
            **_call(problem),
            lse=_adjacent(lse.to(torch.float32)),
            wants=to,
            masses=[(_spans(spans), masses[name]) for name, spans in wants.mass.items()],
            map_of_scores=wants.map_of == "score",
        )
    maps = {how: to.pop(f"map_{how}") for how in wants.map_reduces} if wants.map else None
    visible = torch.from_numpy(problem.spans.key_counts()) if wants.received else None
    return Observation(**to, visible=visible, mass=masses or None, maps=maps)  # type: ignore[arg-type]


def _targets(problem: Problem, wants: Wants) -> dict[str, torch.Tensor]:
    """Where the library writes what is asked for, by its name there."""
    n_queries, top = problem.n_queries, wants.top
    to: dict[str, torch.Tensor] = {}
    if wants.received:
        to["received"] = _floats(problem, problem.n_keys)
    if wants.entropy:
        to["entropy"] = _floats(problem, n_queries)
    if top:
        to["top_weights"] = _floats(problem, n_queries, top)
        to["top_keys"] = torch.empty_like(to["top_weights"], dtype=torch.int64)
    if wants.max_score:
        to["max_score"] = _floats(problem)
    if wants.distance:
        to["distance"] = _floats(problem, n_queries)
    if wants.by_distance:
        to["by_distance"] = _floats(problem, problem.n_distances)
    if wants.map is not None:
        for how in wants.map_reduces:
            to[f"map_{how}"] = _floats(problem, *wants.map)
    return to


def _call(problem: Problem) -> dict[str, Any]:
    """What every function of the library is given."""
    return {
        "q": _readable(problem.q),
        "k": _readable(problem.k),
        "spans": _spans(problem.spans),
        "scale": problem.scale,
        "softcap": problem.softcap or 0.0,
        "sinks": _per_head(problem.sinks),
        "alibi": _per_head(problem.alibi),
        "threads": torch.get_num_threads(),
        "set": SET,
    }


def _spans(spans: Spans) -> tuple[Any, Any, Any, int]:
    row_ptr, starts, stops = (
        np.ascontiguousarray(one, dtype=np.int64) for one in (spans.row_ptr, spans.starts, spans.stops)
    )
    return row_ptr, starts, stops, spans.offset


def _readable(x: torch.Tensor) -> torch.Tensor:
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else _adjacent(x)


def _adjacent(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous() if x.numel() else x.new_empty(x.shape)  # contiguous() keeps an empty one's strides


def _per_head(x: torch.Tensor | None) -> torch.Tensor | None:
    return None if x is None else _adjacent(x.to(torch.float32))


def _floats(problem: Problem, *shape: int) -> torch.Tensor:
    return torch.empty(problem.batch, problem.n_heads, *shape, dtype=torch.float32, device=problem.device)
