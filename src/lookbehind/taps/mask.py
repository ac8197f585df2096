"""From the masks that attention calls carry to spans; and ALiBi slopes out of additive biases.

A mask is read a few rows at a time, and only what it says counts: a query whose every key is masked has no
key, though a kernel that was given the lowest finite number instead of -inf weighs all its keys alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from lookbehind.errors import RecordError
from lookbehind.pattern import Causal, Full, Pattern, Window
from lookbehind.spans import Spans

_CELLS = 1 << 22  # mask cells converted at a time
# Scores never reach these, so that exp() of what they are added to is 0 beside any other weight.
_BLOCKED = -1e4
_BLOCKED_BESIDE_BIAS = {torch.float16: -6e4}  # an ALiBi bias itself may reach _BLOCKED
_LINEAR = 8 * float(torch.finfo(torch.float32).eps)


def spans_of_pattern(pattern: Pattern, n_queries: int, n_keys: int, offset: int, batch: int) -> list[Spans]:
    """The spans of a pattern, the same for every batch row."""
    return [pattern.spans(n_queries, n_keys, offset)] * batch


def spans_of(module: str, mask: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> tuple[list[Spans], Any]:
    """The spans of a dense mask, one per batch row, and the ALiBi slopes it carries if it does.

    Args:
        module: who asks, for messages.
        mask: bool (True where read) or additive, up to [B, Hq, Lq, Lk] with axes of 1 or left out where they
            do not matter; it may be longer than the keys.
        q: [B, Hq, Lq, D].
        k: [B, Hkv, Lk, D].

    Returns:
        The spans, and a tensor [Hq] of slopes or None.
    """
    full = _four(module, mask, q, k)
    if full.dtype == torch.bool:
        return [_boolean(module, full[row], q.shape[2]) for row in _rows(full, q)], None
    if not full.is_floating_point():
        raise RecordError(f"{module}: a mask of dtype {full.dtype} is neither boolean nor additive")
    odd = _odd_value(full)
    if odd is None:
        return [_boolean(module, full[row], q.shape[2]) for row in _rows(full, q)], None
    if math.isnan(odd):
        raise RecordError(
            f"{module}: a mask holds nan; only 0 and very negative numbers make an additive mask"
        )
    beyond = _BLOCKED_BESIDE_BIAS.get(full.dtype, -1e6)
    found = [_boolean(module, full[row], q.shape[2], beyond) for row in _rows(full, q)]
    slopes = slopes_of(module, full, found, q.shape[1])
    if slopes is None:
        raise RecordError(
            f"{module}: an additive bias is neither a mask nor ALiBi (value {odd:.4g}); only masks of 0 "
            "and very negative numbers, and biases slope * (key - query) per head that are not rounded "
            "to half precision, can be recorded exactly"
        )
    return found, slopes


def spans_of_block_mask(module: str, mask: Any, q: torch.Tensor, k: torch.Tensor) -> list[Spans]:
    """The spans of a FlexAttention BlockMask: its rule, asked for every pair a few rows at a time."""
    batch, n_queries, n_keys = q.shape[0], q.shape[2], k.shape[2]
    shape = tuple(int(n) for n in mask.shape)
    if len(shape) != 4 or shape[0] not in (1, batch) or shape[2] < n_queries or shape[3] < n_keys:
        raise RecordError(
            f"{module}: a BlockMask of shape {list(shape)} does not fit queries {list(q.shape)} and keys "
            f"{list(k.shape)}"
        )
    keys = torch.arange(n_keys, device=q.device)
    found: list[Spans] = []
    for row in range(batch):
        parts: list[Spans] = []
        for first, last in _chunks(n_queries, n_keys):
            queries = torch.arange(first, last, device=q.device)
            heads = [_asked(mask.mask_mod, row, head, queries, keys) for head in range(shape[1])]
            _same_heads(module, heads)
            parts.append(_chunk(heads[0], first, n_keys - n_queries))
        found.append(Spans.stack(parts))
    return found


def spans_of_padding(
    module: str, mask: torch.Tensor | None, q: torch.Tensor, k: torch.Tensor, causal: bool, window: int | None
) -> list[Spans]:
    """The spans of a flash kernel: queries are the last positions; keys that padding marks are not there at
    all.

    Args:
        module: who asks, for messages.
        mask: [B, up to Lk], nonzero where a token is; None where all are.
        q: [B, Hq, Lq, D].
        k: [B, Hkv, Lk, D].
        causal: whether later keys are left out.
        window: how many keys a query reads, its own among them; None for all.
    """
    batch, n_queries = q.shape[0], q.shape[2]
    n_keys = k.shape[2] if mask is None else mask.shape[1]
    if n_keys < n_queries or n_keys > k.shape[2]:
        raise RecordError(f"{module}: a padding mask of {n_keys} columns does not fit {k.shape[2]} keys")
    pattern: Pattern = Causal() if causal else Full()
    if window is not None:
        pattern = pattern & Window(window)
    offset = n_keys - n_queries
    spans = pattern.spans(n_queries, k.shape[2], offset)
    if n_keys < k.shape[2]:
        spans = spans & _columns(np.arange(k.shape[2]) < n_keys, n_queries, offset)
    if mask is None:
        return [spans] * batch
    found: list[Spans] = []
    for row in range(batch):
        there = (mask[row] != 0).cpu().numpy()
        columns = np.zeros(k.shape[2], dtype=np.bool_)
        columns[:n_keys] = there
        kept = spans & _columns(columns, n_queries, offset)
        # A padded query is not computed either: its row is empty.
        rows = there[offset:]
        counts = np.where(rows, np.diff(kept.row_ptr), 0)
        inside = np.repeat(rows, np.diff(kept.row_ptr))
        row_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        found.append(Spans(n_queries, k.shape[2], offset, row_ptr, kept.starts[inside], kept.stops[inside]))
    return found


def slopes_of(module: str, bias: torch.Tensor, spans: Sequence[Spans], n_heads: int) -> torch.Tensor | None:
    """The ALiBi slopes of a bias, float64 [Hq], the same in every sequence; None if it carries none.

    Args:
        module: who asks, for messages.
        bias: [1 or B, 1 or Hq, 1 or Lq, Lk].
        spans: which products are read, for each sequence.
        n_heads: Hq.

    Raises:
        RecordError: sequences have different slopes.
    """
    slopes: torch.Tensor | None = None
    for row, one in enumerate(spans):
        found = alibi_slopes(bias[row if bias.shape[0] > 1 else 0].expand(n_heads, -1, -1), one)
        if found is None:
            return None
        slopes = found if slopes is None else merged(module, slopes, found)
    return slopes


def alibi_slopes(bias: torch.Tensor, spans: Spans) -> torch.Tensor | None:
    """The slope per head of a bias that grows by a fixed amount per key, up to a constant per query; or None.

    A constant per query changes no weight. Where no query reads two keys nothing tells the slope: it is NaN.

    Args:
        bias: [Hq, Lq, Lk], or [Hq, 1, Lk] for all queries alike.
        spans: which products are read; the bias elsewhere does not matter.
    """
    n_heads, n_rows, n_keys = bias.shape
    slopes = torch.full((n_heads,), torch.nan, dtype=torch.float64, device="cpu")
    if n_rows == 1:
        read = torch.from_numpy(spans.key_counts() > 0).nonzero()[:, 0]
        if len(read) < 2:
            return slopes
        line = bias[:, 0, :].detach().cpu().double()[:, read]
        slopes = (line[:, -1] - line[:, 0]) / float(read[-1] - read[0])
        return slopes if _constant(line - slopes[:, None] * read, line) else None
    for first, last in _chunks(spans.n_queries, n_keys * n_heads):
        part = bias[:, first:last].detach().cpu().double()
        for row in range(first, last):
            read = torch.tensor(spans.keys(row), device="cpu")
            if len(read) < 2:
                continue
            line = part[:, row - first][:, read]
            if slopes.isnan().any():
                slopes = (line[:, -1] - line[:, 0]) / float(read[-1] - read[0])
            if not _constant(line - slopes[:, None] * read, line):
                return None
    return slopes


def merged(module: str, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Slopes [Hq] that two sequences or calls agree on, where NaN agrees with anything.

    Raises:
        RecordError: they do not agree.
    """
    both = ~(one.isnan() | other.isnan())
    if not torch.allclose(one[both], other[both], rtol=1e-5, atol=1e-8):
        raise RecordError(
            f"{module}: its ALiBi slopes differ between queries; they cannot be recorded as slopes"
        )
    return torch.where(one.isnan(), other, one)


