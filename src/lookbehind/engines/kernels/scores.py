# pyright: basic, reportIndexIssue=false, reportCallIssue=false, reportOperatorIssue=false
"""What every kernel does to a tile: its scores, and which of its products exist.

Scores are in bits (times log2 e). `x` is what is ranked: the plain dot where the score is that times a
positive number, `unit`, so that scaling and subtracting the lse are one instruction; else the score itself,
and `unit` is 1.
"""

import triton
import triton.language as tl

from lookbehind.engines.kernels.tuning import interpreted

# Far below any score of real inputs, and far inside float32: 0 * NEVER is 0 where 0 * -inf would be NaN.
NEVER = tl.constexpr(-1e30)
_INTERPRETED = tl.constexpr(interpreted())


@triton.jit
def tanh(x):
    """Odd and exact near 0, where (e - 1) / (e + 1) would cancel."""
    square = x * x
    near = x * (
        1.0 + square * (-1.0 / 3 + square * (2.0 / 15 + square * (-17.0 / 315 + square * (62.0 / 2835))))
    )
    within = tl.minimum(x, 20.0, propagate_nan=tl.PropagateNan.ALL)  # beyond, it is 1
    far = 1.0 - 2.0 / (tl.exp2(2.8853900817779268 * within) + 1.0)
    return tl.where(tl.abs(x) < 0.25, near, far)


@triton.jit
def _greater(one, other):
    return tl.maximum(one, other, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def greatest(x, axis: tl.constexpr):
    """The largest along an axis; NaN where any is, which `tl.max` would leave out."""
    if _INTERPRETED:  # which combines by a function of ours one number at a time
        found = tl.where(tl.max((x != x).to(tl.int32), axis) > 0, float("nan"), tl.max(x, axis))
    else:
        found = tl.reduce(x, axis, _greater)
    return found


@triton.jit
def not_below(log):
    """A logarithm that a weight of 0 may be multiplied by: 0 * -inf would be NaN."""
    return tl.maximum(log, NEVER, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def ranked(dot, factor, cap, slope, apart, CAPPED: tl.constexpr, SLOPED: tl.constexpr, PLAIN: tl.constexpr):
    """x of a tile, [rows, keys] float32.

    Args:
        dot: q.k.
        factor: scale * log2 e; scale / softcap where there is one.
        cap: softcap * log2 e.
        slope: [rows], ALiBi in bits for each position.
        apart: [rows, keys] float32, j - i.
    """
    if PLAIN:
        return dot
    x = dot * factor
    if CAPPED:
        x = tanh(x) * cap
    if SLOPED:
        x += slope[:, None] * apart
    return x


@triton.jit
def exists(
    low,
    high,
    most,
    starts,
    stops,
    tile,
    within,
    columns,
    BM: tl.constexpr,
    BN: tl.constexpr,
    R: tl.constexpr,
    MOST: tl.constexpr,
):
    """Which products of a partial tile the spans allow: bool [BM, BN].

    Args:
        low, high, most, starts, stops: of the walk.
        tile: number of the partial tile.
        within: [BM], each row's place in its block of R.
        columns: [BN], keys.
        MOST: how many intervals of a row reach into a tile at most, where they are few; else 0.
    """
    at = tl.load(low + tile.to(tl.int64) * R + within)
    end = tl.load(high + tile.to(tl.int64) * R + within)
    if MOST > 0:
        found = reaches(at, end, starts, stops, columns)
        for more in tl.static_range(1, MOST):
            found = found | reaches(at + more, end, starts, stops, columns)
    else:
        found = tl.zeros((BM, BN), tl.int1)
        for more in range(tl.load(most + tile)):
            found = found | reaches(at + more, end, starts, stops, columns)
    return found


@triton.jit
def reaches(at, end, starts, stops, columns):
    """Which columns lie in each row's interval `at`, if that is below `end`."""
    start = tl.load(starts + at, mask=at < end, other=0)
    stop = tl.load(stops + at, mask=at < end, other=0)
    return (columns[None, :] >= start[:, None]) & (columns[None, :] < stop[:, None])
