"""The reference: every weight at once, float64, plain PyTorch. It defines correct, and is for small n."""

from __future__ import annotations

import math

import torch

from lookbehind.engines.observation import Observation, Wants, pixel_edges
from lookbehind.engines.problem import Problem
from lookbehind.spans import Spans

NAME = "reference"

_MOST = 2**27  # weights; 1 GiB of float64


def why_not(problem: Problem, wants: Wants | None = None) -> str | None:
    """Why this engine cannot run this call here, or None if it can."""
    weights = problem.batch * problem.n_heads * problem.n_queries * problem.n_keys
    if weights > _MOST:
        return f"it stores all {weights:,} weights in float64, and stops at {_MOST:,}"
    if problem.device.type == "meta":
        return "tensors on the meta device hold no numbers"
    return None


def attend(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The output [B, Hq, Lq, Dv] in q's dtype, and lse [B, Hq, Lq]."""
    assert problem.v is not None
    lse = _lse(problem)
    out = _weighed(_weights(problem, lse), _allowed(problem), _per_query_head(problem, problem.v))
    return out.to(problem.q.dtype), lse.to(problem.dtype)


def logsumexp(problem: Problem) -> torch.Tensor:
    """lse [B, Hq, Lq] alone."""
    return _lse(problem).to(problem.dtype)


def observe(problem: Problem, lse: torch.Tensor, wants: Wants) -> Observation:
    """The reductions asked for, each as its definition says."""
    p = _weights(problem, lse.double())
    i, j = _positions(problem)
    apart = (i[:, None] - j[None, :]).abs()
    allowed = _allowed(problem)
    top_weights, top_keys = _top(p, allowed, wants.top) if wants.top else (None, None)
    highest = p.new_full((*p.shape[:2], 1), -math.inf)
    found = Observation(
        received=p.sum(-2) if wants.received else None,
        visible=allowed.sum(-2) if wants.received else None,
        entropy=-torch.special.xlogy(p, p).sum(-1) if wants.entropy else None,
        top_weights=top_weights,
        top_keys=top_keys,
        max_score=torch.cat([_scores(problem).flatten(2), highest], -1).amax(-1) if wants.max_score else None,
        distance=(p * apart).sum(-1) if wants.distance else None,
        by_distance=_by_distance(problem, p, apart) if wants.by_distance else None,
        mass={name: p.masked_fill(~_dense(problem, spans), 0.0).sum(-1) for name, spans in wants.mass.items()}
        or None,
        maps=_maps(problem, p, allowed, wants),
    )
    return _rounded(found, problem.dtype)


def _positions(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    i = torch.arange(problem.n_queries, device=problem.device) + problem.spans.offset
    return i, torch.arange(problem.n_keys, device=problem.device)


def _dense(problem: Problem, spans: Spans) -> torch.Tensor:
    return torch.from_numpy(spans.mask()).to(problem.device)


def _allowed(problem: Problem) -> torch.Tensor:
    return _dense(problem, problem.spans)


def _per_query_head(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    return x.double().repeat_interleave(problem.group, dim=1)


def _scores(problem: Problem) -> torch.Tensor:
    s = problem.scale * (problem.q.double() @ _per_query_head(problem, problem.k).transpose(-1, -2))
    if problem.softcap is not None:
        s = problem.softcap * torch.tanh(s / problem.softcap)
    if problem.alibi is not None:
        i, j = _positions(problem)
        s = s + problem.alibi.double()[:, None, None] * (j[None, :] - i[:, None])
    return s.masked_fill(~_allowed(problem), -math.inf)


def _lse(problem: Problem) -> torch.Tensor:
    s = _scores(problem)
    if problem.sinks is not None:
        sinks = problem.sinks.double()[:, None, None].expand(*s.shape[:3], 1)
        s = torch.cat([s, sinks], dim=-1)
    empty = ~_allowed(problem).any(-1)
    return torch.logsumexp(s, dim=-1).masked_fill(empty, -math.inf)


def _weights(problem: Problem, lse: torch.Tensor) -> torch.Tensor:
    p = torch.exp(_scores(problem) - lse[..., None])
    return p.masked_fill(lse[..., None] == -math.inf, 0.0).masked_fill(~_allowed(problem), 0.0)


def _weighed(p: torch.Tensor, allowed: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    # A product that does not exist adds nothing, not even 0 * NaN: where v is not finite, row by row.
    if v.isfinite().all() or not len(allowed):
        return p @ v
    return torch.cat([p[:, :, [r]][..., keys] @ v[:, :, keys] for r, keys in enumerate(allowed)], 2)


def _top(p: torch.Tensor, allowed: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    # Forbidden products sort behind the smallest weight; the columns added are for rows shorter than k.
    ranked = torch.nn.functional.pad(p.masked_fill(~allowed, -1.0), (0, k), value=-1.0)
    weights, keys = ranked.topk(k, dim=-1)
    return weights.clamp(min=0.0), keys.masked_fill(weights < 0, -1)


def _by_distance(problem: Problem, p: torch.Tensor, apart: torch.Tensor) -> torch.Tensor:
    total = p.new_zeros(*p.shape[:2], problem.n_distances)
    return total.index_add_(-1, apart.flatten(), p.flatten(2))


def _maps(
    problem: Problem, p: torch.Tensor, allowed: torch.Tensor, wants: Wants
) -> dict[str, torch.Tensor] | None:
    if wants.map is None:
        return None
    values = p if wants.map_of == "weight" else _scores(problem)
    return {reduce: _map(values, allowed, wants.map, reduce) for reduce in wants.map_reduces}


def _map(values: torch.Tensor, allowed: torch.Tensor, size: tuple[int, int], reduce: str) -> torch.Tensor:
    pooled = values.new_full((*values.shape[:2], *size), math.nan)
    rows, columns = pixel_edges(values.shape[2], size[0]), pixel_edges(values.shape[3], size[1])
    for r in range(size[0]):
        for c in range(size[1]):
            tile = (..., slice(rows[r], rows[r + 1]), slice(columns[c], columns[c + 1]))
            inside = values[tile][..., allowed[tile]]
            if inside.shape[-1]:
                pooled[..., r, c] = getattr(torch, {"max": "amax"}.get(reduce, reduce))(inside, dim=-1)
    return pooled


def _rounded(found: Observation, dtype: torch.dtype) -> Observation:
    def rounded(value: object) -> object:
        if isinstance(value, dict):
            return {name: rounded(one) for name, one in value.items()}
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.to(dtype)
        return value

    return Observation(**{name: rounded(value) for name, value in vars(found).items()})  # type: ignore[arg-type]
