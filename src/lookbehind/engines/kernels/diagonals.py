# pyright: basic, reportIndexIssue=false, reportCallIssue=false, reportOperatorIssue=false
"""The kernel that follows diagonals: the mass at each distance of query and key.

A program walks the tiles of one difference of row block and key tile. In each, element (r, t) of the tile
with row r turned by r columns has j - i = t, or t - B beyond the end: two sums down the rows, which stay in
registers.
"""

import triton
import triton.language as tl

from lookbehind.engines.kernels.scores import NEVER, exists, ranked


# Lengths do not make kernels of their own; strides and the width do, for how memory is read.
@triton.jit(do_not_specialize=["n_queries", "n_keys", "offset", "n_leads", "key_tiles", "n_heads", "group"])
def diagonals_kernel(
    q,
    k,
    lse,
    sums,
    line_ptr,
    first,
    partial,
    low,
    high,
    most,
    starts,
    stops,
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
    key_tiles,
    n_heads,
    group,
    width,
    BD: tl.constexpr,
    B: tl.constexpr,
    CAPPED: tl.constexpr,
    SLOPED: tl.constexpr,
    PLAIN: tl.constexpr,
    MOST: tl.constexpr,
):
    """Grid: diagonals x heads of the batch, heads fastest. sums [diagonals, 2, B, Hq, B]: t, and t - B."""
    lead = tl.program_id(0) % n_leads
    line = tl.program_id(0) // n_leads
    batch = lead // n_heads
    head = lead % n_heads
    within = tl.arange(0, B)
    dims = tl.arange(0, BD)
    slope = tl.zeros((B,), tl.float32)
    if SLOPED:
        slope += tl.load(slopes + head)
    of_head = q + batch.to(tl.int64) * q_batch + head.to(tl.int64) * q_head
    of_kv_head = k + batch.to(tl.int64) * k_batch + (head // group).to(tl.int64) * k_head
    turned = within[:, None] + within[None, :]
    near = tl.zeros((B,), tl.float32)
    wrapped = tl.zeros((B,), tl.float32)
    for run in range(tl.load(line_ptr + line), tl.load(line_ptr + line + 1)):
        block = tl.load(first + run)
        key_tile = block - (line - (key_tiles - 1))
        rows = block * B + within
        columns = key_tile * B + within
        there = rows < n_queries
        at = of_head + rows[:, None].to(tl.int64) * q_row + dims[None, :].to(tl.int64) * q_dim
        queries = tl.load(at, mask=there[:, None] & (dims[None, :] < width), other=0.0)
        at_keys = of_kv_head + columns[None, :].to(tl.int64) * k_row + dims[:, None].to(tl.int64) * k_dim
        kt = tl.load(at_keys, mask=(columns[None, :] < n_keys) & (dims[:, None] < width), other=0.0)
        above = tl.load(lse + lead.to(tl.int64) * n_queries + rows, mask=there, other=-float("inf"))
        above = tl.where(above == -float("inf"), -NEVER, above * 1.4426950408889634)
        apart = (columns[None, :] - (rows[:, None] + offset)).to(tl.float32)
        x = ranked(
            tl.dot(queries, kt, input_precision="ieee"), factor, cap, slope, apart, CAPPED, SLOPED, PLAIN
        )
        found = there[:, None] & (columns[None, :] < n_keys)
        number = tl.load(partial + run)
        if number >= 0:
            found = exists(low, high, most, starts, stops, number, within, columns, B, B, B, MOST)
        p = tl.where(found, tl.exp2(x * unit - above[:, None]), 0.0)
        p = tl.gather(p, turned % B, 1)
        near += tl.sum(tl.where(turned < B, p, 0.0), 0)
        wrapped += tl.sum(tl.where(turned < B, 0.0, p), 0)
    to = sums + (line.to(tl.int64) * 2 * n_leads + lead) * B + within
    tl.store(to, near)
    tl.store(to + n_leads * B, wrapped)
