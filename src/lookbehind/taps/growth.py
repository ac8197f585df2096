"""Growth: from the calls of one forward after another to growing sequences.

A `Batch` is what one uncached forward began: one sequence per batch row, longer by each cached forward after
it. A `Forward` collects the calls of one forward and is committed as a whole, so that a forward which fails
leaves nothing behind. Keys are kept once: what a cache hands in again must be, bit for bit, what was kept, or
the forward is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from lookbehind.engines.observation import Observation
from lookbehind.errors import RecordError
from lookbehind.spans import Spans
from lookbehind.taps.call import Call
from lookbehind.taps.host import arrived, copied
from lookbehind.taps.logits import Said, summarised
from lookbehind.taps.mask import merged
from lookbehind.taps.statistics import observed

_BITS = {1: torch.uint8, 2: torch.int16}
_PROVEN = 4  # forwards of a sequence in which every call is proven
_PRINTED = 1 << 22  # key elements fingerprinted at a time


@dataclass(frozen=True, eq=False)
class Rows:
    """What one forward added to one layer: new queries and keys in host memory, and which products they make.

    Attributes:
        q: [B, Hq, n, D]. k: [B, Hkv, n, D]. spans: per batch row, keys at their absolute positions.
        seen: per batch row, the statistics of the call, where they are kept instead of q and k, which then
            are of width 0; and `shift`, the position of the first key that they count.
    """

    q: torch.Tensor
    k: torch.Tensor
    spans: Sequence[Spans]
    seen: Sequence[Observation] = ()
    shift: int = 0


@dataclass(eq=False)
class LayerGrowth:
    """One layer of a batch: what all its calls share, and the fingerprint of every key kept."""

    scale: float
    softcap: float | None
    sinks: torch.Tensor | None
    alibi: torch.Tensor | None
    prints: torch.Tensor  # int64 [B, n_keys], on the model's device


@dataclass(frozen=True, eq=False)
class Step:
    """One committed forward of a batch: the rows of each layer, its token ids and what it said would come
    next, if they are known."""

    n_queries: int
    rows: dict[str, Rows]
    token_ids: torch.Tensor | None
    said: Said | None


@dataclass(eq=False)
class Batch:
    """Sequences that grow together."""

    size: int
    length: int = 0
    layers: dict[str, LayerGrowth] = field(default_factory=dict[str, LayerGrowth])
    steps: list[Step] = field(default_factory=list[Step])
    n_steps: int = 0
    last: torch.Tensor | None = None  # log-probabilities [B, vocabulary] after the last row


class Forward:
    """The calls of one forward.

    Args:
        batches: the batches recorded so far, that it may extend.
        token_ids: what the model was given, if that is known.
        statistics: whether calls are observed where they run, and their queries and keys left there.
    """

    def __init__(
        self, batches: Sequence[Batch], token_ids: torch.Tensor | None, statistics: bool = False
    ) -> None:
        self._batches, self._statistics = batches, statistics
        self.token_ids = token_ids
        self.past: int | None = None  # how many positions the cache held, where a cache says so
        self.batch: Batch | None = None
        self._calls: dict[str, tuple[Rows, LayerGrowth]] = {}
        self._n_queries = 0
        self._moved: dict[tuple[int, int], tuple[Spans, Spans]] = {}

    @property
    def empty(self) -> bool:
        """Whether no attention was seen yet."""
        return not self._calls

    def samples(self, call: Call) -> bool:
        """Whether this call is to be proven.

        Every one is that computes several queries, or is among the first steps of its sequence; later steps,
        which the same kernels compute from the same kinds of masks, prove one layer each in turn.
        """
        batch = self.batch
        if batch is None or call.q.shape[2] > 1 or batch.n_steps < _PROVEN:
            return True
        return batch.n_steps % max(len(batch.layers), 1) == len(self._calls)

    def add(self, call: Call) -> None:
        """Take one call down.

        Raises:
            RecordError: it does not continue what was recorded.
        """
        name = self._name(call.module)
        if call.k.shape[2] < call.q.shape[2]:
            raise RecordError(
                f"{call.module}: {call.q.shape[2]} queries meet {call.k.shape[2]} keys, fewer than their "
                "own; only self-attention can be recorded"
            )
        n_queries, reach = call.q.shape[2], max((_reach(one) for one in call.spans), default=0)
        if self.batch is None:
            self.batch = self._begin(name, call, reach)
            self._n_queries = n_queries
        batch = self.batch
        if (call.q.shape[0], n_queries) != (batch.size, self._n_queries):
            raise RecordError(
                f"{call.module}: attention over {call.q.shape[0]} x {n_queries} queries in a forward of "
                f"{batch.size} x {self._n_queries}; a tape holds one stack of decoder layers, so record "
                "the decoder alone: record(its submodule)"
            )
        length = batch.length + n_queries
        n_keys = call.k.shape[2]
        shift = max(length - n_keys, 0)  # a sliding cache hands in the last keys only
        if reach + shift > length:
            raise RecordError(
                f"{call.module}: a query reads key {reach + shift - 1} in a sequence of {length} positions; "
                "cross-attention, or keys that came from elsewhere, cannot be recorded"
            )
        before = batch.length
        prints = fingerprint(call.k[:, :, : length - shift])
        known = batch.layers.get(name)
        if batch.length and known is None:
            raise RecordError(
                f"{call.module}: it did not run in the forwards before; this sequence has another set of "
                "layers now"
            )
        if known is not None and not torch.equal(known.prints[:, shift:], prints[:, : before - shift]):
            raise RecordError(
                _changed(call.module, known.prints[:, shift:], prints[:, : before - shift], shift)
            )
        grown = LayerGrowth(
            call.scale,
            call.softcap,
            None if call.sinks is None else copied(call.sinks, wait=True),
            call.alibi,
            prints if known is None else torch.cat([known.prints, prints[:, before - shift :]], 1),
        )
        if known is not None:
            _same(call.module, known, grown)
            if known.alibi is not None and grown.alibi is not None:
                grown.alibi = merged(call.module, known.alibi, grown.alibi)
        width = slice(0, 0) if self._statistics else slice(None)
        rows = Rows(
            q=copied(call.q[..., width]),
            k=copied(call.k[:, :, before - shift : length - shift, width]),
            spans=[self._placed(one, length, before, shift) for one in call.spans],
            seen=observed(call, shift) if self._statistics else (),
            shift=shift,
        )
        self._calls[name] = (rows, grown)

    def commit(self, logits: torch.Tensor | None = None) -> Step:
        """Make the batch longer by this forward.

        Args:
            logits: what it returned, [B, rows, vocabulary] of its last rows, if it did.

        Raises:
            RecordError: a layer of the batch did not run.
        """
        batch = self.batch
        assert batch is not None  # an empty forward is never committed
        missing = [name for name in batch.layers if name not in self._calls]
        if missing:
            raise RecordError(
                f"{missing[0]}: it did not run in this forward, so its keys have a gap; models that skip "
                "layers cannot be recorded with a cache"
            )
        batch.layers = {name: grown for name, (_, grown) in self._calls.items()}
        batch.length += self._n_queries
        ids = self.token_ids
        if ids is not None and ids.shape != (batch.size, self._n_queries):
            ids = None
        said, batch.last = summarised(logits, ids, self._n_queries, batch.last)
        rows = {name: rows for name, (rows, _) in self._calls.items()}
        arrived()
        step = Step(self._n_queries, rows, ids, said)
        batch.steps.append(step)
        batch.n_steps += 1
        return step

    def _placed(self, spans: Spans, length: int, before: int, shift: int) -> Spans:
        """Spans at absolute positions; layers and rows that share one object go on sharing it."""
        if (spans.n_keys, spans.offset, shift) == (length, before, 0):
            return spans
        key = (id(spans), shift)
        if key not in self._moved:
            starts, stops = spans.starts + shift, spans.stops + shift
            moved = Spans(spans.n_queries, length, before, spans.row_ptr, starts, stops)
            self._moved[key] = (spans, moved)  # the spans are kept, so that no others take their id
        return self._moved[key][1]

    def _name(self, module: str) -> str:
        """The module's path; the second call of one forward by the same module is `path#2`."""
        name, number = module, 1
        while name in self._calls:
            number += 1
            name = f"{module}#{number}"
        return name

    def _begin(self, name: str, call: Call, reach: int) -> Batch:
        """The batch that this forward extends, or a new one."""
        size, n_queries, n_keys = call.q.shape[0], call.q.shape[2], call.k.shape[2]
        if self.past:
            return self._extended(name, call, [b for b in self._batches if b.length == self.past], self.past)
        if n_keys == n_queries or 0 < reach <= n_queries:
            # All keys are the queries' own; or a preallocated cache, of which nothing else is read.
            return Batch(size)
        if not self._batches:
            raise RecordError(_odd_beginning(call))
        # A preallocated cache may be longer than the sequence, a sliding one shorter.
        known = [b for b in self._batches if b.length + n_queries >= reach]
        return self._extended(name, call, known, n_keys - n_queries)

    def _extended(self, name: str, call: Call, candidates: list[Batch], past: int) -> Batch:
        n_queries, n_keys = call.q.shape[2], call.k.shape[2]
        candidates = [b for b in candidates if b.size == call.q.shape[0] and name in b.layers]
        changed: str | None = None
        for batch in reversed(candidates):
            shift = max(batch.length + n_queries - n_keys, 0)
            kept = batch.layers[name].prints[:, shift:]
            again = fingerprint(call.k[:, :, : batch.length - shift])
            if torch.equal(kept, again):
                return batch
            changed = changed or _changed(call.module, kept, again, shift)
        if changed is not None:
            raise RecordError(changed)
        longest = max((b.length for b in self._batches), default=0)
        raise RecordError(
            f"{call.module}: the cache holds {past} positions, and no sequence of {past} was recorded "
            f"(the longest has {longest}); begin recording before the prompt is read, and do not roll a "
            "cache back"
        )


