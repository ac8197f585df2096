"""Growth: from the calls of one forward after another to growing sequences.

A forward without a cache begins a `Batch`: one sequence for each batch row. One that hands its cache in again
makes it longer. A call hands in all keys of the sequence or, where the cache slides, the last ones:

    position      0 1 2 3 4 5 6 7
    kept          k k k k k k         by the forwards before: `before` is 6
    handed in         k k k k k k     by this call, of two queries: `first` is 2, `n_keys` 6
    known             k k k k         what was kept, bit for bit, or the forward is refused: `n_known` is 4
    new                       k k     these are kept: `after` is 8

So each key is kept once. A `Forward` collects the calls of all layers and commits them together: a forward
that fails leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lookbehind.errors import RecordError
from lookbehind.spans import Spans
from lookbehind.taps.batch import Batch, LayerGrowth, Rows, Step
from lookbehind.taps.call import Call
from lookbehind.taps.fingerprint import fingerprint
from lookbehind.taps.host import arrived, copied
from lookbehind.taps.logits import summarised
from lookbehind.taps.mask import merged
from lookbehind.taps.statistics import observed

_PROVEN = 4  # forwards of a sequence in which every call is proven


@dataclass(frozen=True)
class _Place:
    """Where the keys of a call lie in its sequence, in the words of the picture above."""

    before: int
    after: int
    first: int

    @classmethod
    def of(cls, call: Call, before: int) -> _Place:
        after = before + call.q.shape[2]
        return cls(before, after, max(after - call.k.shape[2], 0))

    @property
    def n_known(self) -> int:
        return self.before - self.first

    @property
    def n_keys(self) -> int:
        """Of those handed in, how many are the sequence's: a preallocated cache has room behind them."""
        return self.after - self.first


