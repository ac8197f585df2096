"""The oracle of patterns: every definition as a plain question about one pair (i, j), cell by cell."""

import numpy as np
from hypothesis import strategies as st

from lookbehind.pattern import (
    And,
    Causal,
    Chunk,
    Diagonal,
    Documents,
    First,
    Full,
    Not,
    Or,
    Pattern,
    Window,
)


def allowed(pattern: Pattern, i: int, j: int) -> bool:
    match pattern:
        case Causal():
            return j <= i
        case Full():
            return True
        case Window(size):
            return abs(i - j) < size
        case First(count):
            return j < count
        case Chunk(size):
            return i // size == j // size
        case Diagonal(distance):
            return i - j == distance
        case Documents(lengths):
            names = [name for name, length in enumerate(lengths) for _ in range(length)]
            return i >= 0 and names[i] == names[j]
        case And(parts):
            return all(allowed(part, i, j) for part in parts)
        case Or(parts):
            return any(allowed(part, i, j) for part in parts)
        case Not(part):
            return not allowed(part, i, j)
    raise AssertionError(f"the oracle does not know {pattern!r}")


def mask(pattern: Pattern, n_queries: int, n_keys: int, offset: int) -> np.ndarray:
    cells = [[allowed(pattern, offset + r, j) for j in range(n_keys)] for r in range(n_queries)]
    return np.array(cells, dtype=bool).reshape(n_queries, n_keys)


LONGEST = 60  # documents reach at least this far, beyond every position the strategies ask for


def _documents(lengths: list[int]) -> Documents:
    return Documents([*lengths, max(1, LONGEST - sum(lengths))])


primitives = st.one_of(
    st.just(Causal()),
    st.just(Full()),
    st.integers(1, 12).map(Window),
    st.integers(0, 12).map(First),
    st.integers(1, 12).map(Chunk),
    st.integers(-10, 10).map(Diagonal),
    st.lists(st.integers(1, 6), min_size=1, max_size=4).map(_documents),
)
patterns = st.recursive(
    primitives,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: two[0] & two[1]),
        st.tuples(inner, inner).map(lambda two: two[0] | two[1]),
        inner.map(lambda one: ~one),
    ),
    max_leaves=5,
)
lengths = st.tuples(
    st.integers(0, 12), st.integers(0, 12), st.one_of(st.none(), st.integers(-8, 20))
)  # n_queries, n_keys, offset


@st.composite
def masks(draw: st.DrawFn, n_queries: int | None = None, n_keys: int | None = None) -> np.ndarray:
    rows = draw(st.integers(0, 9)) if n_queries is None else n_queries
    columns = draw(st.integers(0, 9)) if n_keys is None else n_keys
    cells = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    return np.array(cells, dtype=bool).reshape(rows, columns)
