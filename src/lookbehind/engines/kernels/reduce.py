"""Reduce: which passes over the products an observation needs, and what is made of their results.

Received mass and everything that queries can have beside it come from one pass of queries over keys. What
needs more room for each query than a number (several largest weights, maps whose pixels lie across tiles)
is a pass of keys over queries; a mass is such a pass over the measured products alone; sums by distance
follow diagonals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn.functional import pad

from lookbehind.engines.kernels import tuning
from lookbehind.engines.kernels.arguments import LOG2E
from lookbehind.engines.kernels.kept import Kept, place
from lookbehind.engines.kernels.passes import (
    Asked,
    Grain,
    columns_pass,
    diagonals_pass,
    in_scores,
    rows_pass,
)
from lookbehind.engines.observation import Observation, Wants, pixel_counts
from lookbehind.engines.problem import Problem
from lookbehind.engines.sinks import folded_lse
from lookbehind.spans import Spans

# Counts of a span table's products take longer to make than to look at its weights.
_counted: Kept[torch.Tensor] = Kept(16)

Found = dict[str, torch.Tensor]


def logsumexp(problem: Problem) -> torch.Tensor:
    """lse [B, Hq, Lq], float32, sinks included."""
    problem, asked = _multiplied(problem), Asked(lse=True)
    found = tuning.best("rows", (asked,), problem, lambda sizes: rows_pass(problem, None, asked, sizes))
    return folded_lse(problem, found["lse"])


def observe(problem: Problem, lse: torch.Tensor, wants: Wants) -> Observation:
    """The reductions asked for. lse: float32 [B, Hq, Lq], contiguous."""
    problem = _multiplied(problem)
    # Room for each of a row's largest is registers: none for more than there can be.
    beyond = wants.top - min(wants.top, max(problem.n_keys, 1))
    wants = replace(wants, top=wants.top - beyond)
    sums, largest = bool({"sum", "mean"} & set(wants.map_reduces)), "max" in wants.map_reduces
    together = Asked(
        received=wants.received,
        entropy=wants.entropy,
        max_score=wants.max_score,
        distance=wants.distance,
        top=wants.top if wants.top == 1 else 0,
        map_sum=wants.map is not None and sums,
        map_max=wants.map is not None and largest,
        of_scores=wants.map_of == "score",
    )
    found: Found = {}
    grains = _grains(problem, wants)
    if together.mapped and not grains:
        apart = Asked(map_sum=together.map_sum, map_max=together.map_max, of_scores=together.of_scores)
        found |= _by_rows(problem, lse, apart, wants.map)
        together = replace(together, map_sum=False, map_max=False, of_scores=False)
    if together.received or together.mapped:
        found |= _by_columns(problem, lse, together, wants, grains)
    elif together.by_row:
        found |= _by_rows(problem, lse, together)
    if wants.top > 1:
        found |= _by_rows(problem, lse, Asked(top=wants.top))
    masses: Found = {}
    for name, spans in wants.mass.items():
        masses[name] = _by_rows(replace(problem, spans=spans), lse, Asked(mass=True))["mass"]
    by_distance = None
    if wants.by_distance:
        (sizes,) = tuning.candidates("diagonals", problem)
        by_distance = diagonals_pass(problem, lse, sizes)
    weights, keys = _top(problem, lse, wants, found)
    if weights is not None and keys is not None and beyond:
        weights, keys = pad(weights, (0, beyond)), pad(keys, (0, beyond), value=-1)
    return Observation(
        received=found.get("received"),
        visible=_visible(problem) if wants.received else None,
        entropy=found.get("entropy"),
        top_weights=weights,
        top_keys=keys,
        max_score=_highest(problem, found["best"]) if wants.max_score else None,
        distance=found.get("distance"),
        by_distance=by_distance,
        mass=masses or None,
        maps=_maps(problem, wants, found),
    )


def _multiplied(problem: Problem) -> Problem:
    """With operands that are multiplied right: the interpreter takes bfloat16 for whole numbers."""
    if problem.device.type != "cpu" or problem.q.dtype != torch.bfloat16:
        return problem
    return replace(problem, q=problem.q.float(), k=problem.k.float())


# -- passes ------------------------------------------------------------------------------------------------


def _by_rows(
    problem: Problem, lse: torch.Tensor, asked: Asked, pixels: tuple[int, int] | None = None
) -> Found:
    return tuning.best(
        "rows", (asked, pixels), problem, lambda sizes: rows_pass(problem, lse, asked, sizes, pixels)
    )


def _by_columns(
    problem: Problem,
    lse: torch.Tensor,
    asked: Asked,
    wants: Wants,
    grains: dict[tuning.Sizes, Grain],
) -> Found:
    def run(sizes: tuning.Sizes) -> Found:
        grain = grains.get(sizes)
        found = columns_pass(problem, lse, asked, sizes, grain)
        if grain is not None:
            assert wants.map is not None
            for name, pool in (("map_sum", torch.sum), ("map_max", torch.amax)):
                if name in found:
                    found[name] = _coarser(found[name], wants.map, pool)
        return found

    return tuning.best("columns", (asked, wants.map), problem, run)


def _grains(problem: Problem, wants: Wants) -> dict[tuning.Sizes, Grain]:
    """For each size of tiles, pixels that lie within one tile and of which the map's are made; or nothing.

    Pixels then are written once, by whoever computes their tile. A map that is finer than what was asked for
    must stay small: some numbers a query and a key.
    """
    if wants.map is None or 0 in (problem.batch, *wants.map):
        return {}
    found: dict[tuning.Sizes, Grain] = {}
    for sizes in tuning.candidates("columns", problem):
        sides: list[int] = []
        for length, pixels, side in (
            (problem.n_queries, wants.map[0], sizes.rows),
            (problem.n_keys, wants.map[1], sizes.keys),
        ):
            if length % pixels:
                return {}
            size = length // pixels
            sides.append(min(size & -size, side))
        cells = (problem.n_queries // sides[0]) * (problem.n_keys // sides[1])
        if cells > max(4 * wants.map[0] * wants.map[1], 16 * (problem.n_queries + problem.n_keys)):
            return {}
        found[sizes] = Grain(*sides)
    return found


# -- results -----------------------------------------------------------------------------------------------


def _coarser(fine: torch.Tensor, size: tuple[int, int], pool: Callable[..., torch.Tensor]) -> torch.Tensor:
    rows, columns = fine.shape[2] // size[0], fine.shape[3] // size[1]
    if rows == columns == 1:
        return fine
    apart = fine.unflatten(3, (size[1], columns)).unflatten(2, (size[0], rows))
    return pool(apart, (3, 5))


def _top(
    problem: Problem, lse: torch.Tensor, wants: Wants, found: Found
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if not wants.top:
        return None, None
    if wants.top == 1 and "best_key" in found:
        best, keys = found["best"][..., None], found["best_key"][..., None]
    else:
        best, keys = found["top"], found["top_key"]
    empty = (lse == -math.inf)[..., None]
    none = empty | (torch.arange(best.shape[-1], device=best.device) >= _seen(problem)[:, None])
    weights = torch.exp(in_scores(problem, best) - lse[..., None]).masked_fill(none, 0.0)
    return weights, keys.to(torch.int64).masked_fill(empty, -1)


def _highest(problem: Problem, best: torch.Tensor) -> torch.Tensor:
    if not problem.n_queries:
        return best.new_full(best.shape[:2], -math.inf)
    return in_scores(problem, best.amax(-1))


def _maps(problem: Problem, wants: Wants, found: Found) -> Found | None:
    if wants.map is None:
        return None
    counts = _counts(problem.spans, wants.map, problem.device)
    unit = 1 / LOG2E if wants.map_of == "score" else 1.0
    maps: Found = {}
    for reduce in wants.map_reduces:
        pooled = found["map_max" if reduce == "max" else "map_sum"] * unit
        if reduce == "mean":
            pooled /= counts.clamp(min=1)
        maps[reduce] = pooled.masked_fill_(counts == 0, math.nan)
    return maps


def _seen(problem: Problem) -> torch.Tensor:
    """How many keys each query reads."""
    spans, device = problem.spans, problem.device
    return _counted.get(
        spans, ("queries", *place(device)), lambda: torch.from_numpy(spans.row_counts()).to(device)
    )


def _visible(problem: Problem) -> torch.Tensor:
    spans, device = problem.spans, problem.device
    found = _counted.get(
        spans, ("keys", *place(device)), lambda: torch.from_numpy(spans.key_counts()).to(device)
    )
    return found.clone()  # whose it is may write on it


def _counts(spans: Spans, size: tuple[int, int], device: torch.device) -> torch.Tensor:
    return _counted.get(
        spans, (size, *place(device)), lambda: torch.from_numpy(pixel_counts(spans, *size)).to(device)
    )
