"""One head of a layer: any of its rows and keys as a problem for an engine, and what its rows sum to.

Rows are chosen freely (every 64th, say), yet an engine numbers them one after another, and with ALiBi a
score depends on the position. The difference is the same for a whole row: its normaliser takes it (`shift`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lookbehind.attention import logsumexp, observe
from lookbehind.engines.observation import Observation
from lookbehind.engines.problem import Problem
from lookbehind.engines.sinks import folded_lse
from lookbehind.errors import InputError
from lookbehind.spans import Ints, Spans
from lookbehind.tape import Layer

PRODUCTS = 1 << 24  # of whole rows in one call: a tenth of a second
EVERY_KEY = slice(None)


class OneHead:
    """Queries, keys and parameters of one head.

    Attributes:
        layer: the layer it belongs to.
        q: [Lq, D]; k: [Lk, D].
        dtype: what scores and lse are computed in.

    Raises:
        InputError: a query or key is not finite.
    """

    def __init__(self, layer: Layer, head: int) -> None:
        self.layer, self.head = layer, head
        self.q = layer.q[head]
        self.k = layer.k[head // (layer.n_heads // layer.n_kv_heads)]
        if why := unfit(layer, head):
            raise InputError(why)
        self.dtype = torch.float64 if self.q.dtype == torch.float64 else torch.float32
        self.slope = 0.0 if layer.alibi is None else float(layer.alibi[head])
        one = slice(head, head + 1)
        self.parameters: dict[str, Any] = {
            "scale": layer.scale,
            "softcap": layer.softcap,
            "sinks": None if layer.sinks is None else layer.sinks[one],
            "alibi": None if layer.alibi is None else layer.alibi[one],
        }

    def shift(self, rows: Ints) -> torch.Tensor:
        """What an engine adds to the scores of these rows, numbering them from rows[0] on."""
        apart = rows - rows[0] - np.arange(len(rows)) if len(rows) else rows
        return torch.from_numpy(apart).to(self.dtype) * self.slope

    def logsumexp(self, spans: Spans, rows: Ints) -> torch.Tensor:
        """lse of some rows over all keys of `spans`: [rows]."""
        q, k, some = self.q[torch.from_numpy(rows)][None, None], self.k[None, None], taken(spans, rows)
        bare: dict[str, Any] = {**self.parameters, "sinks": None}
        found = logsumexp(q, k, some, **bare) - self.shift(rows).to(q.device)
        # A sink is one logit for all rows: it joins when they are where they belong.
        return folded_lse(Problem(q, k, None, some, **self.parameters), found)[0, 0].cpu()

    def observe(
        self,
        spans: Spans,
        rows: Ints,
        keys: slice,
        lse: torch.Tensor,
        pixel: tuple[int, int] = (1, 1),
        **wants: Any,
    ) -> Observation:
        """`lookbehind.observe` over some rows and keys, for a batch and a head of one.

        Rows and keys are filled up with empty ones to multiples of a pixel's sides.
        """
        q, k = self.q[torch.from_numpy(rows)], self.k[keys]
        spans = filled(taken(spans, rows, keys), *pixel)
        q = _longer(q, spans.n_queries)
        k = _longer(k, spans.n_keys)
        lse = _longer((lse + self.shift(rows)).to(q.device)[:, None], spans.n_queries)[:, 0]
        return observe(q[None, None], k[None, None], lse[None, None], spans, **self.parameters, **wants)


class RowNumbers:
    """What each row of a head comes to over some spans, as far as it is known.

    Attributes:
        lse: [Lq], log sum_j exp(s_ij), a learned sink included; NaN where not yet computed.
        peak: [Lq], max_j s_ij; NaN where not yet computed.
    """

    def __init__(self, head: OneHead, spans: Spans, lse: torch.Tensor | None = None) -> None:
        self.head, self.spans = head, spans
        unknown = torch.full((spans.n_queries,), torch.nan, dtype=head.dtype)
        self.lse = unknown if lse is None else lse.cpu()
        self.peak = torch.full_like(self.lse, torch.nan)

    def lse_of(self, rows: Ints) -> torch.Tensor:
        """lse of some rows, computed where it is not known yet."""
        return self._of(self.lse, rows, lambda some: self.head.logsumexp(self.spans, some))

    def peak_of(self, rows: Ints) -> torch.Tensor:
        """The largest score of some rows, computed where it is not known yet."""
        return self._of(self.peak, rows, self._peak_now)

    def unknown(self, rows: Ints, peak: bool = False) -> int:
        """How many of these rows would have to be computed."""
        return int(torch.isnan((self.peak if peak else self.lse)[torch.from_numpy(rows)]).sum())

    def _of(self, kept: torch.Tensor, rows: Ints, now: Callable[[Ints], torch.Tensor]) -> torch.Tensor:
        at = torch.from_numpy(rows)
        missing = rows[torch.isnan(kept[at]).numpy()]
        at_once = max(PRODUCTS // max(self.spans.n_keys, 1), 1)
        for first in range(0, len(missing), at_once):
            some = missing[first : first + at_once]
            kept[torch.from_numpy(some)] = now(some)
        return kept[at]

    def _peak_now(self, rows: Ints) -> torch.Tensor:
        lse = self.lse_of(rows)
        seen = self.head.observe(self.spans, rows, EVERY_KEY, lse, top=1)
        assert seen.top_weights is not None  # it was asked for
        return peak(lse, seen.top_weights[0, 0, :, 0].cpu())


def peak(lse: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """The largest score of rows, from their lse and their largest weight.

    A weight that vanishes in float32 beside a learned sink says nothing: such a row is measured by its lse.
    """
    return torch.where(top > 0, lse + top.log(), lse)


def unfit(layer: Layer, head: int) -> str | None:
    """Why a head cannot be shown, if it cannot: NaN on a map says that a product was never computed."""
    parts = layer.q[head], layer.k[head // (layer.n_heads // layer.n_kv_heads)]
    ends = [end for part in parts if part.numel() for end in part.aminmax()]  # NaN, where one is in it
    if all(bool(end.isfinite()) for end in ends):
        return None
    return (
        f"{layer.name} head {head}: its queries or keys hold NaN or infinity, and products of them have no "
        "place on a map; find where the model's numbers cease to be finite"
    )


def taken(spans: Spans, rows: Ints, keys: slice = EVERY_KEY) -> Spans:
    """Spans of chosen rows and a range of keys, renumbered from 0; the offset is that of the first row."""
    first, counts = spans.row_ptr[rows], spans.row_ptr[rows + 1] - spans.row_ptr[rows]
    row_ptr = np.append(0, np.cumsum(counts))
    at = np.arange(row_ptr[-1]) + np.repeat(first - row_ptr[:-1], counts)
    offset = spans.offset + (int(rows[0]) if len(rows) else 0)
    chosen = Spans(len(rows), spans.n_keys, offset, row_ptr, spans.starts[at], spans.stops[at])
    return chosen.region(keys=keys)


def filled(spans: Spans, tall: int, wide: int) -> Spans:
    """The same products, with empty rows and keys up to multiples of `tall` and `wide`."""
    rows, keys = -(-spans.n_queries // tall) * tall, -(-spans.n_keys // wide) * wide
    if (rows, keys) == (spans.n_queries, spans.n_keys):
        return spans
    row_ptr = np.concatenate([spans.row_ptr, np.repeat(spans.row_ptr[-1:], rows - spans.n_queries)])
    return Spans(rows, keys, spans.offset, row_ptr, spans.starts, spans.stops)


def _longer(x: torch.Tensor, length: int) -> torch.Tensor:
    missing = length - x.shape[0]
    return x if not missing else torch.cat([x, x.new_zeros(missing, *x.shape[1:])])
