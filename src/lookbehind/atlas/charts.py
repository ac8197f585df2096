"""Charts: every question that a page asks of an opened tape, as jobs of a queue or as plain data."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lookbehind import checks
from lookbehind.atlas.cache import Cache
from lookbehind.atlas.coarse import Coarse
from lookbehind.atlas.facts import facts
from lookbehind.atlas.frame import Floats, Frame
from lookbehind.atlas.geometry import THUMB, TILE, Geometry, TileName
from lookbehind.atlas.kept import Kept
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.onehead import OneHead, RowNumbers
from lookbehind.atlas.plate import check_head
from lookbehind.atlas.pyramid import BASE, NUMBERED
from lookbehind.atlas.sheaf import Key
from lookbehind.atlas.sight import Sight, padded
from lookbehind.atlas.table import Table
from lookbehind.atlas.work import Job, Work
from lookbehind.errors import InputError, LookbehindError
from lookbehind.pattern import First
from lookbehind.spans import Ints
from lookbehind.tape import Tape
from lookbehind.tape.predictions import Candidate

DIRECT = 1 << 25  # products of a tile that is made exactly while its viewer waits: a few tenths of a second
PREVIEW = 1 << 24  # products of a sampled tile
CELLS = 128  # the most rows and keys of one question about cells
PLAIN = Lens()


class Charts:
    """An opened tape, looked at by any number of viewers. Used from any thread.

    Args:
        tape: what was recorded.
        title: what the page is called.
        cache: what is kept of it; in memory only unless given.
        influence: an audit's influence map, as the page takes it.
        base: the finest level whose tiles are kept.

    Raises:
        InputError: the tape holds nothing to look at.
    """

    def __init__(
        self,
        tape: Tape,
        title: str = "tape",
        cache: Cache | None = None,
        influence: dict[str, Any] | None = None,
        base: int = BASE,
    ) -> None:
        if not tape.layers:
            raise InputError("view: the tape holds no attention layer; there is nothing to look at")
        self.tape, self.title, self._influence = tape, title, influence
        self.geometry = Geometry(tape.n_queries, tape.n_keys)
        self.work = Work()
        self._cache = cache or Cache(None, "", lambda _: None)
        self._coarse = Coarse(self.geometry, self._cache, self.work, base)
        self._table = Table(tape, self.work)
        self._numbers: Kept[RowNumbers] = Kept(1 << 25)
        self._frames: Kept[Frame] = Kept(1 << 25)

    def close(self) -> None:
        """Stop what runs, and close the cache."""
        self.work.stop()
        self._cache.close()

    # -- plain data -------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What the tape is."""
        return facts(self.tape, self.title, self._influence is not None)

    def tokens(self) -> dict[str, Any]:
        """The text."""
        return {"tokens": self.tape.tokens, "ids": self.tape.token_ids}

    def status(self) -> dict[str, Any]:
        """That it lives, and what it is busy with."""
        return {
            "alive": True,
            "jobs": self._coarse.jobs(),
            "memory_mb": round(own_memory() / 1e6, 1),
            "warning": self._cache.warning,
        }

    def heads(self) -> dict[str, Any]:
        """What each head does, as far as it is known."""
        return self._table.so_far()

    def next(self, query: int) -> dict[str, Any] | None:
        """The recorded next-token distribution after a query; None where none was recorded.

        Raises:
            InputError: there is no such query.
        """
        checks.one_of("query", query, self.tape.n_queries)
        said = self.tape.predictions
        if said is None or not bool(said.known[query]):
            return None
        found = self.tape.next(query)
        top = [_candidate(one) for one in found.top]
        return {
            "query": query,
            "top": top,
            "came": None if found.came is None else _candidate(found.came),
            "recorded": True,
        }

    def influence(self) -> dict[str, Any]:
        """The audit's influence map.

        Raises:
            InputError: none was given.
        """
        if self._influence is None:
            raise InputError(
                "influence: no audit report with an influence map was given; see lookbehind view --audit"
            )
        return self._influence

    # -- jobs -------------------------------------------------------------------------------------------

    def tile(self, name: TileName, lens: Lens, pool: str) -> Frame | Job:
        """A tile, or the job that makes it: exact, or sampled while a pass makes the exact one.

        Raises:
            InputError: there is no such tile.
            LookbehindError: the pass that would make it failed.
        """
        check_head(self.tape, name.layer, name.head)
        rows, keys = self.geometry.place(name.z, name.y, name.x)
        kept = self._frames.get((name, lens, pool))
        if kept is not None:
            return kept
        sight = self.sight(name.layer, name.head, lens)
        key, spot = Key(name.layer, name.head, lens), (name.z, name.y, name.x)

        def made() -> Frame:
            values = sight.pixels(rows, keys, name.z, (pool,))[pool]
            return self._keep((name, lens, pool), Frame.of(padded(values, TILE, TILE), sight.signed))

        def read() -> Frame:
            found = self._coarse.read(key, spot, pool, sight)
            if found is None:  # damaged, and forgotten: the next one who asks has it made again
                return sampled(sight, rows, keys, name.z, pool)
            return self._keep((name, lens, pool), found)

        if self._coarse.holds(key, spot):
            return self.work.ask((name, lens, pool, "kept"), read, 0)
        cost = sight.cost(np.arange(rows.start, rows.stop), keys)
        # A pass that is over and yet left a tile out had no room for it: that was one of the finest.
        if cost <= DIRECT or self._coarse.finished(key):
            return self.work.ask((name, lens, pool), made, cost)
        failure = self._coarse.failure(key)
        if failure is not None:
            raise LookbehindError(f"this map cannot be made: {failure}")
        self._coarse.want(key, sight, self.numbers(name.layer, name.head))
        preview = (name, lens, pool, "sampled")
        return self._frames.get(preview) or self.work.ask(
            preview, lambda: self._keep(preview, sampled(sight, rows, keys, name.z, pool)), PREVIEW
        )

    def thumb(self, layer: int, head: int) -> Frame | Job:
        """A head at a glance: its largest weights at the level of at most 128 pixels a side."""
        check_head(self.tape, layer, head)
        name = ("thumb", layer, head)
        kept = self._frames.get(name)
        if kept is not None:
            return kept
        z, key = self.geometry.level_of(THUMB), Key(layer, head, PLAIN)
        sight = self.sight(layer, head, PLAIN)
        rows, keys = slice(0, self.tape.n_queries), slice(0, self.tape.n_keys)
        shape = self.geometry.shape(z)
        top = (self.geometry.top, 0, 0)

        def smaller() -> Frame:
            """The top tile's maxima, four in one."""
            whole = self._coarse.read(key, top, "max", sight)
            if whole is None:
                return sampled(sight, rows, keys, z, "max", shape)
            values = whole.values().reshape(THUMB, 2, THUMB, 2)
            most = np.where(np.isnan(values), -math.inf, values).max((1, 3))
            most = np.where(most == -math.inf, math.nan, most).astype(np.float32)
            return self._keep(name, Frame.of(most[: shape[0], : shape[1]]))

        if z > self.geometry.top and self._coarse.holds(key, top):
            return self.work.ask(name, smaller, 0)
        if sight.cost(np.arange(rows.stop), keys) <= DIRECT:
            return self.work.ask(
                name,
                lambda: self._keep(name, Frame.of(sight.pixels(rows, keys, z, ("max",))["max"])),
                PREVIEW,
            )
        preview = (*name, "sampled")
        return self._frames.get(preview) or self.work.ask(
            preview, lambda: self._keep(preview, sampled(sight, rows, keys, z, "max", shape)), PREVIEW
        )

    def row(self, layer: int, head: int, query: int) -> Job:
        """Exact weights of one query: float32 [n_keys], NaN where none was computed."""
        check_head(self.tape, layer, head)
        checks.one_of("query", query, self.tape.n_queries)

        def make() -> Floats:
            return self.cells_of(layer, head, slice(query, query + 1), slice(0, self.tape.n_keys))[2][0]

        return self.work.ask(("row", layer, head, query), make, self.tape.n_keys)

    def column(self, layer: int, head: int, key: int) -> Job:
        """Exact weights on one key: float32 [n_queries], NaN where none was computed."""
        check_head(self.tape, layer, head)
        checks.one_of("key", key, self.tape.n_keys)

        numbers, rows = self.numbers(layer, head), np.arange(self.tape.n_queries)
        cost = self.tape.n_queries + numbers.unknown(rows) * self.tape.n_keys // 2

        def make() -> Floats:
            for first in range(0, len(rows), NUMBERED):  # every row's lse, if no pass has been here yet
                self.work.give_way(cost)
                numbers.lse_of(rows[first : first + NUMBERED])
            return self.cells_of(layer, head, slice(0, len(rows)), slice(key, key + 1))[2][:, 0]

        return self.work.ask(("column", layer, head, key), make, cost)

    def cells(self, layer: int, head: int, rows: slice, keys: slice) -> Job:
        """q.k, score and weight of each product: float32 [3, rows, keys], NaN where none was computed."""
        check_head(self.tape, layer, head)
        for what, part, length in (("q", rows, self.tape.n_queries), ("k", keys, self.tape.n_keys)):
            if not 0 <= part.start < part.stop <= length or part.stop - part.start > CELLS:
                raise InputError(
                    f"cells: {what}0 to {what}1 must lie in 0 to {length} and hold 1 to {CELLS}; "
                    f"got {part.start} to {part.stop}"
                )
        name = ("cells", layer, head, rows.start, rows.stop, keys.start, keys.stop)
        return self.work.ask(name, lambda: self.cells_of(layer, head, rows, keys), CELLS * CELLS)

    def cells_of(self, layer: int, head: int, rows: slice, keys: slice) -> Floats:
        """The same at any size, now."""
        numbers = self.numbers(layer, head)
        one = numbers.head
        lse = numbers.lse_of(np.arange(rows.start, rows.stop))
        q, k = one.q[rows].cpu().double(), one.k[keys].cpu().double()
        spans = numbers.spans.region(rows, keys)
        dots = q @ k.T
        scores = dots * one.layer.scale
        if one.layer.softcap is not None:
            scores = one.layer.softcap * torch.tanh(scores / one.layer.softcap)
        if one.slope:
            i = torch.arange(spans.n_queries)[:, None] + spans.offset
            scores = scores + one.slope * (torch.arange(spans.n_keys) - i)
        found = torch.stack([dots, scores, torch.exp(scores - lse[:, None])])
        found[:, torch.from_numpy(~spans.mask())] = math.nan
        return found.float().numpy()

    def tracks(self, layer: int, head: int) -> dict[str, Any] | Job:
        """Numbers along the axes: entropy, sink mass and loss of each query, received mass of each key.

        `state` is "ready" or "working"; what is not yet known is NaN or left out.
        """
        check_head(self.tape, layer, head)
        key, numbers = Key(layer, head, PLAIN), self.numbers(layer, head)
        arrays = self._coarse.arrays(key)
        if arrays is not None:
            return self._tracks(
                "ready", 1, 1, {name: arrays[name] for name in ("entropy", "sink", "received")}
            )
        rows = np.arange(self.tape.n_queries)
        if self.sight(layer, head, PLAIN).cost(rows, slice(0, self.tape.n_keys)) <= DIRECT:
            return self.work.ask(("tracks", layer, head), lambda: self._tracks_now(numbers, rows), DIRECT)
        failure = self._coarse.failure(key)
        if failure is not None:
            raise LookbehindError(f"tracks: cannot be made: {failure}")
        self._coarse.want(key, self.sight(layer, head, PLAIN), numbers)
        under_way = self._coarse.under_way(key)
        if under_way is None or under_way.tracks is None:
            return self._tracks("working", 0, 1, {})
        some = {"entropy": under_way.tracks.entropy.copy(), "sink": under_way.tracks.sink.copy()}
        return self._tracks("working", under_way.done, under_way.total, some)

    def _tracks_now(self, numbers: RowNumbers, rows: Ints) -> dict[str, Any]:
        seen = numbers.head.observe(
            numbers.spans,
            rows,
            slice(None),
            numbers.lse_of(rows),
            received=True,
            entropy=True,
            mass={"sink": First(1)},
        )
        assert seen.entropy is not None and seen.received is not None and seen.mass is not None  # asked for
        found = {"entropy": seen.entropy, "sink": seen.mass["sink"], "received": seen.received}
        return self._tracks(
            "ready", 1, 1, {name: one[0, 0].float().cpu().numpy() for name, one in found.items()}
        )

    def _tracks(self, state: str, done: int, total: int, arrays: dict[str, Any]) -> dict[str, Any]:
        if self.tape.predictions is not None:
            arrays = {**arrays, "loss": self.tape.loss().numpy()}
        return {"state": state, "done": done, "total": total, "arrays": arrays}

    # -- what jobs stand on -----------------------------------------------------------------------------

    def numbers(self, layer: int, head: int, skip: int = 0) -> RowNumbers:
        """What is known of a head's rows, over all keys but the first `skip`."""
        name = (layer, head, skip)
        kept = self._numbers.get(name)
        if kept is not None:
            return kept
        found = self.tape.layers[layer]
        spans = found.spans
        if skip:
            spans = spans & ~First(skip).spans(spans.n_queries, spans.n_keys, spans.offset)
        lse = None if skip or found.known_lse is None else found.known_lse[head]
        numbers = RowNumbers(OneHead(found, head), spans, lse)
        arrays = None if skip else self._coarse.arrays(Key(layer, head, PLAIN))
        if arrays is not None:
            numbers.lse, numbers.peak = (torch.from_numpy(arrays[one]) for one in ("lse", "peak"))
        size = (2 * numbers.lse.element_size() + (24 if skip else 0)) * spans.n_queries
        return self._numbers.put(name, numbers, size)

    def sight(self, layer: int, head: int, lens: Lens) -> Sight:
        """A head through a lens."""
        own = self.numbers(layer, head)
        skip = min(lens.skip, self.tape.n_keys)
        return Sight(own.head, lens, own, self.numbers(layer, head, skip) if skip else own)

    def _keep(self, name: Hashable, frame: Frame) -> Frame:
        return self._frames.put(name, frame, len(frame.payload))


def sampled(
    sight: Sight, rows: slice, keys: slice, z: int, pool: str, shape: tuple[int, int] = (TILE, TILE)
) -> Frame:
    """Pixels of a few rows of each, said to be that."""
    values = sight.sample(rows, keys, z, ("mean" if pool == "sum" else pool,), PREVIEW)
    found = next(iter(values.values()))
    if pool == "sum":  # of all products: as if the others were like those looked at
        found = found * sight.counts(rows, keys, z)
    return Frame.of(padded(found, *shape), sight.signed).sampled()


def own_memory() -> int:
    """Bytes of this process that are its own, mapped files left out; 0 where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _candidate(one: Candidate) -> dict[str, Any]:
    return {"token": one.token, "id": one.id, "p": one.probability}