def _constant(rest: torch.Tensor, line: torch.Tensor) -> bool:
    """Whether a bias without its slope is one number per head, to float32 rounding of the bias."""
    spread = float((rest.amax(-1) - rest.amin(-1)).max())
    return spread <= _LINEAR * max(float(line.abs().max()), 1e-3)


def _four(module: str, mask: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """A mask as [1 or B, 1 or Hq, Lq, Lk], without copying it."""
    wanted = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    full = mask.detach()
    while full.ndim < 4:
        full = full[None]
    if full.ndim == 4 and full.shape[3] > wanted[3]:
        full = full[..., : wanted[3]]
    fits = full.ndim == 4 and all(have in (1, want) for have, want in zip(full.shape, wanted, strict=True))
    if not fits:
        raise RecordError(
            f"{module}: a mask of shape {list(mask.shape)} does not fit queries {list(q.shape)} and keys "
            f"{list(k.shape)}"
        )
    return full.expand(-1, -1, wanted[2], wanted[3])


def _rows(full: torch.Tensor, q: torch.Tensor) -> list[int]:
    return [0] * q.shape[0] if full.shape[0] == 1 else list(range(q.shape[0]))


def _boolean(module: str, mask: torch.Tensor, n_queries: int, blocked: float = _BLOCKED) -> Spans:
    """Spans of one batch row, [1 or Hq, Lq, Lk]."""
    n_heads, _, n_keys = mask.shape
    parts: list[Spans] = []
    for first, last in _chunks(n_queries, n_keys * n_heads):
        part = mask[:, first:last]
        if part.dtype != torch.bool:
            part = part > blocked
        _same_heads(module, list(part))
        parts.append(_chunk(part[0], first, n_keys - n_queries))
    return Spans.stack(parts)


def _chunk(allowed: torch.Tensor, first: int, offset: int) -> Spans:
    return Spans.from_mask(allowed.cpu().numpy(), offset=offset + first)


def _same_heads(module: str, heads: list[torch.Tensor]) -> None:
    for number, head in enumerate(heads[1:], start=1):
        if not torch.equal(head, heads[0]):
            raise RecordError(
                f"{module}: head {number} has another mask than head 0; a tape holds one pattern per layer"
            )


def _odd_value(mask: torch.Tensor) -> float | None:
    """A value that is neither 0 nor very negative, NaN if there is one; None where there is none."""
    found: float | None = None
    for row in range(mask.shape[0]):
        for first, last in _chunks(mask.shape[2], mask.shape[1] * mask.shape[3]):
            part = mask[row, :, first:last]
            odd = part[~((part == 0) | (part <= _BLOCKED))]
            if odd.isnan().any():
                return math.nan
            if odd.numel() and found is None:
                found = float(odd[0])
    return found


def _asked(rule: Any, row: int, head: int, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    batch = torch.tensor(row, device=queries.device)
    allowed = rule(batch, torch.tensor(head, device=queries.device), queries[:, None], keys[None, :])
    return allowed.to(torch.bool).expand(len(queries), len(keys))


def _chunks(n_rows: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, _CELLS // max(width, 1))
    for first in range(0, max(n_rows, 1), step):
        yield first, min(first + step, n_rows)


def _columns(there: Any, n_queries: int, offset: int) -> Spans:
    """Every query reads the marked keys."""
    one = Spans.from_mask(np.asarray(there, dtype=np.bool_)[None])
    count = len(one.starts)
    return Spans(
        n_queries,
        one.n_keys,
        offset,
        np.arange(n_queries + 1, dtype=np.int64) * count,
        np.tile(one.starts, n_queries),
        np.tile(one.stops, n_queries),
    )
