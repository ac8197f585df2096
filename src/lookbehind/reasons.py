"""Reasons: in words, what a pattern reads, and why it computes one product and not another.

>>> meaning(Causal() & Window(2))
'at or before its own position and less than 2 positions away'
>>> print(why(Causal() & Window(2), query=3, key=4, n_keys=6))
k4 comes after q3
>>> print(*reasons(Causal() & Window(2), 3, ((0, 2), (4, 6)), n_keys=6), sep="; ")
k4 and k5 come after q3; k0 and k1 are outside the window of 2
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from lookbehind.pattern import And, Causal, Chunk, Diagonal, Documents, First, Full, Not, Or, Pattern, Window

Intervals = tuple[tuple[int, int], ...]
Leaves = dict[Pattern, list[tuple[int, int]]]  # the keys that each primitive of a pattern allows one query

_PLURAL = {"comes": "come", "is": "are", "lies": "lie"}


@dataclass(frozen=True)
class Reason:
    """Why some keys are, or are not, read: `k4 and k5 come after q3`."""

    keys: Intervals
    clauses: tuple[tuple[str, str], ...]  # (verb in the singular, the rest)

    def __str__(self) -> str:
        one = sum(stop - start for start, stop in self.keys) == 1
        said: list[str] = []
        before = ""
        for verb, rest in self.clauses:  # a verb is not said twice running
            said.append(rest if verb == before else f"{verb if one else _PLURAL[verb]} {rest}")
            before = verb
        return f"{spelled(self.keys, last=' and ')} {' and '.join(said)}"


def why(pattern: Pattern | None, query: int, key: int, n_keys: int) -> Reason:
    """Why the pattern computes q_query·k_key, or why it does not."""
    return Reason(((key, key + 1),), _clauses(pattern, query, key, _leaves(pattern, query, n_keys)))


def reasons(pattern: Pattern | None, query: int, forbidden: Intervals, n_keys: int) -> tuple[Reason, ...]:
    """Why the pattern forbids these keys: one reason for all the keys that share it."""
    leaves = _leaves(pattern, query, n_keys)
    edges = {edge for intervals in leaves.values() for interval in intervals for edge in interval}
    grouped: dict[tuple[tuple[str, str], ...], list[tuple[int, int]]] = {}
    # Between two edges no part of the pattern changes its mind, so one key speaks for all. Keys ahead come
    # first: that is the rule that makes a decoder.
    pieces = [piece for start, stop in forbidden for piece in pairwise(_cut(start, stop, edges))]
    for start, stop in sorted(pieces, key=lambda piece: (piece[0] <= query, piece)):
        runs = grouped.setdefault(_clauses(pattern, query, start, leaves), [])
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return tuple(Reason(tuple(sorted(runs)), clauses) for clauses, runs in grouped.items())


def meaning(pattern: Pattern) -> str:
    """A pattern in words: which keys query i reads."""
    match pattern:
        case Causal():
            return "at or before its own position"
        case Full():
            return "at every position"
        case Window(size):
            return f"less than {size:,} position{'s' * (size > 1)} away"
        case First(count):
            return _first(count)
        case Chunk(size):
            return f"in its own chunk of {size:,} positions"
        case Documents():
            return "in its own document"
        case Diagonal(distance):
            return _place(distance, "its own", "its own position")
        case And(parts):
            return " and ".join(f"({meaning(p)})" if isinstance(p, Or) else meaning(p) for p in parts)
        case Or(parts):
            return " or ".join(meaning(part) for part in parts)
        case Not(part):
            return f"not ({meaning(part)})" if isinstance(part, (And, Or)) else f"not {meaning(part)}"
        case _:
            return f"of {pattern}"


def _clauses(pattern: Pattern | None, query: int, key: int, leaves: Leaves) -> tuple[tuple[str, str], ...]:
    if pattern is None:
        return (("is", "not allowed by the mask"),)
    allowed = _allows(pattern, key, leaves)
    match pattern:
        case And(parts) | Or(parts):
            # What decides is any one part that stands alone against (or for) the key, or else all of them.
            deciding = [part for part in parts if _allows(part, key, leaves) == allowed]
            alone = isinstance(pattern, Or) == allowed
            found = [_clauses(part, query, key, leaves) for part in (deciding[:1] if alone else parts)]
            return tuple(clause for clauses in found for clause in clauses)
        case Not(Full()):
            return (("is", f"left out: {pattern} takes no key"),)
        case Not(part):
            *others, (verb, rest) = _clauses(part, query, key, leaves)
            return (*others, (verb, rest if allowed else f"{rest}, which {pattern} leaves out"))
        case Causal():
            return (("lies", f"at or before q{query}") if allowed else ("comes", f"after q{query}"),)
        case Full():
            return (("is", "a key"),)
        case Window(size):
            return (("is", f"{'inside' if allowed else 'outside'} the window of {size:,}"),)
        case First(count):
            return (("is", f"{'' if allowed else 'not '}{_first(count)}"),)
        case Chunk(size):
            return (("lies", f"in {f'the chunk of q{query}' if allowed else f'another chunk of {size:,}'}"),)
        case Documents():
            return (("lies", f"in {f'the document of q{query}' if allowed else 'another document'}"),)
        case Diagonal(distance):
            return (("is", f"{'' if allowed else 'not '}{_place(distance, f'q{query}', f'q{query}')}"),)
        case _:
            return (("is", f"{'' if allowed else 'not '}allowed by {pattern}"),)


def _place(distance: int, far: str, near: str) -> str:
    if distance == 0:
        return f"at {near}"
    steps = f"{abs(distance):,} position{'s' * (abs(distance) > 1)}"
    return f"{steps} {'before' if distance > 0 else 'after'} {far}"


def _first(count: int) -> str:
    return "the first key" if count == 1 else f"among the first {count:,} keys"


def _leaves(pattern: Pattern | None, query: int, n_keys: int) -> Leaves:
    return {leaf: leaf.spans(1, n_keys, query).intervals(0) for leaf in _primitives(pattern)}


def _primitives(pattern: Pattern | None) -> Iterator[Pattern]:
    match pattern:
        case None:
            return
        case And(parts) | Or(parts):
            for part in parts:
                yield from _primitives(part)
        case Not(part):
            yield from _primitives(part)
        case _:
            yield pattern


def _allows(pattern: Pattern, key: int, leaves: Leaves) -> bool:
    match pattern:
        case And(parts):
            return all(_allows(part, key, leaves) for part in parts)
        case Or(parts):
            return any(_allows(part, key, leaves) for part in parts)
        case Not(part):
            return not _allows(part, key, leaves)
        case _:
            return any(start <= key < stop for start, stop in leaves[pattern])


def _cut(start: int, stop: int, edges: set[int]) -> list[int]:
    return [start, *sorted(edge for edge in edges if start < edge < stop), stop]


def keys_in(intervals: Iterable[tuple[int, int]]) -> list[int]:
    """The keys of half-open intervals, one by one."""
    return [key for start, stop in intervals for key in range(start, stop)]


def complement(intervals: Intervals, n_keys: int) -> Intervals:
    """The half-open intervals of [0, n_keys) that these ascending ones leave."""
    edges = [0, *(edge for interval in intervals for edge in interval), n_keys]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return tuple((start, stop) for start, stop in gaps if start < stop)


def spelled(intervals: Iterable[tuple[int, int]], last: str = ", ") -> str:
    """Keys by intervals: `k0…k3, k877…k900`."""
    names: list[str] = []
    for start, stop in intervals:
        names += [f"k{key}" for key in range(start, stop)] if stop - start < 3 else [f"k{start}…k{stop - 1}"]
    return ", ".join(names[:-1]) + last + names[-1] if len(names) > 1 else "".join(names)
