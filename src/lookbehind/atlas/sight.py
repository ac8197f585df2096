"""Sight: one head seen through a lens: pixels of any tile, exact or sampled.

Enrichment and relative weight are weights under another normaliser, exp(s_ij - (lse_i - log c_i)) and
exp(s_ij - max_j s_ij), so the same observation gives every quantity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from lookbehind.atlas.frame import Floats
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.onehead import OneHead, RowNumbers, filled, taken
from lookbehind.engines.observation import pixel_counts
from lookbehind.spans import Ints


class Sight:
    """One head through one lens.

    Args:
        head: the head.
        lens: what of it.
        own: the row numbers over all of its keys.
        shown: the row numbers over the keys that the lens shows; `own` itself if it skips none.
    """

    def __init__(self, head: OneHead, lens: Lens, own: RowNumbers, shown: RowNumbers) -> None:
        self.head, self.lens, self.spans = head, lens, shown.spans
        self._numbers = shown if lens.renorm or lens.of == "relative" else own
        self._log_counts: torch.Tensor | None = None
        if lens.of == "enrichment":
            counts = torch.from_numpy(self._numbers.spans.row_counts())
            self._log_counts = counts.clamp(min=1).to(head.dtype).log()

    @property
    def signed(self) -> bool:
        """Whether values may be below zero."""
        return self.lens.of == "score"

    def above(self, rows: Ints) -> torch.Tensor:
        """What is subtracted from the scores of these rows: a weight is exp of the rest."""
        if self.lens.of == "score":
            return torch.zeros(len(rows), dtype=self.head.dtype)
        if self.lens.of == "relative":
            return self._numbers.peak_of(rows)
        lse = self._numbers.lse_of(rows)
        return lse if self._log_counts is None else lse - self._log_counts[torch.from_numpy(rows)]

    def cost(self, rows: Ints, keys: slice) -> int:
        """Products that these pixels take, those of whole rows included where their normaliser is missing."""
        products = taken(self.spans, rows, keys).count()
        if self.lens.of == "score" or not products:
            return products
        passes = 2 if self.lens.of == "relative" else 1
        missing = self._numbers.unknown(rows, peak=self.lens.of == "relative")
        return products + passes * missing * self.spans.n_keys // 2

    def pixels(self, rows: slice, keys: slice, z: int, pools: Sequence[str]) -> dict[str, Floats]:
        """Each pooling of the level's pixels over rows and keys that begin at multiples of 2**z. Exact."""
        return self._pixels(np.arange(rows.start, rows.stop), keys, 1 << z, 1 << z, pools)

    def sample(self, rows: slice, keys: slice, z: int, pools: Sequence[str], most: int) -> dict[str, Floats]:
        """The same from a few rows of each row of pixels, evenly spread; about `most` products, all keys."""
        n_pixels = -(-(rows.stop - rows.start) // (1 << z))
        each = most // max(n_pixels * max(self.spans.n_keys, 1), 1)
        each = min(max(each, 1), 1 << z)
        if self.signed and self.head.slope:
            each = 1  # a row's shift of scores is undone below, and a pixel can hold only one
        picked = sampled_rows(rows, z, each)
        found = self._pixels(picked, keys, each, 1 << z, pools)
        if self.signed and self.head.slope:
            shift = self.head.shift(picked).float().numpy()[:, None]
            found = {pool: values - shift for pool, values in found.items()}
        return found

    def counts(self, rows: slice, keys: slice, z: int) -> Floats:
        """How many products each pixel holds."""
        spans = filled(self.spans.region(rows, keys), 1 << z, 1 << z)
        return pixel_counts(spans, spans.n_queries >> z, spans.n_keys >> z).astype(np.float32)

    def _pixels(
        self, rows: Ints, keys: slice, tall: int, wide: int, pools: Sequence[str]
    ) -> dict[str, Floats]:
        n_rows, n_columns = -(-len(rows) // tall), -(-(keys.stop - keys.start) // wide)
        if not taken(self.spans, rows, keys).count():
            return {pool: np.full((n_rows, n_columns), math.nan, dtype=np.float32) for pool in pools}
        seen = self.head.observe(
            self.spans,
            rows,
            keys,
            self.above(rows),
            (tall, wide),
            map=(n_rows, n_columns),
            map_reduce=tuple(pools),
            map_of="score" if self.signed else "weight",
        )
        assert seen.maps is not None  # they were asked for
        return {pool: values[0, 0].float().cpu().numpy() for pool, values in seen.maps.items()}


def sampled_rows(rows: slice, z: int, each: int) -> Ints:
    """`each` rows of each row of pixels, in the middle of equal parts; none beyond the last."""
    begins = np.arange(rows.start, rows.stop, 1 << z)
    within = (2 * np.arange(each) + 1) * (1 << z) // (2 * each)
    return np.minimum(begins[:, None] + within, rows.stop - 1).ravel()


def padded(values: Floats, rows: int, columns: int) -> Floats:
    """Values with NaN below and to the right, up to rows x columns."""
    if values.shape == (rows, columns):
        return values
    out = np.full((rows, columns), math.nan, dtype=np.float32)
    out[: values.shape[0], : values.shape[1]] = values
    return out
