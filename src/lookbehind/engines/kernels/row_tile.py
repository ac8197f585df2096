# pyright: basic, reportIndexIssue=false, reportCallIssue=false, reportOperatorIssue=false
"""What `rows_kernel` makes of one tile: of a block of queries, and the keys that pass."""

import triton
import triton.language as tl

from lookbehind.engines.kernels.scores import NEVER, exists, greatest, not_below, ranked


@triton.jit
def inserted(values, keys, cand, first, slots, columns):
    """The largest of each row, in any order, after a tile: one of each row at a time, while any has one."""
    lowest = tl.min(values, 1)
    largest = tl.max(cand, 1)
    while tl.max((largest > lowest).to(tl.int32), 0) > 0:
        better = largest > lowest
        where = tl.argmax(cand, 1)
        place = tl.argmin(values, 1)
        hit = better[:, None] & (slots[None, :] == place[:, None])
        values = tl.where(hit, largest[:, None], values)
        keys = tl.where(hit, (first + where)[:, None], keys)
        cand = tl.where(better[:, None] & (columns[None, :] == where[:, None]), -float("inf"), cand)
        lowest = tl.min(values, 1)
        largest = tl.max(cand, 1)
    return values, keys


@triton.jit
def pooled_into(
    to,
    value,
    row_pixel,
    first_row_pixel,
    row_pixels,
    key_tile,
    n_keys,
    map_columns,
    start,
    BN: tl.constexpr,
    PR: tl.constexpr,
    MAX: tl.constexpr,
):
    """Pixels of any size: this tile's share put into the map, which no other program touches in these rows.

    Args:
        to: the map of this head.
        value: [BM, BN], `start` where there is no product.
        row_pixel: [BM], each row's pixel, counted from first_row_pixel; row_pixels of them.
    """
    columns = key_tile * BN + tl.arange(0, BN)
    pixel = (((columns.to(tl.int64) + 1) * map_columns - 1) // n_keys).to(tl.int32)
    slots = tl.arange(0, PR)
    for column in range(tl.min(pixel, 0), tl.minimum(tl.max(pixel, 0), map_columns - 1) + 1):
        of_column = tl.where((pixel == column)[None, :], value, start)
        at = to + (first_row_pixel + slots).to(tl.int64) * map_columns + column
        before = tl.load(at, mask=slots < row_pixels, other=0.0)
        if MAX:
            by_row = greatest(of_column, 1)
            pooled = greatest(tl.where(row_pixel[:, None] == slots[None, :], by_row[:, None], start), 0)
            pooled = tl.maximum(before, pooled, propagate_nan=tl.PropagateNan.ALL)
            tl.store(at, pooled, mask=slots < row_pixels)
        else:
            by_row = tl.sum(of_column, 1)
            pooled = tl.sum(tl.where(row_pixel[:, None] == slots[None, :], by_row[:, None], 0.0), 0)
            tl.store(at, before + pooled, mask=slots < row_pixels)
        tl.debug_barrier()


@triton.jit
def tile(
    shift,
    total,
    nats,
    far,
    largest,
    values,
    keys,
    key_tile,
    number_of,
    of_run,
    queries,
    of_kv_head,
    rows,
    within,
    above,
    slope,
    flat,
    low,
    high,
    most,
    starts,
    stops,
    factor,
    cap,
    unit,
    k_row,
    k_dim,
    n_keys,
    offset,
    map_sum,
    map_max,
    row_pixel,
    first_row_pixel,
    row_pixels,
    map_rows,
    map_columns,
    slots,
    width,
    FITS: tl.constexpr,
    BD: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    R: tl.constexpr,
    LSE: tl.constexpr,
    ENTROPY: tl.constexpr,
    MASS: tl.constexpr,
    MAX: tl.constexpr,
    DISTANCE: tl.constexpr,
    TOP: tl.constexpr,
    TIES: tl.constexpr,
    MAP_SUM: tl.constexpr,
    MAP_MAX: tl.constexpr,
    OF_SCORES: tl.constexpr,
    PR: tl.constexpr,
    CAPPED: tl.constexpr,
    SLOPED: tl.constexpr,
    PLAIN: tl.constexpr,
    MOST: tl.constexpr,
    MASKED: tl.constexpr,
):
    """One tile: everything that is gathered along rows, with this tile's."""
    dims = tl.arange(0, BD)
    columns = key_tile * BN + tl.arange(0, BN)
    at = of_kv_head + columns[None, :].to(tl.int64) * k_row + dims[:, None].to(tl.int64) * k_dim
    if MASKED:
        kt = tl.load(at, mask=(columns[None, :] < n_keys) & (dims[:, None] < width), other=0.0)
    elif FITS:
        kt = tl.load(at)
    else:
        kt = tl.load(at, mask=dims[:, None] < width, other=0.0)
    apart = (columns[None, :] - (rows[:, None] + offset)).to(tl.float32)
    x = ranked(tl.dot(queries, kt, input_precision="ieee"), factor, cap, slope, apart, CAPPED, SLOPED, PLAIN)
    # Rows that a block has beyond its end are seen in full tiles too: nothing of theirs is ever stored.
    seen = x
    if MASKED:
        number = number_of + key_tile - of_run
        found = exists(low, high, most, starts, stops, number, within, columns, BM, BN, R, MOST)
        seen = tl.where(found, x, -float("inf"))
    if LSE:
        before = shift
        shift = tl.maximum(shift, tl.max(seen, 1) * unit)
        # Where a row has seen no key yet, or one of an infinite score, inf - inf would be NaN.
        safe = tl.where(tl.abs(shift) == float("inf"), 0.0, shift)
        total = total * tl.exp2(before - safe) + tl.sum(tl.exp2(seen * unit - safe[:, None]), 1)
    if ENTROPY or MASS or DISTANCE or MAP_SUM or MAP_MAX:
        log = x * unit - above[:, None]
        if ENTROPY:
            log = not_below(log)
        if MASKED:
            log = tl.where(found, log, NEVER)
        p = tl.exp2(log)
        if ENTROPY:
            nats -= tl.sum(p * log, 1)
        if MASS:
            total += tl.sum(p, 1)
        if DISTANCE:
            far += tl.sum(p * tl.abs(apart), 1)
    if MAX:
        largest = tl.maximum(largest, greatest(seen, 1), propagate_nan=tl.PropagateNan.ALL)
    if TOP == 1:
        one, where = tl.max(seen, 1, return_indices=True, return_indices_tie_break_left=TIES)
        better = one[:, None] > values
        values = tl.where(better, one[:, None], values)
        keys = tl.where(better, (key_tile * BN + where)[:, None], keys)
    elif TOP > 0:
        values, keys = inserted(values, keys, seen, key_tile * BN, slots, tl.arange(0, BN))
    of_map = tl.max(flat, 0) * map_rows * map_columns
    if MAP_SUM:
        value = p
        if OF_SCORES:
            value = x * unit
            if MASKED:
                value = tl.where(found, value, 0.0)
        pooled_into(
            map_sum + of_map,
            value,
            row_pixel,
            first_row_pixel,
            row_pixels,
            key_tile,
            n_keys,
            map_columns,
            0.0,
            BN,
            PR,
            False,
        )
    if MAP_MAX:
        value = p
        start = 0.0
        if OF_SCORES:
            value = seen * unit
            start = -float("inf")
        pooled_into(
            map_max + of_map,
            value,
            row_pixel,
            first_row_pixel,
            row_pixels,
            key_tile,
            n_keys,
            map_columns,
            start,
            BN,
            PR,
            True,
        )
    return shift, total, nats, far, largest, values, keys
