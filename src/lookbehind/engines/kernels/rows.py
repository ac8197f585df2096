# pyright: basic, reportIndexIssue=false, reportCallIssue=false, reportOperatorIssue=false
"""The kernel that holds queries still and lets keys pass: lse, and what is reduced along a row.

A block holds the same few queries of several heads of one group, so that these share every load of keys.
Where queries are few their keys are split over programs, and what each found is joined afterwards in order.
"""

import triton
import triton.language as tl

from lookbehind.engines.kernels.row_tile import tile
from lookbehind.engines.kernels.scores import NEVER


# Lengths do not make kernels of their own; strides and the width do, for how memory is read.
@triton.jit(
    do_not_specialize=[
        "n_queries",
        "n_keys",
        "offset",
        "n_leads",
        "n_splits",
        "stretch",
        "map_rows",
        "map_columns",
        "n_heads",
        "group",
    ]
)
def rows_kernel(
    q,
    k,
    lse,
    lse_out,
    entropy,
    mass,
    best,
    distance,
    top,
    top_key,
    map_sum,
    map_max,
    rows_at,
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
    n_splits,
    stretch,
    map_rows,
    map_columns,
    n_heads,
    group,
    width,
    PACK: tl.constexpr,
    FITS: tl.constexpr,
    BD: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    LSE: tl.constexpr,
    ENTROPY: tl.constexpr,
    MASS: tl.constexpr,
    MAX: tl.constexpr,
    DISTANCE: tl.constexpr,
    TOP: tl.constexpr,
    TIES: tl.constexpr,
    SLOTS: tl.constexpr,
    MAP_SUM: tl.constexpr,
    MAP_MAX: tl.constexpr,
    OF_SCORES: tl.constexpr,
    PR: tl.constexpr,
    CAPPED: tl.constexpr,
    SLOPED: tl.constexpr,
    PLAIN: tl.constexpr,
    MOST: tl.constexpr,
):
    """Grid: key stretches x splits x leads, leads fastest. A lead is PACK heads of one group.

    Slot m of a block is row m % R of head m // R, with R = BM // PACK rows. A split is a list of row
    blocks; a stretch is so many key tiles. lse [B, Hq, Lq] is read unless LSE is asked. lse_out (in bits),
    entropy, mass, best, distance [stretches, B, Hq, Lq]; top, top_key [stretches, B, Hq, Lq, TOP]; maps
    [B, Hq, rows, columns] belong to one program a row of pixels: with them there is one stretch, and PACK
    is 1.
    """
    R: tl.constexpr = BM // PACK
    lead = tl.program_id(0) % n_leads
    split = tl.program_id(0) // n_leads % n_splits
    part = tl.program_id(0) // n_leads // n_splits
    within = tl.arange(0, BM) % R
    flat = (lead * PACK + tl.arange(0, BM) // R).to(tl.int64)
    batch = (lead * PACK) // n_heads
    kv_head = (lead * PACK) % n_heads // group
    head = flat % n_heads
    dims = tl.arange(0, BD)
    slots = tl.arange(0, SLOTS)
    slope = tl.zeros((BM,), tl.float32)
    if SLOPED:
        slope += tl.load(slopes + head)
    of_kv_head = k + batch.to(tl.int64) * k_batch + kv_head.to(tl.int64) * k_head
    for number in range(tl.load(split_ptr + split), tl.load(split_ptr + split + 1)):
        block = tl.load(split_blocks + number)
        row_start = tl.load(rows_at + block)
        row_stop = tl.load(rows_at + block + 1)
        rows = row_start + within
        there = rows < row_stop
        at = q + batch.to(tl.int64) * q_batch + head[:, None] * q_head
        at = at + rows[:, None].to(tl.int64) * q_row + dims[None, :].to(tl.int64) * q_dim
        queries = tl.load(at, mask=there[:, None] & (dims[None, :] < width), other=0.0)
        mine = flat * n_queries + rows
        above = tl.zeros((BM,), tl.float32)
        if not LSE:
            above += tl.load(lse + mine, mask=there, other=-float("inf")) * 1.4426950408889634
            above = tl.where(above == -float("inf"), -NEVER, above)
        # A running maximum and the sum of exp2(x * unit - maximum); or sums of weights.
        shift = tl.full((BM,), -float("inf"), tl.float32)
        total = tl.zeros((BM,), tl.float32)
        nats = tl.zeros((BM,), tl.float32)
        far = tl.zeros((BM,), tl.float32)
        largest = tl.full((BM,), -float("inf"), tl.float32)
        # Slots beyond TOP are never the lowest, so that nothing is put there.
        values = tl.where(slots[None, :] < TOP, -float("inf"), float("inf")) + tl.zeros((BM, 1), tl.float32)
        keys = tl.full((BM, SLOTS), -1, tl.int32)
        first_row_pixel = ((row_start.to(tl.int64) + 1) * map_rows - 1) // n_queries
        row_pixel = (((rows.to(tl.int64) + 1) * map_rows - 1) // n_queries - first_row_pixel).to(tl.int32)
        row_pixels = ((row_stop.to(tl.int64) * map_rows - 1) // n_queries - first_row_pixel + 1).to(tl.int32)
        row_pixel = tl.where(there, row_pixel, PR)
        for run in range(tl.load(line_ptr + block), tl.load(line_ptr + block + 1)):
            of_run = tl.load(first + run)
            number_of = tl.load(partial + run)
            begin = tl.maximum(of_run, part * stretch)
            end = tl.minimum(tl.load(last + run), (part + 1) * stretch)
            if number_of < 0:
                for key_tile in range(begin, end):
                    shift, total, nats, far, largest, values, keys = tile(
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
                        FITS,
                        BD,
                        BM,
                        BN,
                        R,
                        LSE,
                        ENTROPY,
                        MASS,
                        MAX,
                        DISTANCE,
                        TOP,
                        TIES,
                        MAP_SUM,
                        MAP_MAX,
                        OF_SCORES,
                        PR,
                        CAPPED,
                        SLOPED,
                        PLAIN,
                        MOST,
                        False,
                    )
            else:
                # Few: room in shared memory for two loops on their way would cost every tile.
                for key_tile in tl.range(begin, end, num_stages=1):
                    shift, total, nats, far, largest, values, keys = tile(
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
                        FITS,
                        BD,
                        BM,
                        BN,
                        R,
                        LSE,
                        ENTROPY,
                        MASS,
                        MAX,
                        DISTANCE,
                        TOP,
                        TIES,
                        MAP_SUM,
                        MAP_MAX,
                        OF_SCORES,
                        PR,
                        CAPPED,
                        SLOPED,
                        PLAIN,
                        MOST,
                        True,
                    )
        to = part.to(tl.int64) * n_leads * PACK * n_queries + mine
        if LSE:
            empty = total == 0.0  # not where a score is NaN, which is no maximum
            value = tl.where(empty, 0.0, shift) + tl.log2(tl.where(empty, 1.0, total))
            tl.store(lse_out + to, tl.where(empty, -float("inf"), value), mask=there)
        if ENTROPY:
            tl.store(entropy + to, nats, mask=there)
        if MASS:
            tl.store(mass + to, total, mask=there)
        if DISTANCE:
            tl.store(distance + to, far, mask=there)
        if MAX:
            tl.store(best + to, largest, mask=there)
        if TOP > 0:
            at_top = to[:, None] * TOP + slots[None, :]
            inside = there[:, None] & (slots[None, :] < TOP)
            tl.store(top + at_top, values, mask=inside)
            tl.store(top_key + at_top, keys, mask=inside)
