"""The lesson: for each query, the products a pattern computes, the ones it does not, and why not.

>>> lesson = explain("the cat sat on", "causal & window(2)")
>>> row = lesson.row(2)
>>> row.keys, row.products()
([1, 2], 'q2·k1 q2·k2')
>>> [str(reason) for reason in row.reasons]
['k3 comes after q2', 'k0 is outside the window of 2']
>>> lesson.computed, lesson.forbidden
(7, 9)

A lesson is data; `str(lesson)` is its plain text, `lesson.to_dict()` its JSON. Queries and keys are called
by their position: where there are fewer queries than keys, the queries are the last positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lookbehind import checks
from lookbehind.errors import InputError
from lookbehind.grammar import parse
from lookbehind.pattern import Causal, Full, Pattern
from lookbehind.reasons import Intervals, Reason, complement, keys_in, meaning, reasons, spelled
from lookbehind.spans import Spans

TILE = 64  # the side of a tile that a skipping kernel visits, for the figure of what it wastes
LONGEST = 2**21  # tokens; beyond, a lesson is a wait
LISTED = 4_000_000  # products that one answer writes out
SHORT = 16  # products that a line writes out before it turns to intervals


def explain(
    source: Any,
    pattern: Pattern | str | None = None,
    *,
    queries: int | None = None,
    split: Callable[[str], Sequence[str]] = str.split,
    layer: int = 0,
    head: int = 0,
) -> Lesson:
    """The products of a text, of a number of tokens, or of a recorded tape.

    Args:
        source: a text; a list of tokens; a number of tokens; or a tape.
        pattern: a pattern or its text; causal unless given. A tape knows its own.
        queries: how many queries, the last positions; as many as tokens unless given. 1 is a decode step.
        split: how a text becomes tokens; at white space unless given.
        layer, head: whose scores and weights, for a tape.

    Raises:
        InputError: a length, a layer or a head that does not exist.
    """
    if hasattr(source, "layers"):
        if pattern is not None or queries is not None:
            raise InputError("explain: a tape knows its pattern and its queries; leave both out")
        return _of_tape(source, layer, head)
    tokens: tuple[str, ...] | None = None
    if not callable(split):  # pyright: ignore[reportUnnecessaryComparison]
        raise InputError(f"split: a function from a text to tokens is needed; got {checks.shown(split)}")
    if isinstance(source, str):
        tokens = tuple(split(source))
    elif isinstance(source, (list, tuple)):
        tokens = tuple(str(token) for token in cast("Sequence[Any]", source))
    n = checks.integer(source) if tokens is None else len(tokens)
    if n is None:
        raise InputError(
            "explain: a text, a list of tokens, a number of tokens or a tape is needed; "
            f"got {checks.shown(source)}"
        )
    if n < 1:
        raise InputError(f"explain: at least 1 token is needed to have a product; got {n}")
    if n > LONGEST:
        raise InputError(
            f"explain: {n:,} tokens are too many for a lesson, which goes up to {LONGEST:,}; "
            "count them with pattern.spans(n).count()"
        )
    queries = n if queries is None else checks.whole("queries", queries, 1, n)
    if not isinstance(pattern, Pattern):
        pattern = Causal() if pattern is None else parse(pattern)
    return Lesson(pattern.spans(queries, n), pattern, tokens)


@dataclass(frozen=True)
class Lesson:
    """What `explain` says, as data.

    Attributes:
        spans: which products are computed.
        pattern: the rule they follow; None if a tape's spans follow none that has a name.
        tokens: one per position, or None.
        recorded: where scores and weights come from, or None.
    """

    spans: Spans
    pattern: Pattern | None
    tokens: tuple[str, ...] | None = None
    recorded: Recorded | None = None

    @property
    def queries(self) -> range:
        """The positions of the queries."""
        return range(self.spans.offset, self.spans.offset + self.spans.n_queries)

    @property
    def computed(self) -> int:
        """How many products the pattern computes."""
        return self.spans.count()

    @property
    def dense(self) -> int:
        """How many products a dense kernel computes: every query with every key."""
        return self.spans.n_queries * self.spans.n_keys

    @property
    def forbidden(self) -> int:
        """How many products are never computed."""
        return self.dense - self.computed

    def row(self, query: int) -> Row:
        """Everything about the query at position `query`."""
        if checks.integer(query) not in self.queries:
            raise InputError(
                f"query {query}: there are {len(self.queries)} queries; "
                f"they are q{self.queries[0]} to q{self.queries[-1]}"
            )
        row = query - self.spans.offset
        computed = tuple(self.spans.intervals(row))
        forbidden = complement(computed, self.spans.n_keys)
        scores, weights = (None, None) if self.recorded is None else self.recorded.row(row, computed)
        return Row(
            query=query,
            token=self.tokens[query] if self.tokens and 0 <= query < len(self.tokens) else None,
            computed=computed,
            forbidden=forbidden,
            reasons=reasons(self.pattern, query, forbidden, self.spans.n_keys),
            scores=scores,
            weights=weights,
        )

    def rows(self, queries: Iterable[int] | None = None) -> Iterator[Row]:
        """The rows of some queries, or of all."""
        return (self.row(query) for query in (self.queries if queries is None else queries))

    def says(self) -> str:
        """The rule in one sentence."""
        if self.pattern is None:
            return "Each query reads the keys that its mask allows; the mask is no pattern with a name."
        if self.pattern == Full():
            return "Every query reads every key."
        if self.pattern == ~Full():
            return "No query reads any key."
        return f"Query i reads the keys {meaning(self.pattern)}."

    def sums(self) -> str:
        """How the count comes about: one term per query."""
        n, counts = self.spans.n_queries, self.spans.row_counts()
        shown = [f"{count:,}" for count in (counts if n <= 10 else [*counts[:3], counts[-1]])]
        terms = " + ".join([*shown[:3], "…", shown[-1]] if n > 10 else shown)
        if self.pattern == Causal() and n == self.spans.n_keys and n > 1:
            return f"{terms} = n(n + 1)/2 = {n:,}·{n + 1:,}/2 = {self.computed:,}"
        return f"{terms} = {self.computed:,}" if n > 1 else terms

    def costs(self) -> dict[str, Any]:
        """What two kernels compute for these products: a dense one, and one that skips empty tiles."""
        blocks = self.spans.blocks(TILE, TILE)
        return {
            "dense": {"products": self.dense, "wasted": self.forbidden / self.dense if self.dense else 0.0},
            "tiles": {
                "side": TILE,
                "visited": blocks.visited.count(),
                "total": blocks.visited.n_queries * blocks.visited.n_keys,
                "products": blocks.computed(),
                "wasted": blocks.wasted(),
            },
        }

    def to_dict(self, queries: Iterable[int] | None = None) -> dict[str, Any]:
        """The lesson as JSON, with the full lists of some queries, or of all.

        Raises:
            InputError: the lists would be longer than anyone reads; ask for some queries.
        """
        chosen = list(self.queries if queries is None else queries)
        if len(chosen) * self.spans.n_keys > LISTED:
            raise InputError(
                f"explain: {len(chosen):,} queries over {self.spans.n_keys:,} keys are "
                f"{len(chosen) * self.spans.n_keys:,} products to list, more than {LISTED:,}; "
                "ask for some queries (--query)"
            )
        recorded = self.recorded
        return {
            "pattern": None if self.pattern is None else str(self.pattern),
            "says": self.says(),
            "n_queries": self.spans.n_queries,
            "n_keys": self.spans.n_keys,
            "offset": self.spans.offset,
            "tokens": None if self.tokens is None else list(self.tokens),
            "computed": self.computed,
            "forbidden": self.forbidden,
            "sum": self.sums(),
            **self.costs(),
            **({} if recorded is None else {"layer": recorded.layer, "head": recorded.head}),
            "queries": [row.to_dict() for row in self.rows(chosen)],
        }

    def __str__(self) -> str:
        """Heading, picture, products and counts; rows in the middle of a long lesson are left out."""
        all_queries = self.queries
        shown = list(all_queries) if len(all_queries) <= SHORT else [*all_queries[:4], *all_queries[-4:]]
        lines = [f"{self.pattern or 'no named pattern'}: {self.says()}", "", str(self.spans), ""]
        for before, row in zip([None, *shown], self.rows(shown), strict=False):
            if before is not None and row.query != before + 1:
                lines.append("…")
            lines.append(f"q{row.query}: {row.products()}")
        return "\n".join([*lines, "", f"computed {self.sums()}", f"never    {self.forbidden:,}"])


@dataclass(frozen=True)
class Recorded:
    """One head of one layer of a tape: where a lesson takes scores and weights from."""

    tape: Any
    layer: int
    head: int

    def row(self, row: int, computed: Intervals) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The scores and the weights of one query, for the keys it reads, in their order."""
        keys = keys_in(computed)
        scores, weights = (
            tuple(_numbers(values).reshape(-1)[keys].tolist())
            for values in (
                self.tape.scores(self.layer, self.head, row),
                self.tape.weights(self.layer, self.head, row),
            )
        )
        return scores, weights


