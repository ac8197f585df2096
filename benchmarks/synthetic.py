"""A long tape with planted structure, to look at and to measure: no model needed.

    python benchmarks/synthetic.py long.tape --tokens 131072

Each head looks at the same four things, weighted differently: a sink (key 0), a band (the keys before the
query), repeated passages (stretches of text that occur twice: a diagonal far from the main one), and a needle
(one query that reads one far key and nothing else). `planted` says where they are.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from lookbehind.pattern import Causal, Pattern
from lookbehind.tape import Layer, Tape

WIDTH = 64
_WAVES = 8  # pairs of dimensions that tell positions apart, for the band
_SINK, _BAND, _COPY, _NEEDLE = 10.0, 12.0, 17.0, 60.0  # scores where they are at home


@dataclass(frozen=True)
class Planted:
    """Where the structure lies.

    Attributes:
        needle: (query row, key): its weight is nearly 1.
        repeats: (first, again, length): the passage at `first` occurs once more at `again`.
        band: the row's weight within so many keys before the query is large in head 1.
    """

    needle: tuple[int, int]
    repeats: tuple[tuple[int, int, int], ...]
    band: int


def planted(n: int) -> Planted:
    """Where the structure lies in a text of n tokens."""
    length = max(n // 64, 1)
    return Planted(
        needle=(n * 13 // 16 + n // 77, n // 7),
        repeats=((n // 16, n // 2, length), (n // 4, n * 3 // 4 + length, length)),
        band=16,
    )


def synthetic(n: int, n_layers: int = 1, pattern: Pattern | None = None, seed: int = 0) -> Tape:
    """The tape: `n_layers` layers of two heads on one kv head, float32."""
    generator = torch.Generator().manual_seed(seed)
    where = planted(n)
    ids = torch.randperm(n, generator=generator) + 1
    for first, again, length in where.repeats:
        ids[again : again + length] = ids[first : first + length]
    spans = (pattern or Causal()).spans(n)
    layers = [_layer(f"layers.{at}", ids, where, spans, generator) for at in range(n_layers)]
    tokens = [f" w{number}" for number in ids.tolist()]
    meta = {"model": "synthetic", "dtype": "float32"}
    return Tape(layers, token_ids=ids.tolist(), tokens=tokens, steps=[n], meta=meta)


def _layer(name: str, ids: torch.Tensor, where: Planted, spans: object, generator: torch.Generator) -> Layer:
    n = len(ids)
    wide = WIDTH - 1 - 2 * _WAVES
    codes = torch.randn(n + 1, wide, generator=generator)
    codes /= codes.norm(dim=1, keepdim=True)
    position = torch.arange(n)[:, None]
    angle = position * torch.logspace(0, -2.5, _WAVES)
    waves = torch.cat([angle.cos(), angle.sin()], 1) / math.sqrt(_WAVES)
    before = torch.cat([ids.new_zeros(1), ids[:-1]])
    sink = torch.zeros(n, 1)
    sink[0] = 1.0
    k = torch.cat([sink, waves, codes[before]], 1)
    heads: list[torch.Tensor] = []
    for copy, band in ((_COPY, 0.5 * _BAND), (0.6 * _COPY, _BAND)):
        q = torch.cat([torch.full((n, 1), _SINK), band * waves, copy * codes[ids]], 1)
        row, key = where.needle
        q[row] = 0.0
        q[row, 1 + 2 * _WAVES :] = _NEEDLE * k[key, 1 + 2 * _WAVES :]
        heads.append(q)
    return Layer(name, torch.stack(heads), k[None].contiguous(), spans, scale=1.0)  # type: ignore[arg-type]


def main() -> None:
    """Write a tape and say where things are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="a new directory")
    parser.add_argument("--tokens", type=int, default=131072)
    parser.add_argument("--layers", type=int, default=1)
    asked = parser.parse_args()
    synthetic(asked.tokens, asked.layers).save(asked.out)
    where = planted(asked.tokens)
    print(f"needle: query {where.needle[0]} reads key {where.needle[1]}")
    for first, again, length in where.repeats:
        print(f"repeat: {length} tokens at {first} occur again at {again}")


if __name__ == "__main__":
    main()
