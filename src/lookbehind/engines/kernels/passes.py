"""Passes: one launch of a kernel each, from a problem to finished tensors.

Importing this module imports triton.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from lookbehind.engines.kernels.arguments import LOG2E, Maths, dimensions, filled, pointers, power, runs, wide
from lookbehind.engines.kernels.columns import columns_kernel
from lookbehind.engines.kernels.diagonals import diagonals_kernel
from lookbehind.engines.kernels.rows import rows_kernel
from lookbehind.engines.kernels.shares import dealt, rows_of_pixels
from lookbehind.engines.kernels.tuning import ROOM, Sizes, processors
from lookbehind.engines.kernels.walk import Walk, walk
from lookbehind.engines.problem import Problem

# A kernel is launched with arguments that its own signature does not have.
_COLUMNS: Any = columns_kernel
_ROWS: Any = rows_kernel
_DIAGONALS: Any = diagonals_kernel

_AT_MOST = 2**30  # bytes that splits may keep for queries before there are fewer splits
_FEWEST = 16


@dataclass(frozen=True)
class Asked:
    """What one pass computes.

    Attributes:
        received, entropy, max_score, distance, mass, lse: whether; mass is the sum of each row's weights.
        top: how many of each row's largest.
        map_sum, map_max: whether pixels are summed, whether their largest is kept.
        of_scores: whether it is scores that are pooled.
    """

    received: bool = False
    entropy: bool = False
    max_score: bool = False
    distance: bool = False
    mass: bool = False
    lse: bool = False
    top: int = 0
    map_sum: bool = False
    map_max: bool = False
    of_scores: bool = False

    @property
    def by_row(self) -> bool:
        """Whether anything is asked of queries, maps aside."""
        return bool(self.entropy or self.max_score or self.distance or self.mass or self.lse or self.top)

    @property
    def mapped(self) -> bool:
        """Whether a map is asked for."""
        return self.map_sum or self.map_max


@dataclass(frozen=True)
class Grain:
    """The finest map that a pass writes: pixels of rows x columns products, powers of two."""

    rows: int
    columns: int


def columns_pass(
    problem: Problem, lse: torch.Tensor, asked: Asked, sizes: Sizes, grain: Grain | None = None
) -> dict[str, torch.Tensor]:
    """What queries leave behind that pass: `received`, `entropy`, `distance`, `best`, `best_key`, and maps.

    Results are float32 [B, Hq, ...]; best in the kernel's unit, see `in_scores`; maps of pixels of `grain`.
    """
    batch, heads, n_queries, n_keys = problem.batch, problem.n_heads, problem.n_queries, problem.n_keys
    device, leads = problem.device, batch * heads
    way = walk(problem.spans, sizes.rows, sizes.keys, "columns", device)
    by_row = asked.by_row
    # Where nothing is added up for queries, a program does one block of keys for every head that reads it.
    enough = way.lines * batch * problem.n_kv_heads >= processors(device)
    at_once = problem.group if enough and not by_row and not asked.mapped else 1
    splits = _splits(way, leads, n_queries, asked, device) if by_row else way.lines
    split_ptr, split_blocks = dealt(way, splits)
    found = {
        "received": filled(problem, asked.received, 0.0, n_keys),
        "entropy": filled(problem, asked.entropy, 0.0, n_queries, splits=splits),
        "best": filled(problem, asked.max_score or asked.top, -math.inf, n_queries, splits=splits),
        "best_key": filled(problem, asked.top, -1, n_queries, splits=splits, dtype=torch.int32),
        "distance": filled(problem, asked.distance, 0.0, n_queries, splits=splits),
    }
    grain = grain or Grain(1, 1)
    map_size = n_queries // grain.rows, n_keys // grain.columns
    start = -math.inf if asked.of_scores else 0.0
    found["map_sum"] = filled(problem, asked.map_sum, 0.0, *map_size)
    found["map_max"] = filled(problem, asked.map_max, start, *map_size)
    maths = Maths.of(problem)
    if splits and leads:
        _COLUMNS[(splits * (leads // at_once),)](
            problem.q,
            problem.k,
            lse,
            *pointers(found, lse),
            *runs(way),
            split_ptr,
            split_blocks,
            *maths.arguments(lse),
            *problem.q.stride(),
            *problem.k.stride(),
            n_queries,
            n_keys,
            problem.spans.offset,
            leads // at_once,
            *map_size,
            **dimensions(problem),
            MOST=way.most_of_all,
            heads=at_once,
            BM=sizes.rows,
            BN=sizes.keys,
            WHOLE=n_queries % sizes.rows == 0 and problem.q.shape[3] == wide(problem.q.shape[3]),
            RECEIVED=asked.received,
            ENTROPY=asked.entropy,
            MAX=asked.max_score,
            TOP=asked.top > 0,
            TIES=device.type != "cuda",  # of equal weights any is right; the interpreter is fast at the first
            DISTANCE=asked.distance,
            MAP_SUM=asked.map_sum,
            MAP_MAX=asked.map_max,
            OF_SCORES=asked.of_scores,
            PR=grain.rows,
            PC=grain.columns,
            **maths.flags(),
            num_warps=sizes.warps,
            num_stages=sizes.stages,
        )
    if "entropy" in (kept := {name: value for name, value in found.items() if value is not None}):
        kept["entropy"] = kept["entropy"].sum(0) / LOG2E
    if "distance" in kept:
        kept["distance"] = kept["distance"].sum(0)
    if "best" in kept:
        kept["best"], where = _largest(kept["best"])
        if "best_key" in kept:
            kept["best_key"] = kept["best_key"].gather(0, where[None])[0]
    return kept


def rows_pass(
    problem: Problem,
    lse: torch.Tensor | None,
    asked: Asked,
    sizes: Sizes,
    pixels: tuple[int, int] | None = None,
) -> dict[str, torch.Tensor]:
    """What is reduced along a row: `lse`, `entropy`, `mass`, `distance`, `best`, `top`, `top_key`; and maps.

    Results are float32 [B, Hq, Lq]; `top` and `top_key` [B, Hq, Lq, k], descending; maps [B, Hq, *pixels].
    """
    batch, heads, n_queries, n_keys = problem.batch, problem.n_heads, problem.n_queries, problem.n_keys
    device, rows, keys = problem.device, sizes.rows, sizes.keys
    while rows > 16 and rows * power(asked.top) > ROOM:
        rows //= 2
    pack = 1 if asked.mapped else min(problem.group & -problem.group, rows)
    # No more slots than there are queries; a matrix product has at least 16 rows.
    while rows > 16 and rows // pack >= 2 * max(n_queries, 1):
        rows //= 2
    of_block, leads = rows // pack, batch * heads // pack
    way = walk(problem.spans, of_block, keys, "rows", device, pixels[0] if pixels and asked.mapped else None)
    if asked.mapped:
        assert pixels is not None
        split_ptr, split_blocks = rows_of_pixels(way, n_queries, pixels[0], device)
    else:
        split_ptr, split_blocks = dealt(way, way.lines)
    splits, key_tiles = len(split_ptr) - 1, -(-n_keys // keys)
    stretches = 1
    if not asked.mapped and 0 < splits * leads < 2 * processors(device):
        # Not quite four programs a processor: two run at once, and a fifth would wait alone.
        stretches = max(1, min(4 * processors(device) // (splits * leads), key_tiles // 4))
    stretch = -(-key_tiles // stretches)
    map_size = pixels if pixels is not None and asked.mapped else (1, 1)
    start = -math.inf if asked.of_scores else 0.0
    found = {
        "lse": filled(problem, asked.lse, -math.inf, n_queries, splits=stretches),
        "entropy": filled(problem, asked.entropy, 0.0, n_queries, splits=stretches),
        "mass": filled(problem, asked.mass, 0.0, n_queries, splits=stretches),
        "best": filled(problem, asked.max_score, -math.inf, n_queries, splits=stretches),
        "distance": filled(problem, asked.distance, 0.0, n_queries, splits=stretches),
        "top": filled(problem, asked.top, -math.inf, n_queries, asked.top, splits=stretches),
        "top_key": filled(problem, asked.top, -1, n_queries, asked.top, splits=stretches, dtype=torch.int32),
        "map_sum": filled(problem, asked.map_sum, 0.0, *map_size),
        "map_max": filled(problem, asked.map_max, start, *map_size),
    }
    maths = Maths.of(problem)
    given = problem.q if lse is None else lse
    if splits and leads:
        _ROWS[(stretches * splits * leads,)](
            problem.q,
            problem.k,
            given,
            *pointers(found, given),
            way.rows_at,
            *runs(way),
            split_ptr,
            split_blocks,
            *maths.arguments(given),
            *problem.q.stride(),
            *problem.k.stride(),
            n_queries,
            n_keys,
            problem.spans.offset,
            leads,
            splits,
            stretch,
            *map_size,
            **dimensions(problem),
            MOST=way.most_of_all,
            PACK=pack,
            FITS=problem.q.shape[3] == wide(problem.q.shape[3]),
            BM=rows,
            BN=keys,
            LSE=asked.lse,
            ENTROPY=asked.entropy,
            MASS=asked.mass,
            MAX=asked.max_score,
            DISTANCE=asked.distance,
            TOP=asked.top,
            TIES=device.type != "cuda",
            SLOTS=power(asked.top),
            MAP_SUM=asked.map_sum,
            MAP_MAX=asked.map_max,
            OF_SCORES=asked.of_scores,
            PR=of_block,
            **maths.flags(),
            num_warps=sizes.warps,
            num_stages=sizes.stages,
        )
    kept = {name: value for name, value in found.items() if value is not None}
    for name in {"entropy", "mass", "distance"} & kept.keys():
        kept[name] = kept[name].sum(0)
    if "entropy" in kept:
        kept["entropy"] /= LOG2E
    if "lse" in kept:
        kept["lse"] = (kept["lse"] / LOG2E).logsumexp(0) if stretches > 1 else kept["lse"][0] / LOG2E
    if "best" in kept:
        kept["best"] = _largest(kept["best"])[0]
    if "top" in kept:
        values, keys_of = (kept[name].movedim(0, -2).flatten(-2) for name in ("top", "top_key"))
        kept["top"], order = values.topk(asked.top, dim=-1)
        kept["top_key"] = keys_of.gather(-1, order)
    return kept


def diagonals_pass(problem: Problem, lse: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """The mass at each distance |i - j|: float32 [B, Hq, n_distances]."""
    size, leads = sizes.rows, problem.batch * problem.n_heads
    lead = (problem.batch, problem.n_heads)
    way = walk(problem.spans, size, size, "diagonals", problem.device)
    sums = torch.zeros(way.lines, 2, *lead, size, dtype=torch.float32, device=problem.device)
    key_tiles, offset = -(-problem.n_keys // size), problem.spans.offset
    maths = Maths.of(problem)
    if way.lines and leads:
        _DIAGONALS[(way.lines * leads,)](
            problem.q,
            problem.k,
            lse,
            sums,
            way.line_ptr,
            way.first,
            *runs(way)[3:],
            *maths.arguments(lse),
            *problem.q.stride(),
            *problem.k.stride(),
            problem.n_queries,
            problem.n_keys,
            offset,
            leads,
            key_tiles,
            **dimensions(problem),
            MOST=way.most_of_all,
            B=size,
            **maths.flags(),
            num_warps=sizes.warps,
            num_stages=sizes.stages,
        )
    total = sums.new_zeros(*lead, problem.n_distances)
    if not way.lines:
        return total
    # As one line of j - i, ascending: the last diagonal comes first.
    near, wrapped = (sums[:, which].flip(0).movedim(0, -2).flatten(-2) for which in (0, 1))
    lowest = (key_tiles - way.lines) * size - offset - size  # of the first that is wrapped
    line = sums.new_zeros(*lead, near.shape[-1] + size)
    line[..., size:] += near
    line[..., :-size] += wrapped
    behind = line[..., : max(1 - lowest, 0)]  # j - i from `lowest` to 0
    if behind.shape[-1]:
        nearest = max(-(lowest + behind.shape[-1] - 1), 0)
        behind = behind.flip(-1)[..., : max(problem.n_distances - nearest, 0)]
        total[..., nearest : nearest + behind.shape[-1]] += behind
    ahead = line[..., max(1 - lowest, 0) :]
    if ahead.shape[-1]:
        nearest = max(lowest, 1)
        ahead = ahead[..., : max(problem.n_distances - nearest, 0)]
        total[..., nearest : nearest + ahead.shape[-1]] += ahead
    return total


def in_scores(problem: Problem, best: torch.Tensor) -> torch.Tensor:
    """What a pass ranked by, as scores."""
    return best * (problem.scale if Maths.of(problem).plain else 1 / LOG2E)


# -- parts -------------------------------------------------------------------------------------------------


def _largest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Over the first axis, which may be empty in a problem without queries."""
    if not len(values):
        values = values.new_full((1, *values.shape[1:]), -math.inf)
    return values.max(0)


def _splits(way: Walk, leads: int, n_queries: int, asked: Asked, device: torch.device) -> int:
    """How many programs share the key blocks of a head: as the card has room for, as its memory allows."""
    splits = max(1, 4 * processors(device) // max(leads, 1))
    kept = asked.entropy + asked.distance + (asked.max_score or asked.top > 0) + (asked.top > 0)
    while splits > _FEWEST and 4 * kept * splits * leads * n_queries > _AT_MOST:
        splits //= 2
    return max(1, min(splits, way.lines))