@dataclass(frozen=True)
class Row:
    """One query: the keys it reads, those it does not, and why; scores and weights where recorded."""

    query: int
    token: str | None
    computed: Intervals
    forbidden: Intervals
    reasons: tuple[Reason, ...]
    scores: tuple[float, ...] | None = None
    weights: tuple[float, ...] | None = None

    @property
    def keys(self) -> list[int]:
        """Every key read, ascending."""
        return keys_in(self.computed)

    @property
    def count(self) -> int:
        """How many products this query takes."""
        return sum(stop - start for start, stop in self.computed)

    def products(self, short: int = SHORT) -> str:
        """The products by name, or by intervals where there are more than `short`."""
        if not self.count:
            return "none: the output here is 0"
        if self.count <= short:
            return " ".join(f"q{self.query}·k{key}" for key in self.keys)
        return f"{spelled(self.computed)}  ({self.count:,} products)"

    def to_dict(self) -> dict[str, Any]:
        """This query as JSON, every key listed."""
        found: dict[str, Any] = {
            "query": self.query,
            "token": self.token,
            "computed": self.keys,
            "forbidden": keys_in(self.forbidden),
            "reasons": [{"keys": keys_in(reason.keys), "reason": str(reason)} for reason in self.reasons],
        }
        if self.scores is not None and self.weights is not None:
            found |= {"scores": list(self.scores), "weights": list(self.weights)}
        return found


def _numbers(values: Any) -> NDArray[np.float64]:
    """A row of a tape, a tensor on whatever device, told without importing torch."""
    return np.asarray(values.double().cpu() if hasattr(values, "cpu") else values, dtype=np.float64)


def _of_tape(tape: Any, layer: int, head: int) -> Lesson:
    layer = checks.one_of("layer", layer, len(tape.layers), from_last=True)
    recorded = tape.layers[layer]
    head = checks.one_of("head", head, int(recorded.q.shape[0]), from_last=True)
    tokens = None if tape.tokens is None else tuple(tape.tokens)
    return Lesson(recorded.spans, recorded.spans.pattern(), tokens, Recorded(tape, layer, head))
