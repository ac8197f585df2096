"""Patterns: rules for which query may read which key, as data.

A pattern says, for the query at absolute position i and the key at position j, whether the product q_i.k_j is
computed. It is a frozen value: comparable, hashable, and printed as the text that `lookbehind.parse` reads.

>>> Causal() & (Window(1024) | First(4))
causal & (window(1024) | first(4))
>>> Causal().spans(6).keys(3)
[0, 1, 2, 3]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from lookbehind import checks, line
from lookbehind.errors import PatternError
from lookbehind.line import Ints
from lookbehind.spans import Spans, checked_lengths

if TYPE_CHECKING:
    import torch

# Rows evaluated at a time: the temporaries of an expression stay in cache, and small beside the result.
_ROWS = 1 << 13
_MOST = 10**18  # so that a position plus a size stays within 64 bits
_MOST_KEPT = 1 << 17  # queries: some megabytes
DEPTH = 50  # levels; far beyond any pattern a person writes, and off Python's recursion limit
TOO_DEEP = f"more than {DEPTH} levels of '(' and '~'; write a flatter pattern"


@dataclass(frozen=True)
class Pattern:
    """A rule for which (query position i, key position j) are allowed. Combine with `&`, `|` and `~`."""

    levels = 1  # how deep its text nests: a name, and each "~" and "(" around the innermost one

    def spans(self, n_queries: int, n_keys: int | None = None, offset: int | None = None) -> Spans:
        """This rule at given lengths.

        Args:
            n_queries: number of queries.
            n_keys: number of keys; as many as queries unless given.
            offset: position of the first query; n_keys - n_queries unless given, so that the queries are the
                last positions (bottom-right alignment).

        Raises:
            InputError: lengths are negative or too large to count.
            PatternError: the pattern does not reach these lengths (`documents`).
        """
        lengths = checked_lengths(n_queries, n_keys, offset)
        return self._spans(*lengths) if lengths[0] > _MOST_KEPT else _kept(self, *lengths)

    def _spans(self, n_queries: int, n_keys: int, offset: int) -> Spans:
        pieces: list[tuple[Ints, ...]] = []
        for row in range(0, max(n_queries, 1), _ROWS):
            i = np.arange(row, min(row + _ROWS, n_queries), dtype=np.int64) + offset
            pieces.append(line.row_counts(self._line(i, n_keys), len(i), n_keys))
        columns = list(zip(*pieces, strict=True))
        del pieces  # each column is freed as soon as it is joined: the peak is what counts at a million rows
        stops, starts, counts = (np.concatenate(columns.pop()) for _ in range(3))
        return Spans.from_counts(counts, starts, stops, n_keys, offset)

    def to_flex_mask_mod(self, offset: int = 0) -> Callable[..., torch.Tensor]:
        """This rule as FlexAttention's mask_mod(batch, head, q_idx, kv_idx).

        FlexAttention numbers queries from 0: give `offset` = n_keys - n_queries where they are the last ones.
        """
        offset = checks.whole("offset", offset)

        def mask_mod(batch: Any, head: Any, q_idx: torch.Tensor, kv_idx: torch.Tensor) -> torch.Tensor:
            return self._allowed(q_idx + offset, kv_idx)

        return mask_mod

    def to_sdpa_mask(
        self,
        n_queries: int,
        n_keys: int | None = None,
        offset: int | None = None,
        device: torch.device | str | None = None,
    ) -> torch.Tensor:
        """This rule as the dense `attn_mask` of scaled_dot_product_attention: bool [n_queries, n_keys].

        For lengths at which n_queries x n_keys bytes are affordable.
        """
        import torch

        at = checks.device("cpu" if device is None else device)
        return torch.from_numpy(self.spans(n_queries, n_keys, offset).mask()).to(at)

    def __and__(self, other: Pattern) -> Pattern:
        return chained(And, self, other)

    def __or__(self, other: Pattern) -> Pattern:
        return chained(Or, self, other)

    def __invert__(self) -> Pattern:
        return Not(self)

    def __str__(self) -> str:
        return repr(self)

    # A primitive is one interval of keys per query. These two say the same thing, once for arrays of
    # positions and once for tensors; a test holds them equal.

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        raise NotImplementedError

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _line(self, i: Ints, n_keys: int) -> line.Line:
        """The keys of the queries at positions i, laid out as one line of rows."""
        starts, stops = self._bounds(i, n_keys)
        first = np.arange(len(i), dtype=np.int64) * (n_keys + 1)
        # Not np.clip: for one query, as in decoding, that takes longer than all else here.
        starts, stops = (np.minimum(np.maximum(ends, 0), n_keys) + first for ends in (starts, stops))
        kept = starts < stops
        return (starts, stops) if kept.all() else (starts[kept], stops[kept])


@dataclass(frozen=True, repr=False)
class Causal(Pattern):
    """j <= i: a query reads itself and what came before. What a decoder computes."""

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        return np.zeros_like(i), i + 1

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return j <= i

    def __repr__(self) -> str:
        return "causal"


@dataclass(frozen=True, repr=False)
class Full(Pattern):
    """Every pair: what an encoder computes."""

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        return np.zeros_like(i), np.full_like(i, n_keys)

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (i == i) & (j == j)

    def __repr__(self) -> str:
        return "full"


@dataclass(frozen=True, repr=False)
class Window(Pattern):
    """|i - j| < size: keys nearer than `size` positions on either side; `causal & window(4)` is 4 keys."""

    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _size("window size", self.size, 1))

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        return i - (self.size - 1), i + self.size

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (i - j < self.size) & (j - i < self.size)

    def __repr__(self) -> str:
        return f"window({self.size})"


@dataclass(frozen=True, repr=False)
class First(Pattern):
    """j < count: the first keys (attention sinks; a prefix, as in `causal | first(p)`)."""

    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", _size("first count", self.count, 0))

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        return np.zeros_like(i), np.full_like(i, min(self.count, n_keys))

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (i == i) & (j < self.count)

    def __repr__(self) -> str:
        return f"first({self.count})"


@dataclass(frozen=True, repr=False)
class Chunk(Pattern):
    """i // size == j // size: query and key lie in the same chunk of `size` positions (Llama 4)."""

    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _size("chunk size", self.size, 1))

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        start = i // self.size * self.size
        return start, start + self.size

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return i.div(self.size, rounding_mode="floor") == j.div(self.size, rounding_mode="floor")

    def __repr__(self) -> str:
        return f"chunk({self.size})"


