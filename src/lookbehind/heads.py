"""Heads: what each head of a recorded model does, in a handful of numbers.

Every number but the max score is a mean over queries of something exact about the query's row of weights
p_ij. A query with one visible key has no choice (its weight is 1 there), so only queries with at least two
visible keys count.

- **entropy**: -sum_j p_ij ln p_ij in nats; **relative entropy**: that over ln(number of visible keys),
  ln(i + 1) in a causal layer, so that 1 is an even look at everything visible. Vig & Belinkov, "Analyzing the
  Structure of Attention in a Transformer Language Model" (arXiv 1906.04284).
- **distance**: sum_j p_ij |i - j|, the expected distance looked back (the same paper).
- **sink**: the weight on key 0. Xiao et al., "Efficient Streaming Language Models with Attention Sinks"
  (arXiv 2309.17453); Gu et al., "When Attention Sink Emerges in Language Models" (arXiv 2410.10781).
- **previous**: the weight on key i - 1, the previous token.
- **duplicate**: the weight on earlier keys whose token is the query's own.
- **induction**: the weight on keys whose *previous* token is the query's own and which lie before the query:
  the prefix-matching score of Olsson et al., "In-context Learning and Induction Heads" (arXiv 2209.11895).
  They measure it on repeated random tokens; on other text it is the same weight, on the repeats there are.
- **max score**: the largest score s_ij = scale * q_i.k_j before the softmax.

The last four kinds of weight are averaged over the queries that may read at least one such key: a sliding
window that has moved past key 0 has no sink to look at, and a token seen for the first time no duplicate.
A number that no query counts for is None.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookbehind import checks
from lookbehind.errors import InputError
from lookbehind.pattern import Diagonal, First
from lookbehind.spans import Ints, Spans

if TYPE_CHECKING:
    from lookbehind.tape import Layer, Tape

# A token-dependent mass has an interval per pair of equal tokens. Rows are observed so many pairs at a time,
# which bounds the memory for texts of a few tokens repeated without end.
_MOST_PAIRS = 1 << 22


@dataclass(frozen=True)
class Head:
    """One head's numbers; the module's docstring defines them.

    Attributes:
        layer, head: which head.
        pattern: which products its layer computes.
        entropy, relative_entropy, distance: how widely and how far it looks.
        sink, previous, duplicate, induction: mean weight on those keys, 0 to 1, or None.
        max_score: largest score before the softmax.
    """

    layer: int
    head: int
    pattern: str
    entropy: float | None
    relative_entropy: float | None
    distance: float | None
    sink: float | None
    previous: float | None
    duplicate: float | None
    induction: float | None
    max_score: float | None


COLUMNS = tuple(field.name for field in fields(Head))


@dataclass(frozen=True)
class HeadTable:
    """The heads of a tape, in the order of layers unless sorted."""

    heads: tuple[Head, ...]

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Head]:
        return iter(self.heads)

    def __getitem__(self, index: int) -> Head:
        return self.heads[index]

    def sorted(self, by: str, descending: bool = True) -> HeadTable:
        """The same heads by one column; heads without that number come last.

        Raises:
            InputError: there is no such column.
        """
        if by not in COLUMNS:
            raise InputError(f"heads: there is no column {by!r}; sort by one of {', '.join(COLUMNS)}")
        known = [head for head in self.heads if _known(getattr(head, by))]
        known.sort(key=lambda head: getattr(head, by), reverse=descending)
        return HeadTable((*known, *(head for head in self.heads if not _known(getattr(head, by)))))

    def top(self, count: int) -> HeadTable:
        """The first `count` heads.

        Raises:
            InputError: count is less than 1.
        """
        return HeadTable(self.heads[: checks.whole("top", count, 1)])

    def most(self, measure: str) -> Head | None:
        """The head with the largest number in a column, or None if no head has one."""
        found = self.sorted(measure).heads
        return found[0] if found and _known(getattr(found[0], measure)) else None

    def to_dict(self) -> list[dict[str, Any]]:
        """Rows as plain dictionaries; a number that is not finite is None, as JSON has none."""
        return [
            {name: value if _known(value) else None for name, value in asdict(head).items()}
            for head in self.heads
        ]

    def to_json(self) -> str:
        """Rows as a JSON array of objects."""
        return json.dumps(self.to_dict(), indent=2)

    def to_csv(self) -> str:
        """Rows as CSV with a header; a number that is None is an empty field."""
        room = io.StringIO()
        writer = csv.DictWriter(room, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.to_dict())
        return room.getvalue()

    def __str__(self) -> str:
        """A plain table."""
        rows = [list(COLUMNS), *([cell(getattr(head, name)) for name in COLUMNS] for head in self.heads)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
        return "\n".join(
            "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows
        )


def _known(value: object) -> bool:
    """Whether it can be ordered and written: queries and keys that are not finite leave no such number."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def cell(value: object) -> str:
    """A table's cell as text: numbers to three places, None as a dash."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def head_table(tape: Tape) -> HeadTable:
    """The numbers of every recorded head, in one pass over each layer's products.

    Duplicate and induction scores need to know the tokens; without `tape.token_ids` they are None.
    """
    return HeadTable(tuple(head for layer in range(len(tape.layers)) for head in layer_heads(tape, layer)))


def layer_heads(tape: Tape, at: int, parts: Iterable[slice] | None = None) -> Iterator[Head]:
    """The numbers of one layer's heads.

    Args:
        tape: what was recorded.
        at: number of the layer.
        parts: ascending ranges of rows. All rows unless given; with fewer the numbers are those of these
            queries, a sample's.
    """
    layer = tape.layers[at]
    spans = layer.spans
    ids = None if tape.token_ids is None else np.asarray(tape.token_ids, dtype=np.int64)
    looked: list[Ints] = []
    entropy: list[NDArray[np.float64]] = []
    distance: list[NDArray[np.float64]] = []
    top: list[NDArray[np.float64]] = []
    mass: dict[str, list[NDArray[np.float64]]] = {}
    meets: dict[str, list[NDArray[np.bool_]]] = {}
    if parts is None:
        parts, _ = _row_ranges(spans, ids), layer.lse  # which is kept, for whoever looks next
    for rows in parts:
        part = spans.region(rows)
        named = _named(part, ids)
        seen = _observed(layer.part(queries=rows), named)
        looked.append(part.row_counts())
        entropy.append(_array(seen.entropy))
        distance.append(_array(seen.distance))
        top.append(_array(seen.max_score))
        for name, pairs in named.items():
            mass.setdefault(name, []).append(_array(seen.mass[name]))
            meets.setdefault(name, []).append(pairs.row_counts() > 0)
    visible = np.concatenate(looked)
    counts = visible >= 2
    information = np.concatenate(entropy, axis=-1)
    reach = np.concatenate(distance, axis=-1)
    highest = np.max(top, axis=0)
    relative = information / np.log(np.maximum(visible, 2))
    scores = {
        name: (np.concatenate(parts, axis=-1), np.concatenate(meets[name])) for name, parts in mass.items()
    }
    text = spans.describe()
    for head in range(information.shape[0]):
        found = {
            name: _mean(weights[head], counts & possible) for name, (weights, possible) in scores.items()
        }
        yield Head(
            layer=at,
            head=head,
            pattern=text,
            entropy=_mean(information[head], counts),
            relative_entropy=_mean(relative[head], counts),
            distance=_mean(reach[head], counts),
            sink=found["sink"],
            previous=found["previous"],
            duplicate=found.get("duplicate"),
            induction=found.get("induction"),
            max_score=float(highest[head]) if np.isfinite(highest[head]) else None,
        )


def _observed(part: Layer, named: Mapping[str, Spans]) -> Any:
    """One pass over the products of some rows."""
    from lookbehind.attention import observe

    return observe(
        part.q[None],
        part.k[None],
        part.lse[None],
        part.spans,
        **part.parameters(),
        entropy=True,
        distance=True,
        max_score=True,
        mass=dict(named),
    )


def _array(tensor: Any) -> NDArray[np.float64]:
    return tensor[0].double().cpu().numpy()


def _mean(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> float | None:
    return float(values[counted].mean()) if counted.any() else None


def _named(part: Spans, ids: Ints | None) -> dict[str, Spans]:
    """The keys that each score is about, cut to those that the layer computes."""
    lengths = (part.n_queries, part.n_keys, part.offset)
    named = {"sink": First(1).spans(*lengths), "previous": Diagonal(1).spans(*lengths)}
    if ids is not None:
        named["duplicate"] = same_token_spans(ids, part.offset, part.n_queries, part.n_keys)
        named["induction"] = same_token_spans(ids, part.offset, part.n_queries, part.n_keys, shift=1)
    return {name: pairs & part for name, pairs in named.items()}


def same_token_spans(ids: Ints, first: int, n_queries: int, n_keys: int, shift: int = 0) -> Spans:
    """For each query, the earlier keys j whose token at j - shift is the query's own.

    `shift` 0 gives duplicates, 1 the keys that an induction head reads, right after an earlier occurrence.
    Keys lie strictly before the query in both.

    >>> import numpy as np
    >>> same_token_spans(np.array([5, 6, 5, 6]), 0, 4, 4, shift=1).keys(2)
    [1]
    """
    order, begin, earlier = _repeats(ids)
    queries = np.arange(first, first + n_queries)
    begin, earlier = begin[queries], earlier[queries]
    rows = np.repeat(np.arange(n_queries), earlier)
    within = np.arange(int(earlier.sum())) - np.repeat(np.cumsum(earlier) - earlier, earlier)
    keys = order[np.repeat(begin, earlier) + within] + shift
    kept = (keys < queries[rows]) & (keys < n_keys)
    return _from_pairs(rows[kept], keys[kept], n_queries, n_keys, first)


def _repeats(ids: Ints) -> tuple[Ints, Ints, Ints]:
    """Positions in the order of their tokens; and of each position, where its token begins there, and how
    many earlier positions hold the same token: int64 [n] each."""
    order = np.argsort(ids, kind="stable")
    ranked = ids[order]
    begin, earlier = np.empty_like(order), np.empty_like(order)
    begin[order] = np.searchsorted(ranked, ranked)
    earlier[order] = np.arange(len(ids)) - begin[order]
    return order, begin, earlier


def _from_pairs(rows: Ints, keys: Ints, n_queries: int, n_keys: int, offset: int) -> Spans:
    """Spans of pairs that are sorted by row and key; neighbouring keys become one interval."""
    follows = np.zeros(len(keys) + 1, dtype=np.bool_)
    follows[1:-1] = (rows[1:] == rows[:-1]) & (keys[1:] == keys[:-1] + 1)
    opens, closes = ~follows[:-1], ~follows[1:]
    counts = np.bincount(rows[opens], minlength=n_queries)
    return Spans.from_counts(counts, keys[opens], keys[closes] + 1, n_keys, offset)


def _row_ranges(spans: Spans, ids: Ints | None) -> list[slice]:
    """Consecutive rows with at most about `_MOST_PAIRS` pairs of equal tokens each; one range as a rule."""
    if ids is None or not spans.n_queries:
        return [slice(0, spans.n_queries)]
    pairs = np.cumsum(_repeats(ids)[2][spans.offset : spans.offset + spans.n_queries])
    edges = [0]
    while edges[-1] < spans.n_queries:
        done = int(pairs[edges[-1] - 1]) if edges[-1] else 0
        edges.append(max(edges[-1] + 1, int(np.searchsorted(pairs, done + _MOST_PAIRS, side="right"))))
    return [slice(a, min(b, spans.n_queries)) for a, b in pairwise(edges)]
