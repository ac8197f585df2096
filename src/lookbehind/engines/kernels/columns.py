# pyright: basic, reportIndexIssue=false, reportCallIssue=false, reportOperatorIssue=false
"""The kernel that holds keys still and lets queries pass: received mass, and what queries can have beside it.

The mass that a block of keys receives stays in registers and is written once: no other program adds to it, so
nothing depends on the order in which programs run, and no memory beside the result is needed. It is summed
across lanes only at the end, which costs less than per tile. What is asked of queries beside it is added up
in memory that belongs to one program (`split`), a vector per tile.
"""

import triton
import triton.language as tl

from lookbehind.engines.kernels.scores import NEVER, exists, greatest, not_below, ranked


@triton.jit
def tile(
    total,
    row_block,
    partial,
    kt,
    columns,
    q,
    lse,
    entropy,
    best,
    best_key,
    distance,
    map_sum,
    map_max,
    key_block,
    low,
    high,
    most,
    starts,
    stops,
    factor,
    cap,
    unit,
    slope,
    q_row,
    q_dim,
    n_queries,
    offset,
    map_rows,
    map_columns,
    width,
    BD: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    WHOLE: tl.constexpr,
    MASKED: tl.constexpr,
    RECEIVED: tl.constexpr,
    ENTROPY: tl.constexpr,
    MAX: tl.constexpr,
    TOP: tl.constexpr,
    TIES: tl.constexpr,
    DISTANCE: tl.constexpr,
    MAP_SUM: tl.constexpr,
    MAP_MAX: tl.constexpr,
    OF_SCORES: tl.constexpr,
    PR: tl.constexpr,
    PC: tl.constexpr,
    CAPPED: tl.constexpr,
    SLOPED: tl.constexpr,
    PLAIN: tl.constexpr,
    MOST: tl.constexpr,
):
    """One tile; the received mass so far, and with this tile's."""
    within = tl.arange(0, BM)
    rows = row_block * BM + within
    there = rows < n_queries
    dims = tl.arange(0, BD)
    if WHOLE:
        read = rows
    else:
        # Rows beyond the end are the last again: as 0, they would weigh an infinite key by 0 * inf.
        read = tl.minimum(rows, n_queries - 1)
    at = q + read[:, None].to(tl.int64) * q_row + dims[None, :].to(tl.int64) * q_dim
    if WHOLE:
        queries = tl.load(at)
    else:
        queries = tl.load(at, mask=dims[None, :] < width, other=0.0)
    above = tl.load(lse + rows, mask=there, other=-float("inf")) * 1.4426950408889634
    above = tl.where(above == -float("inf"), -NEVER, above)
    # Read before the product is needed: it arrives while that is computed.
    if ENTROPY:
        entropy_before = tl.load(entropy + rows, mask=there, other=0.0)
    if MAX or TOP:
        best_before = tl.load(best + rows, mask=there, other=0.0)
    if TOP:
        key_before = tl.load(best_key + rows, mask=there, other=0)
    if DISTANCE:
        distance_before = tl.load(distance + rows, mask=there, other=0.0)
    apart = (columns[None, :] - (rows[:, None] + offset)).to(tl.float32)
    x = ranked(tl.dot(queries, kt, input_precision="ieee"), factor, cap, slope, apart, CAPPED, SLOPED, PLAIN)
    log = x * unit - above[:, None]
    if ENTROPY:
        log = not_below(log)
    if MASKED:
        found = exists(low, high, most, starts, stops, partial, within, columns, BM, BN, BM, MOST)
        log = tl.where(found, log, NEVER)
    p = tl.exp2(log)
    if RECEIVED:
        # Both rows that a thread holds of each eight: half the registers.
        total += tl.sum(tl.reshape(p, (BM // 16, 2, 8, BN)), 1)
    if ENTROPY:
        tl.store(entropy + rows, entropy_before - tl.sum(p * log, 1), mask=there)
    if DISTANCE:
        tl.store(distance + rows, distance_before + tl.sum(p * tl.abs(apart), 1), mask=there)
    if MAX or TOP:
        seen = x
        if MASKED:
            seen = tl.where(found, x, -float("inf"))
        if TOP:
            largest, where = tl.max(seen, 1, return_indices=True, return_indices_tie_break_left=TIES)
            better = largest > best_before
            tl.store(best_key + rows, tl.where(better, key_block * BN + where, key_before), mask=there)
        if MAX:
            largest = greatest(seen, 1)
        largest = tl.maximum(best_before, largest, propagate_nan=tl.PropagateNan.ALL)
        tl.store(best + rows, largest, mask=there)
    if MAP_SUM or MAP_MAX:
        pixel_rows = row_block * (BM // PR) + tl.arange(0, BM // PR)
        pixel_columns = key_block * (BN // PC) + tl.arange(0, BN // PC)
        to = pixel_rows[:, None].to(tl.int64) * map_columns + pixel_columns[None, :]
        inside = (pixel_rows[:, None] < map_rows) & (pixel_columns[None, :] < map_columns)
        if OF_SCORES:
            value = x * unit
        else:
            value = p
        if MAP_SUM:
            if OF_SCORES and MASKED:
                pooled = tl.where(found, value, 0.0)
            else:
                pooled = value
            pooled = tl.sum(tl.reshape(pooled, (BM, BN // PC, PC)), 2)
            pooled = tl.sum(tl.reshape(pooled, (BM // PR, PR, BN // PC)), 1)
            tl.store(map_sum + to, pooled, mask=inside)
        if MAP_MAX:
            if OF_SCORES and MASKED:
                pooled = tl.where(found, value, -float("inf"))
            else:
                pooled = value
            pooled = greatest(tl.reshape(pooled, (BM, BN // PC, PC)), 2)
            pooled = greatest(tl.reshape(pooled, (BM // PR, PR, BN // PC)), 1)
            tl.store(map_max + to, pooled, mask=inside)
    return total


# Lengths do not make kernels of their own; strides and the width do, for how memory is read.
@triton.jit(
    do_not_specialize=[
        "n_queries",
        "n_keys",
        "offset",
        "n_leads",
        "map_rows",
        "map_columns",
        "n_heads",
        "group",
    ]
)
def columns_kernel(
    q,
    k,
    lse,
    received,
    entropy,
    best,
    best_key,
    distance,
    map_sum,
    map_max,
    line_ptr,
    first,
    last,
    partial,
    low,
    high,
    most,
    starts,
    stops,
    split_ptr,
    split_blocks,
    slopes,
    factor,
    cap,
    unit,
    q_batch,
    q_head,
    q_row,
    q_dim,
    k_batch,
    k_head,
    k_row,
    k_dim,
    n_queries,
    n_keys,
    offset,
    n_leads,
    map_rows,
    map_columns,
    n_heads,
    group,
    width,
    heads,
    BD: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    WHOLE: tl.constexpr,
    RECEIVED: tl.constexpr,
    ENTROPY: tl.constexpr,
    MAX: tl.constexpr,
    TOP: tl.constexpr,
    TIES: tl.constexpr,
    DISTANCE: tl.constexpr,
    MAP_SUM: tl.constexpr,
    MAP_MAX: tl.constexpr,
    OF_SCORES: tl.constexpr,
    PR: tl.constexpr,
    PC: tl.constexpr,
    CAPPED: tl.constexpr,
    SLOPED: tl.constexpr,
    PLAIN: tl.constexpr,
    MOST: tl.constexpr,
):
    """Grid: splits x leads, leads fastest. A lead is so many heads of one group, over the batch.

    q, k: [B, H, L, D] by strides. lse [B, Hq, Lq]. received [B, Hq, Lk]. entropy, best, best_key, distance
    [splits, B, Hq, Lq]: best is the largest x. map_sum, map_max [B, Hq, map rows, map columns], pixels of
    PR x PC products, each within one tile.
    """
    split = tl.program_id(0) // n_leads
    lead = tl.program_id(0) % n_leads
    dims = tl.arange(0, BD)
    for number in range(tl.load(split_ptr + split), tl.load(split_ptr + split + 1)):
        block = tl.load(split_blocks + number)
        columns = block * BN + tl.arange(0, BN)
        batch = (lead * heads) // n_heads
        kv_head = (lead * heads) % n_heads // group
        at = k + batch.to(tl.int64) * k_batch + kv_head.to(tl.int64) * k_head
        at = at + columns[None, :].to(tl.int64) * k_row + dims[:, None].to(tl.int64) * k_dim
        kt = tl.load(at, mask=(columns[None, :] < n_keys) & (dims[:, None] < width), other=0.0)
        for member in range(heads):
            flat = (lead * heads + member).to(tl.int64)
            head = flat % n_heads
            mine = (split.to(tl.int64) * n_leads * heads + flat) * n_queries
            slope = tl.zeros((BM,), tl.float32)
            if SLOPED:
                slope += tl.load(slopes + head)
            of_head = q + batch.to(tl.int64) * q_batch + head * q_head
            if RECEIVED:
                total = tl.zeros((BM // 16, 8, BN), tl.float32)
            else:
                total = 0.0
            for run in range(tl.load(line_ptr + block), tl.load(line_ptr + block + 1)):
                begin = tl.load(first + run)
                end = tl.load(last + run)
                number_of = tl.load(partial + run)
                if number_of < 0:
                    for row_block in range(begin, end):
                        total = tile(
                            total,
                            row_block,
                            0,
                            kt,
                            columns,
                            of_head,
                            lse + flat * n_queries,
                            entropy + mine,
                            best + mine,
                            best_key + mine,
                            distance + mine,
                            map_sum + flat * map_rows * map_columns,
                            map_max + flat * map_rows * map_columns,
                            block,
                            low,
                            high,
                            most,
                            starts,
                            stops,
                            factor,
                            cap,
                            unit,
                            slope,
                            q_row,
                            q_dim,
                            n_queries,
                            offset,
                            map_rows,
                            map_columns,
                            width,
                            BD,
                            BM,
                            BN,
                            WHOLE,
                            False,
                            RECEIVED,
                            ENTROPY,
                            MAX,
                            TOP,
                            TIES,
                            DISTANCE,
                            MAP_SUM,
                            MAP_MAX,
                            OF_SCORES,
                            PR,
                            PC,
                            CAPPED,
                            SLOPED,
                            PLAIN,
                            MOST,
                        )
                else:
                    # Few: room in shared memory for two loops on their way would cost every tile.
                    for row_block in tl.range(begin, end, num_stages=1):
                        total = tile(
                            total,
                            row_block,
                            number_of + row_block - begin,
                            kt,
                            columns,
                            of_head,
                            lse + flat * n_queries,
                            entropy + mine,
                            best + mine,
                            best_key + mine,
                            distance + mine,
                            map_sum + flat * map_rows * map_columns,
                            map_max + flat * map_rows * map_columns,
                            block,
                            low,
                            high,
                            most,
                            starts,
                            stops,
                            factor,
                            cap,
                            unit,
                            slope,
                            q_row,
                            q_dim,
                            n_queries,
                            offset,
                            map_rows,
                            map_columns,
                            width,
                            BD,
                            BM,
                            BN,
                            WHOLE,
                            True,
                            RECEIVED,
                            ENTROPY,
                            MAX,
                            TOP,
                            TIES,
                            DISTANCE,
                            MAP_SUM,
                            MAP_MAX,
                            OF_SCORES,
                            PR,
                            PC,
                            CAPPED,
                            SLOPED,
                            PLAIN,
                            MOST,
                        )
            if RECEIVED:
                tl.store(
                    received + flat * n_keys + columns, tl.sum(tl.sum(total, 0), 0), mask=columns < n_keys
                )
            # What this program adds up for queries, other threads of it will read with the next keys.
            tl.debug_barrier()
