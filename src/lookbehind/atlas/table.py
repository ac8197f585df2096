"""Table: the numbers of every head, computed in the background, layer by layer.

A long layer is sampled: stretches of rows spread evenly over it, and the answer says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from lookbehind.atlas.work import StoppedError, Work
from lookbehind.heads import layer_heads
from lookbehind.tape import Layer, Tape

EXACT = 1 << 30  # products of a layer that are all looked at: a few seconds
SAMPLE = 1 << 28  # products of a sample
AT_ONCE = 1 << 22  # products between two chances for viewers
_TURN = 0  # among the passes: behind the maps of the heads that are looked at


class Table:
    """The heads' numbers as far as they are known. Begun when first asked for."""

    def __init__(self, tape: Tape, work: Work) -> None:
        self._tape, self._work = tape, work
        self._lock = threading.Lock()
        self._begun = False
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._sampled = any(_cost(layer) > EXACT for layer in tape.layers)
        self._failed: str | None = None

    def so_far(self) -> dict[str, Any]:
        """The heads that are known, and whether more will follow; `done` and `total` count heads."""
        with self._lock:
            begun, self._begun = self._begun, True
            rows = [row for at in sorted(self._rows) for row in self._rows[at]]
        if not begun:
            for at in range(self._tape.n_layers):
                self._work.ask(("heads", at), partial(self._layer, at), AT_ONCE, background=_TURN)
        total = sum(layer.n_heads for layer in self._tape.layers)
        ended = len(rows) == total or self._failed is not None
        state = ("sampled" if self._sampled else "ready") if ended else "working"
        found = {"state": state, "done": len(rows), "total": total, "heads": rows}
        return found if self._failed is None else {**found, "error": self._failed}

    def _layer(self, at: int) -> None:
        try:
            rows = [asdict(head) for head in layer_heads(self._tape, at, self._parts(self._tape.layers[at]))]
        except StoppedError:
            raise
        except Exception as error:
            self._failed = str(error) or type(error).__name__
            return
        with self._lock:
            self._rows[at] = rows

    def _parts(self, layer: Layer) -> Iterator[slice]:
        for part in stretches(layer):
            self._work.give_way(behind=_TURN)
            yield part


def stretches(layer: Layer) -> list[slice]:
    """The rows to look at, a stretch at a time: all of them, or a sample."""
    n = layer.n_queries
    each = min(max(AT_ONCE // max(_cost(layer) // max(n, 1), 1), 1), max(n, 1))
    starts = np.arange(0, n, each)
    if _cost(layer) > EXACT:
        count = max(SAMPLE * n // (each * _cost(layer)), 1)
        # In the middle of equal parts: neither only the first rows nor only the last.
        starts = (2 * np.arange(count) + 1) * n // (2 * count) - each // 2
    return [slice(max(int(first), 0), min(int(first) + each, n)) for first in starts]


def _cost(layer: Layer) -> int:
    return layer.spans.count() * layer.n_heads
