"""Facts: what a tape is, as the page is told."""

from __future__ import annotations

from typing import Any

from lookbehind.atlas.geometry import TILE, Geometry
from lookbehind.engines import choose
from lookbehind.engines.problem import Problem
from lookbehind.tape import Layer, Tape


def facts(tape: Tape, title: str, influence: bool = False) -> dict[str, Any]:
    """Lengths, layers, and what there is beside the maps."""
    return {
        "title": title,
        "model": tape.meta.get("model"),
        "source": None if tape.directory is None else str(tape.directory),
        "n_queries": tape.n_queries,
        "n_keys": tape.n_keys,
        "offset": tape.layers[0].spans.offset,
        "steps": tape.steps,
        "complete": tape.complete,
        "tile": TILE,
        "top": Geometry(tape.n_queries, tape.n_keys).top,
        "layers": [_layer_facts(at, layer) for at, layer in enumerate(tape.layers)],
        "skipped": [list(one) for one in tape.skipped],
        "has": {
            "tokens": tape.tokens is not None,
            "ids": tape.token_ids is not None,
            "next": tape.predictions is not None,
            "influence": influence,
        },
        "engine": engine_of(tape.layers[0]),
    }


def engine_of(layer: Layer) -> str:
    """The engine that answers for a layer."""
    one = slice(0, 1)
    q, k = layer.q[None, :, :1], layer.k[None, :, :1]
    problem = Problem(
        q, k, None, layer.spans.region(one, one), layer.scale, layer.softcap, layer.sinks, layer.alibi
    )
    return choose(problem).NAME


def _layer_facts(at: int, layer: Layer) -> dict[str, Any]:
    return {
        "index": at,
        "name": layer.name,
        "n_heads": layer.n_heads,
        "n_kv_heads": layer.n_kv_heads,
        "pattern": layer.spans.describe(),
        "scale": layer.scale,
        "softcap": layer.softcap,
        "sinks": layer.sinks is not None,
        "alibi": layer.alibi is not None,
    }