@dataclass(frozen=True, repr=False)
class Documents(Pattern):
    """Query and key lie in the same document; documents of these lengths are packed end to end."""

    lengths: tuple[int, ...]

    def __init__(self, lengths: Iterable[int]) -> None:
        try:
            several = [*lengths]
        except TypeError:
            raise PatternError(
                f"documents: lengths are needed, as in documents(3, 5); got {checks.shown(lengths)}"
            ) from None
        if not several:
            raise PatternError("documents: at least one length is needed, as in documents(3, 5)")
        whole = tuple(_size("documents length", length, 1) for length in several)
        _size("documents sum of lengths", sum(whole), 1)
        object.__setattr__(self, "lengths", whole)

    @cached_property
    def _edges(self) -> Ints:
        return np.cumsum((0, *self.lengths), dtype=np.int64)

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        edges = self._edges
        beyond = max(n_keys, int(i[-1]) + 1 if len(i) else 0)
        if beyond > edges[-1]:
            raise PatternError(
                f"documents: the lengths add up to {edges[-1]} positions, but {beyond} were asked for; "
                "add the missing documents"
            )
        inside = i >= 0
        found = np.searchsorted(edges, np.where(inside, i, 0), side="right")
        return edges[found - 1], np.where(inside, edges[found], 0)

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        import torch

        names = torch.arange(len(self.lengths)).repeat_interleave(torch.tensor(self.lengths)).to(i.device)
        return (i >= 0) & (names[i.clamp(min=0)] == names[j])

    def __repr__(self) -> str:
        return f"documents({', '.join(map(str, self.lengths))})"


@dataclass(frozen=True, repr=False)
class Diagonal(Pattern):
    """j == i - distance: 0 is the token itself, 1 the previous token, -1 the next."""

    distance: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "distance", _size("diagonal distance", self.distance, -_MOST))

    def _bounds(self, i: Ints, n_keys: int) -> tuple[Ints, Ints]:
        return i - self.distance, i - self.distance + 1

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return j == i - self.distance

    def __repr__(self) -> str:
        return f"diagonal({self.distance})"


@dataclass(frozen=True, repr=False)
class And(Pattern):
    """Allowed where every part allows it. Written `a & b`."""

    parts: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        _nest(self, max(part.levels + isinstance(part, Or) for part in self.parts))

    def _line(self, i: Ints, n_keys: int) -> line.Line:
        return line.all_of([part._line(i, n_keys) for part in self.parts])

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return reduce(lambda a, b: a & b, (part._allowed(i, j) for part in self.parts))

    def __repr__(self) -> str:
        return " & ".join(f"({part})" if isinstance(part, Or) else str(part) for part in self.parts)


@dataclass(frozen=True, repr=False)
class Or(Pattern):
    """Allowed where any part allows it. Written `a | b`; binds weaker than `&`."""

    parts: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        _nest(self, max(part.levels for part in self.parts))

    def _line(self, i: Ints, n_keys: int) -> line.Line:
        return line.any_of([part._line(i, n_keys) for part in self.parts])

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return reduce(lambda a, b: a | b, (part._allowed(i, j) for part in self.parts))

    def __repr__(self) -> str:
        return " | ".join(str(part) for part in self.parts)


@dataclass(frozen=True, repr=False)
class Not(Pattern):
    """Allowed where the part forbids it. Written `~a`."""

    part: Pattern

    def __post_init__(self) -> None:
        _nest(self, self.part.levels + 1 + isinstance(self.part, (And, Or)))

    def _line(self, i: Ints, n_keys: int) -> line.Line:
        return line.none_of(self.part._line(i, n_keys), len(i), n_keys)

    def _allowed(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return ~self.part._allowed(i, j)

    def __repr__(self) -> str:
        return f"~({self.part})" if isinstance(self.part, (And, Or)) else f"~{self.part}"


# Layers ask for the same table one after another, and making one takes longer than a window's products.
@lru_cache(maxsize=16)
def _kept(pattern: Pattern, n_queries: int, n_keys: int, offset: int) -> Spans:
    return pattern._spans(n_queries, n_keys, offset)  # pyright: ignore[reportPrivateUsage]


def chained(kind: type[And] | type[Or], *patterns: Pattern) -> Pattern:
    """One chain of the parts of all, so that (a & b) & c and a & (b & c) are the same value."""
    for pattern in patterns:
        if not isinstance(pattern, Pattern):
            raise PatternError(
                f"pattern: only patterns combine; got {type(pattern).__name__} {checks.shown(pattern)}"
            )
    return kind(tuple(p for one in patterns for p in (one.parts if isinstance(one, kind) else (one,))))


def _nest(pattern: Pattern, levels: int) -> None:
    if levels > DEPTH:  # its text would not be read again
        raise PatternError(f"pattern: {TOO_DEEP}")
    object.__setattr__(pattern, "levels", levels)


def _size(name: str, value: object, least: int) -> int:
    return checks.whole(name, value, least, _MOST, PatternError)
