"""Strips: a few queries of a few heads with all their keys; and how strips run side by side.

On a CPU each operation on a tile takes well under a millisecond. Splitting every one of them over all cores
spends the time on waiting for one another, without bound when other programs run too; so each strip stays on
one core. Results do not depend on the number of cores: strips write apart, or are gathered in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from lookbehind.engines.blockwise.tiles import Place, Scores

T = TypeVar("T")

# Products below which starting threads costs more than it saves: a millisecond or two of work.
WORTH_THREADS = 2**21


@dataclass(frozen=True)
class Strip:
    """Some queries of some heads.

    Attributes:
        scores: the problem.
        heads, kv_heads: which, counted over the whole batch.
        rows: query rows.
        places: its non-empty tiles, ascending; at least one.
    """

    scores: Scores
    heads: slice
    kv_heads: slice
    rows: slice
    places: list[Place]

    @property
    def shape(self) -> tuple[int, int]:
        """(heads, query rows)."""
        return self.heads.stop - self.heads.start, self.rows.stop - self.rows.start

    def tiles(self) -> Iterator[tuple[Place, torch.Tensor]]:
        """Each tile and its scores [heads, rows, keys], to be used before the next: they share memory."""
        q = self.scores.queries(self.kv_heads, self.rows)
        buffer = q.new_empty(self.shape[0] * self.shape[1] * max(place.shape[1] for place in self.places))
        for place in self.places:
            yield place, self.scores.tile(q, self.heads, self.kv_heads, place, buffer)


def _strips(scores: Scores) -> Iterator[Strip]:
    for heads, kv_heads in scores.chunks():
        for number in range(len(scores.grid)):
            places = list(scores.grid.tiles(number))
            if places:
                yield Strip(scores, heads, kv_heads, places[0].rows, places)


def each_strip(scores: Scores, work: Callable[[Strip], T]) -> Iterator[tuple[Strip, T]]:
    """`work` done on every non-empty strip; results in order."""
    if scores.device.type != "cpu":
        yield from ((strip, work(strip)) for strip in _strips(scores))
        return
    problem, threads = scores.problem, torch.get_num_threads()
    try:
        if threads == 1 or problem.spans.count() * problem.batch * problem.n_heads < WORTH_THREADS:
            torch.set_num_threads(1)
            yield from ((strip, work(strip)) for strip in _strips(scores))
        else:
            yield from _side_by_side(scores, work, threads)
    finally:
        # Also after workers: their setting is what threads started from now on would begin with.
        torch.set_num_threads(threads)


def _side_by_side(scores: Scores, work: Callable[[Strip], T], threads: int) -> Iterator[tuple[Strip, T]]:
    waiting: deque[tuple[Strip, Future[T]]] = deque()
    with ThreadPoolExecutor(threads, "lookbehind", initializer=_alone) as pool:
        for strip in _strips(scores):
            waiting.append((strip, pool.submit(work, strip)))
            if len(waiting) > 2 * threads:  # what is finished but not gathered stays small
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


def _alone() -> None:
    """A worker's own state: one core, no autograd. Both are per thread."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