class Forward:
    """The calls of one forward.

    Args:
        batches: the batches recorded so far, that it may extend.
        token_ids: what the model was given, if that is known.
        statistics: whether calls are observed where they run, and their queries and keys left there.

    Attributes:
        cache: `id` of the cache handed in, where there is one; past: how many positions it held before.
        batch: what this forward begins or extends; None before its first call.
    """

    def __init__(
        self, batches: Sequence[Batch], token_ids: torch.Tensor | None, statistics: bool = False
    ) -> None:
        self._batches, self._token_ids, self._statistics = batches, token_ids, statistics
        self.cache: int | None = None
        self.past: int | None = None
        self.batch: Batch | None = None
        self._n_queries = 0
        self._rows: dict[str, Rows] = {}
        self._layers: dict[str, LayerGrowth] = {}
        self._placed: dict[tuple[int, int], tuple[Spans, Spans]] = {}

    @property
    def empty(self) -> bool:
        """Whether no attention was seen yet."""
        return not self._rows

    def samples(self, call: Call) -> bool:
        """Whether this call is to be proven.

        Every one is that computes several queries, or is among the first steps of its sequence; later steps,
        which the same kernels compute from the same kinds of masks, prove one layer each in turn.
        """
        batch = self.batch
        if batch is None or call.q.shape[2] > 1 or batch.n_steps < _PROVEN:
            return True
        return batch.n_steps % max(len(batch.layers), 1) == len(self._rows)

    def add(self, call: Call) -> None:
        """Take one call down.

        Raises:
            RecordError: it does not continue what was recorded.
        """
        _check_length(call)
        if self.batch is None:
            self.batch, self._n_queries = self._batch_of(call), call.q.shape[2]
        _check_size(call, self.batch.size, self._n_queries)
        place = _Place.of(call, self.batch.length)
        _check_reach(call, place)
        name = self._name(call.module)
        known = self.batch.layers.get(name)
        prints = fingerprint(call.k[:, :, : place.n_keys])
        grown = LayerGrowth(
            call.scale,
            call.softcap,
            None if call.sinks is None else copied(call.sinks, wait=True),
            call.alibi,
            prints,
        )
        if known is not None:
            _check_known(call.module, place, known.prints, prints[:, : place.n_known])
            _check_parameters(call.module, known, grown)
            grown.prints = torch.cat([known.prints, prints[:, place.n_known :]], 1)
            if known.alibi is not None and grown.alibi is not None:
                grown.alibi = merged(call.module, known.alibi, grown.alibi)
        elif place.before:
            raise RecordError(
                f"{call.module}: it did not run in the forwards before; this sequence has another set of "
                "layers now"
            )
        width = slice(0, 0) if self._statistics else slice(None)
        self._layers[name] = grown
        self._rows[name] = Rows(
            q=copied(call.q[..., width]),
            k=copied(call.k[:, :, place.n_known : place.n_keys, width]),
            spans=[self._in_sequence(one, place) for one in call.spans],
            seen=observed(call, place.first) if self._statistics else (),
            first_key=place.first,
        )

    def commit(self, logits: torch.Tensor | None = None) -> Step:
        """Make the batch longer by this forward.

        Args:
            logits: what it returned, [B, rows, vocabulary] of its last rows, if it did.

        Raises:
            RecordError: a layer of the batch did not run.
        """
        batch = self.batch
        assert batch is not None  # an empty forward is never committed
        missing = [name for name in batch.layers if name not in self._rows]
        if missing:
            raise RecordError(
                f"{missing[0]}: it did not run in this forward, so its keys have a gap; models that skip "
                "layers cannot be recorded with a cache"
            )
        ids = self._token_ids
        if ids is not None and ids.shape != (batch.size, self._n_queries):
            ids = None
        said, last = summarised(logits, ids, self._n_queries, batch.last)
        arrived()
        step = Step(self._n_queries, self._rows, ids, said)
        batch.layers, batch.last, batch.cache = self._layers, last, self.cache
        batch.length += self._n_queries
        batch.steps.append(step)
        batch.n_steps += 1
        return step

    def _batch_of(self, call: Call) -> Batch:
        """The batch that this forward extends, by its first call, or a new one."""
        n_queries, n_keys, reach = call.q.shape[2], call.k.shape[2], _reach(call)
        if self.past:
            return self._extended(call, [b for b in self._batches if b.length == self.past], self.past)
        if n_keys == n_queries or 0 < reach <= n_queries:
            # All keys are the queries' own; or a preallocated cache, of which nothing else is read.
            return Batch(call.q.shape[0])
        if not self._batches:
            raise RecordError(
                f"{call.module}: {n_queries} queries meet {n_keys} keys in a forward that begins a sequence; "
                "only self-attention can be recorded, with a cache that was empty when recording began"
            )
        # A preallocated cache may be longer than the sequence, a sliding one shorter.
        candidates = [b for b in self._batches if b.length + n_queries >= reach]
        return self._extended(call, candidates, n_keys - n_queries)

    def _extended(self, call: Call, candidates: list[Batch], past: int) -> Batch:
        """The candidate whose keys the call hands in again: that of the same cache, or else the newest."""
        changed: RecordError | None = None
        newest_first = candidates[::-1]
        for batch in sorted(newest_first, key=lambda one: one.cache != self.cache):
            if batch.size != call.q.shape[0] or call.module not in batch.layers:
                continue
            place = _Place.of(call, batch.length)
            again = fingerprint(call.k[:, :, : place.n_known])
            try:
                _check_known(call.module, place, batch.layers[call.module].prints, again)
                return batch
            except RecordError as error:
                changed = changed or error
        if changed is not None:
            raise changed
        size = call.q.shape[0]
        if candidates and size not in {batch.size for batch in candidates}:
            raise RecordError(
                f"{call.module}: the cache holds {past} positions of {size} sequences, and those of "
                f"{candidates[-1].size} were recorded; none may join or leave a batch: record one forward "
                "over each finished text instead"
            )
        longest = max((b.length for b in self._batches), default=0)
        raise RecordError(
            f"{call.module}: the cache holds {past} positions, and no sequence of {past} was recorded "
            f"(the longest has {longest}); it was filled before recording began, is a copy of one that went "
            "on, or was rolled back, as assisted generation and prompt lookup do: record one forward over "
            "the finished text instead"
        )

    def _name(self, module: str) -> str:
        """The module's path; the second call of one forward by the same module is `path#2`."""
        name, number = module, 1
        while name in self._rows:
            number += 1
            name = f"{module}#{number}"
        return name

    def _in_sequence(self, spans: Spans, place: _Place) -> Spans:
        """Spans at their positions; layers and rows that share one object go on sharing it."""
        if (spans.n_keys, spans.offset, place.first) == (place.after, place.before, 0):
            return spans
        key = (id(spans), place.first)
        if key not in self._placed:
            starts, stops = spans.starts + place.first, spans.stops + place.first
            placed = Spans(spans.n_queries, place.after, place.before, spans.row_ptr, starts, stops)
            self._placed[key] = (spans, placed)  # the spans are kept, so that no others take their id
        return self._placed[key][1]


