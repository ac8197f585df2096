import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lookbehind import line

N = 40
intervals = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(1, 9)).map(lambda p: (p[0], min(N, sum(p))))
)


def covered(found: line.Line) -> list[int]:
    return [x for start, stop in zip(*found, strict=True) for x in range(start, stop)]


def arrays(pairs):
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


@given(intervals)
def test_union_is_where_any_lies_joined_as_far_as_it_goes(pairs):
    starts, stops = line.union(*arrays(pairs))
    assert covered((starts, stops)) == sorted({x for a, b in pairs for x in range(a, b)})
    assert (starts[1:] > stops[:-1]).all()


@given(st.lists(intervals, min_size=1, max_size=4))
def test_intersection_is_where_all_lie(sets):
    lines = [line.union(*arrays(pairs)) for pairs in sets]
    common = set.intersection(*({x for a, b in pairs for x in range(a, b)} for pairs in sets))
    starts, stops = line.all_of(lines)
    assert covered((starts, stops)) == sorted(common)
    assert (starts[1:] > stops[:-1]).all()


@given(intervals)
def test_complement_is_the_rest(pairs):
    found = line.union(*arrays(pairs))
    rest = line.none_of(found, 1, N)
    assert sorted(covered(found) + covered(rest)) == list(range(N))