def fingerprint(key: torch.Tensor) -> torch.Tensor:
    """A number per position that changes with any bit of its keys: int64 [B, n] of [B, Hkv, n, D].

    A sum of bit patterns times random odd numbers, in whole numbers: exact, and the same whatever order it is
    summed in.
    """
    batch, heads, length, dim = key.shape
    words = dim * key.element_size() % 4 == 0  # whole 32-bit words: no bits need widening
    weights = _weights(heads, dim * key.element_size() // 4 if words else dim).to(key.device)
    step = max(1, _PRINTED // max(batch * heads * dim, 1))
    parts = [torch.empty(batch, 0, dtype=torch.int64, device=key.device)]
    for first in range(0, length, step):
        part = key[:, :, first : first + step].detach().contiguous()
        bits = part.view(torch.int32) if words else part.view(_BITS[key.element_size()]).to(torch.int32)
        parts.append((bits * weights).sum((1, 3), dtype=torch.int64))
    return torch.cat(parts, 1)


@lru_cache(maxsize=16)
def _weights(heads: int, dim: int) -> torch.Tensor:
    source = torch.Generator("cpu").manual_seed(
        heads * 1_000_003 + dim
    )  # the global generator is the model's
    drawn = torch.randint(-(2**30), 2**30, (heads, 1, dim), generator=source, device="cpu") * 2 + 1
    return drawn.to(torch.int32)


def _reach(spans: Spans) -> int:
    return int(spans.stops.max()) if len(spans.stops) else 0


def _odd_beginning(call: Call) -> str:
    return (
        f"{call.module}: {call.q.shape[2]} queries meet {call.k.shape[2]} keys in a forward that begins a "
        "sequence; only self-attention can be recorded, with a cache that was empty when recording began"
    )


def _changed(module: str, kept: torch.Tensor, again: torch.Tensor, shift: int) -> str:
    rows, columns = (kept != again).nonzero(as_tuple=True)
    where = f"position {int(columns[0]) + shift}" + (
        f" of sequence {int(rows[0])}" if kept.shape[0] > 1 else ""
    )
    return (
        f"{module}: the cache hands in another key for {where} than the one recorded; it was reordered (beam "
        "search), cropped, quantised or rotated, made anew from latents with other rounding, or belongs to "
        "another sequence; "
        "such keys cannot be recorded once"
    )


def _same(module: str, one: LayerGrowth, other: LayerGrowth) -> None:
    for what in ("scale", "softcap"):
        if getattr(one, what) != getattr(other, what):
            raise RecordError(
                f"{module}: its {what} went from {getattr(one, what)} to {getattr(other, what)} within one "
                "sequence; a tape holds one per layer"
            )
    if (one.sinks is None) != (other.sinks is None) or (
        one.sinks is not None and other.sinks is not None and not torch.equal(one.sinks, other.sinks)
    ):
        raise RecordError(f"{module}: its sinks changed within one sequence; a tape holds one set per layer")
    if (one.alibi is None) != (other.alibi is None):
        raise RecordError(f"{module}: it has ALiBi in some forwards of one sequence and none in others")