def _reach(call: Call) -> int:
    """How many of the keys handed in there are up to the last one that is read."""
    return max((int(one.stops.max()) for one in call.spans if len(one.stops)), default=0)


# -- what does not continue a sequence is refused ----------------------------------------------------------


def _check_length(call: Call) -> None:
    if call.k.shape[2] < call.q.shape[2]:
        raise RecordError(
            f"{call.module}: {call.q.shape[2]} queries meet {call.k.shape[2]} keys, fewer than their own; "
            "only self-attention can be recorded"
        )


def _check_size(call: Call, size: int, n_queries: int) -> None:
    if (call.q.shape[0], call.q.shape[2]) != (size, n_queries):
        raise RecordError(
            f"{call.module}: attention over {call.q.shape[0]} x {call.q.shape[2]} queries in a forward of "
            f"{size} x {n_queries}; a tape holds one stack of decoder layers, so record the decoder alone: "
            "record(its submodule)"
        )


def _check_reach(call: Call, place: _Place) -> None:
    reach = place.first + _reach(call)
    if reach > place.after:
        raise RecordError(
            f"{call.module}: a query reads key {reach - 1} in a sequence of {place.after} positions; "
            "cross-attention, or keys that came from elsewhere, cannot be recorded"
        )


def _check_known(module: str, place: _Place, kept: torch.Tensor, again: torch.Tensor) -> None:
    """Fingerprints of all keys kept, [B, before], and of those handed in again, [B, n_known]."""
    kept = kept[:, place.first :]
    if torch.equal(kept, again):
        return
    rows, columns = (kept != again).nonzero(as_tuple=True)
    where = f"position {int(columns[0]) + place.first}"
    if kept.shape[0] > 1:
        where += f" of sequence {int(rows[0])}"
    raise RecordError(
        f"{module}: the cache hands in another key for {where} than the one recorded; it was reordered (beam "
        "search), cropped, quantised or rotated, made anew from latents with other rounding, or belongs to "
        "another sequence; such keys cannot be recorded once: record one forward over the finished text "
        "instead"
    )


def _check_parameters(module: str, known: LayerGrowth, grown: LayerGrowth) -> None:
    for what in ("scale", "softcap"):
        one, other = getattr(known, what), getattr(grown, what)
        if one != other:
            raise RecordError(
                f"{module}: its {what} went from {one} to {other} within one sequence; a tape holds one per "
                "layer"
            )
    one, other = known.sinks, grown.sinks
    if (one is None) != (other is None) or (
        one is not None and other is not None and not torch.equal(one, other)
    ):
        raise RecordError(f"{module}: its sinks changed within one sequence; a tape holds one set per layer")
    if (known.alibi is None) != (grown.alibi is None):
        raise RecordError(f"{module}: it has ALiBi in some forwards of one sequence and none in others")
