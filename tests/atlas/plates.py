"""Plates to draw, without a model."""

import numpy as np

from lookbehind.atlas.plate import Plate
from lookbehind.pattern import Causal, Pattern


def plate(n: int = 6, pattern: Pattern | None = None, tokens: tuple[str, ...] | None = None, **more) -> Plate:
    spans = (pattern or Causal()).spans(n)
    values = np.where(spans.mask(), 1 / np.maximum(spans.row_counts(), 1)[:, None], np.nan)
    return Plate(
        values.astype(np.float32), spans, "Layer 1, head 2: what each query reads", tokens=tokens, **more
    )
