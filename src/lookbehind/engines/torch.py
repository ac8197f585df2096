"""The torch engine: attention and its reductions block by block, on any device, in O(n) memory.

Only non-empty tiles are visited, and only partial ones are masked. Scores, sums and reductions are float32
(float64 for float64 inputs) whatever the inputs are. On a CPU PyTorch's fused attention computes `attend`
where it is right.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any

import torch

from lookbehind.engines.blockwise import fused
from lookbehind.engines.blockwise.reductions import Bench, Result, Tile, chosen
from lookbehind.engines.blockwise.strips import Strip, each_strip
from lookbehind.engines.blockwise.tiles import LOG2E, NEVER, Scores, finite
from lookbehind.engines.observation import Observation, Wants
from lookbehind.engines.problem import Problem
from lookbehind.engines.sinks import folded, folded_lse

NAME = "torch"


def why_not(problem: Problem, wants: Wants | None = None) -> str | None:
    """Why this engine cannot run this call here, or None if it can."""
    if problem.device.type == "meta":
        return "tensors on the meta device hold no numbers"
    if problem.device.type == "mps" and problem.dtype == torch.float64:
        return "the mps device has no float64; use float32"
    return None


def attend(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The output [B, Hq, Lq, Dv] in q's dtype, and lse [B, Hq, Lq]."""
    with _full_precision(problem.device):
        out, lse = fused.attempt(problem) or _softmax(problem, with_output=True)
        return folded(problem, out, lse)


def logsumexp(problem: Problem) -> torch.Tensor:
    """lse [B, Hq, Lq] alone; never a fused kernel's, which for half types carries their rounding."""
    with _full_precision(problem.device):
        return folded_lse(problem, _softmax(problem, with_output=False)[1])


def observe(problem: Problem, lse: torch.Tensor, wants: Wants) -> Observation:
    """One pass over the tiles; each is reduced to what was asked for and forgotten."""
    problem = replace(problem, spans=wants.walked(problem.spans))
    with _full_precision(problem.device):
        scores = Scores(problem)
        lse = lse.to(problem.dtype).flatten(0, 1) * LOG2E
        # A row with no key must weigh 0: s - lse with lse = -inf would be inf or NaN.
        above = lse.masked_fill(lse == -math.inf, -NEVER)[..., None]
        reductions = chosen(scores, wants)
        # Not log + lse afterwards: that would round, and lose the score where lse is infinite.
        keep_scores = wants.map is not None and wants.map_of == "score"

        def reduced(strip: Strip) -> Bench:
            bench = Bench(strip, skew=wants.by_distance)
            for place, s in strip.tiles():
                kept = s.clone() if keep_scores else None
                highest = scores.hidden(s, place, -math.inf).amax(-1) if wants.max_score else None
                # A weight of 0 times its logarithm is 0, were that -inf as well; and it is no NEVER.
                log = scores.hide(s.sub_(above[strip.heads, strip.rows]).clamp_(min=NEVER / 4), place)
                tile = Tile(bench, place, log, highest, kept)
                for reduction in reductions:
                    reduction.add(tile)
            return bench

        for _, bench in each_strip(scores, reduced) if reductions else ():
            for reduction in reductions:
                reduction.gather(bench)

        def apart(value: Result) -> Any:
            if isinstance(value, dict):
                return {name: apart(one) for name, one in value.items()}
            return value.unflatten(0, (problem.batch, problem.n_heads))

        visible = torch.from_numpy(problem.spans.key_counts()).to(problem.device) if wants.received else None
        found = {name: apart(value) for one in reductions for name, value in one.fields().items()}
        return Observation(**found, visible=visible)


def _softmax(problem: Problem, with_output: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (of width 0 without it) and lse, strip by strip."""
    scores = Scores(problem)
    width = problem.v.shape[3] if with_output and problem.v is not None else 0
    out = scores.zeros(problem.n_queries, width).to(problem.q.dtype)
    lse = scores.zeros(problem.n_queries).fill_(-math.inf)
    odd = width > 0 and problem.v is not None and not finite(problem.v)

    def softmax(strip: Strip) -> None:
        # A running maximum, and sums of exp2(s - maximum) that are rescaled as it grows.
        largest = lse.new_full((*strip.shape, 1), -math.inf)
        total = torch.zeros_like(largest)
        weighed = lse.new_zeros(*strip.shape, width)
        for place, s in strip.tiles():
            scores.hide(s, place, -math.inf)
            before, largest = largest, torch.maximum(largest, s.amax(-1, keepdim=True))
            # Where a row has seen no key yet, -inf - -inf would be NaN.
            shift = largest.masked_fill(largest == -math.inf, 0.0)
            s.sub_(shift).exp2_()
            shrink = torch.exp2(before - shift)
            total = total * shrink + s.sum(-1, keepdim=True)
            if width:
                v = scores.values(strip.kv_heads, place.keys)
                part = weighed.mul_(shrink).view(len(v), -1, width)
                torch.baddbmm(
                    part, s.view(len(v), -1, s.shape[-1]), v.where(v.isfinite(), 0.0) if odd else v, out=part
                )
                if odd:
                    _add_odd(weighed, s, v, scores.hidden(torch.ones_like(s[0]), place, 0.0) > 0)
        summed = torch.where(largest == math.inf, largest, largest + total.log2())
        lse[strip.heads, strip.rows] = summed[..., 0] / LOG2E
        # An empty row has total 0 and weighed 0; its output stays 0.
        out[strip.heads, strip.rows] = (weighed / total.masked_fill(total == 0, 1.0)).to(out.dtype)

    for _ in each_strip(scores, softmax):
        pass
    lead = (problem.batch, problem.n_heads)
    return out.unflatten(0, lead), lse.unflatten(0, lead)


def _add_odd(weighed: torch.Tensor, weights: torch.Tensor, values: torch.Tensor, sees: torch.Tensor) -> None:
    """weighed [heads, rows, Dv] += weights [heads, rows, keys] times those values that are NaN or infinite.

    values: [kv heads, keys, Dv]. Each meets the queries that read its key, sees [rows, keys], and no
    others' weights of 0.
    """
    finite, group = values.isfinite(), len(weighed) // len(values)
    for key in (~finite).any(-1).any(0).nonzero()[:, 0].tolist():
        odd = values[:, key].masked_fill(finite[:, key], 0.0).repeat_interleave(group, 0)
        rows = sees[:, key]
        weighed[:, rows] += weights[:, rows, key][..., None] * odd[:, None]


@contextmanager
def _full_precision(device: torch.device) -> Generator[None]:
    """Neither autocast nor a reduced float32 matmul (TF32, bfloat16) may round what is promised exact."""
    with torch.autocast(device.type, enabled=False), _PRECISION:
        yield


class _Precision:
    """PyTorch's precision of float32 products, which threads share: first in raises, last out resets it."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, "highest"

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.get_float32_matmul_precision()
                if self._before != "highest":
                    torch.set_float32_matmul_precision("highest")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._before != "highest":
                torch.set_float32_matmul_precision(self._before)


_PRECISION = _Precision()
