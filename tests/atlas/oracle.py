"""What tiles have to be: dense float64 maps of every lens, pooled; and tapes of every kind of head."""

import numpy as np
import torch

from lookbehind.atlas.geometry import TILE
from lookbehind.atlas.lens import Lens
from lookbehind.pattern import Causal, Documents, First, Full, Window
from lookbehind.tape import Layer, Tape


def tape(n_queries: int, n_keys: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tape:
    """Six layers: causal, few kv heads; window and sinks; softcap; ALiBi; documents; rows without a key."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    offset = n_keys - n_queries
    halves = Documents([n_keys // 3, n_keys - n_keys // 3])
    kinds = [
        (4, 2, Causal(), {}),
        (2, 1, Causal() & (Window(40) | First(3)), {"sinks": random(2)}),
        (2, 2, Causal(), {"softcap": 4.0}),
        (2, 1, Causal(), {"alibi": torch.tensor([0.02, 0.3])}),
        (1, 1, Causal() & halves, {}),
        (1, 1, Full() & ~First(n_keys // 2) & Window(30), {}),
    ]
    layers = []
    for at, (heads, kv_heads, pattern, more) in enumerate(kinds):
        q, k = random(heads, n_queries, 8) * 3, random(kv_heads, n_keys, 8)
        spans = pattern.spans(n_queries, n_keys, offset)
        layers.append(Layer(f"layers.{at}", q.to(dtype), k.to(dtype), spans, 8**-0.5, **more))
    ids = torch.randint(0, 9, (n_keys,), generator=generator).tolist()
    tokens = [f"t{one}" for one in ids]
    return Tape(layers, token_ids=ids, tokens=tokens, steps=[n_queries], meta={"model": "random"})


def dense(layer: Layer, head: int, lens: Lens) -> np.ndarray:
    """Every value of a lens: float64 [Lq, Lk], NaN where nothing was computed or is shown."""
    group = layer.n_heads // layer.n_kv_heads
    scores = layer.q[head].double() @ layer.k[head // group].double().T * layer.scale
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    if layer.alibi is not None:
        i = torch.arange(layer.n_queries)[:, None] + layer.spans.offset
        scores = scores + layer.alibi[head].double() * (torch.arange(layer.n_keys) - i)
    allowed = torch.from_numpy(layer.spans.mask())
    shown = allowed.clone()
    shown[:, : lens.skip] = False
    counted = shown if lens.renorm else allowed
    if lens.of == "score":
        values = scores
    elif lens.of == "relative":
        values = torch.exp(scores - scores.masked_fill(~shown, -torch.inf).amax(1, keepdim=True))
    else:
        logits = scores.masked_fill(~counted, -torch.inf)
        if layer.sinks is not None:
            logits = torch.cat([logits, layer.sinks[head].double().expand(len(logits), 1)], 1)
        values = torch.exp(scores - logits.logsumexp(1, keepdim=True))
        if lens.of == "enrichment":
            values = values * counted.sum(1, keepdim=True)
    return values.masked_fill(~shown, torch.nan).numpy()


def pooled(values: np.ndarray, z: int, pool: str) -> np.ndarray:
    """The pixels of level z, float64."""
    side = 1 << z
    rows, columns = (-(-length // side) for length in values.shape)
    whole = np.full((rows * side, columns * side), np.nan)
    whole[: values.shape[0], : values.shape[1]] = values
    cells = whole.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, side * side)
    known = ~np.isnan(cells)
    counts = known.sum(2)
    if pool == "max":
        found = np.where(known, cells, -np.inf).max(2)
    else:
        found = np.where(known, cells, 0.0).sum(2) / (1 if pool == "sum" else np.maximum(counts, 1))
    return np.where(counts > 0, found, np.nan)


def tile(values: np.ndarray, y: int, x: int) -> np.ndarray:
    """One tile of a level's pixels, NaN beyond the edge."""
    out = np.full((TILE, TILE), np.nan)
    part = values[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
    out[: part.shape[0], : part.shape[1]] = part
    return out


def same_halves(found: np.ndarray, expected: np.ndarray, steps: float = 0.51, floor: float = 1e-36) -> None:
    """Equal to float16: within so many of its steps (rounding alone is half a one), NaN where NaN is.

    `floor` is what float32 arithmetic cannot tell from zero.
    """
    largest = np.nanmax(np.abs(expected), initial=0.0)
    unit = np.maximum(np.abs(expected) * 2.0**-10, largest * 2.0**-38)
    wrong = ~(np.isnan(found) & np.isnan(expected)) & ~(np.abs(found - expected) <= steps * unit + floor)
    assert not wrong.any(), (found[wrong][:4], expected[wrong][:4], np.argwhere(wrong)[:4])
