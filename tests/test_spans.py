import operator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lookbehind as lb
from tests import dense


@given(dense.masks())
def test_a_mask_comes_back(mask):
    spans = lb.Spans.from_mask(mask)
    np.testing.assert_array_equal(spans.mask(), mask)
    assert spans.count() == mask.sum()
    assert list(spans.pairs()) == [tuple(pair) for pair in np.argwhere(mask).tolist()]
    np.testing.assert_array_equal(spans.row_counts(), mask.sum(1))
    np.testing.assert_array_equal(spans.key_counts(), mask.sum(0))
    for row in range(spans.n_queries):
        assert spans.keys(row) == np.flatnonzero(mask[row]).tolist()
        assert spans.forbidden(row) == np.flatnonzero(~mask[row]).tolist()
        assert [spans.allows(row, key) for key in range(spans.n_keys)] == mask[row].tolist()
    np.testing.assert_array_equal((~spans).mask(), ~mask)


@given(st.data(), st.integers(0, 9), st.integers(0, 9))
def test_the_algebra_is_that_of_masks(data, n_queries, n_keys):
    a = data.draw(dense.masks(n_queries, n_keys))
    b = data.draw(dense.masks(n_queries, n_keys))
    left, right = lb.Spans.from_mask(a), lb.Spans.from_mask(b)
    np.testing.assert_array_equal((left & right).mask(), a & b)
    np.testing.assert_array_equal((left | right).mask(), a | b)
    assert (left <= right) == bool((a <= b).all())
    assert (left == right) == bool((a == b).all())
    assert left & right <= left and left <= left | right
    if left == right:
        assert hash(left) == hash(right)


@given(st.data(), dense.masks(), st.integers(-3, 3))
def test_a_region_is_a_slice_whose_positions_stay(data, mask, offset):
    spans = lb.Spans.from_mask(mask, offset=offset)
    rows = slice(*sorted(data.draw(st.tuples(*[st.integers(0, mask.shape[0])] * 2))))
    keys = slice(*sorted(data.draw(st.tuples(*[st.integers(0, mask.shape[1])] * 2))))
    part = spans.region(rows, keys)
    np.testing.assert_array_equal(part.mask(), mask[rows, keys])
    # The distance i - j of each kept pair is what it was.
    assert part.offset == offset + rows.start - keys.start


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), dense.patterns)
def test_a_prompt_and_its_decode_steps_stack_to_one_triangle(steps, pattern):
    causal = pattern & lb.Causal()
    parts, seen = [], 0
    for step in steps:
        seen += step
        parts.append(causal.spans(step, seen))
    assert lb.Spans.stack(parts) == causal.spans(seen)


def test_the_same_intervals_at_other_lengths_or_positions_are_other_spans():
    spans = lb.First(1).spans(2, 3)
    assert spans == lb.First(1).spans(2, 3)
    for other in (lb.First(1).spans(2, 4, spans.offset), lb.First(1).spans(2, 3, spans.offset + 1)):
        assert np.array_equal(spans.row_ptr, other.row_ptr) and np.array_equal(spans.stops, other.stops)
        assert spans != other


def test_stacking_refuses_a_gap():
    with pytest.raises(lb.InputError, match="rows up to position 3 are followed by position 4"):
        lb.Spans.stack([lb.Causal().spans(3), lb.Causal().spans(1, 5)])


def test_offsets_that_would_wrap_are_refused():
    assert lb.Causal().spans(1, 3, 2**62).count() == 3
    assert (~lb.Causal()).spans(1, 3, -(2**62)).count() == 3
    for offset in (2**62 + 1, 2**63 - 1, 2**63, -(2**70)):
        with pytest.raises(
            lb.InputError, match=r"offset: a whole number of at (most|least) -?4611686018427387904"
        ):
            lb.Causal().spans(1, 3, offset)


def test_a_torch_mask_is_taken():
    mask = torch.ones(3, 3, dtype=torch.bool).tril()
    assert lb.Spans.from_mask(mask) == lb.Causal().spans(3)


@pytest.mark.parametrize("kind", [np.int8, np.int32, ">i8"])
def test_arrays_of_any_whole_numbers_are_the_same_spans(kind):
    narrow = lb.Spans(2, 300, 0, *(np.array(one, dtype=kind) for one in ([0, 1, 2], [0, 0], [1, 2])))
    spans = lb.Causal().spans(2, 300, 0)
    assert narrow == spans
    assert hash(narrow) == hash(spans)
    assert narrow.region(keys=slice(200, 300)) == spans.region(keys=slice(200, 300))


def arrays(*values):
    return [np.array(value, dtype=np.int64) for value in values]


@pytest.mark.parametrize(
    ("row_ptr", "starts", "stops", "words"),
    [
        ([0, 1], [0], [1], "2 queries need 3 row pointers"),
        ([0, 1, 1], [0], [], "as many starts as stops"),
        ([0, 2, 1], [0], [1], "row pointers must ascend from 0 to the 1 intervals given"),
        ([1, 1, 1], [0], [1], "row pointers must ascend"),
        ([0, 1, 1], [0, 2], [1, 3], "row pointers must ascend from 0 to the 2 intervals given"),
        ([0, 1, 2], [0, 0], [1, 4], r"lie in \[0, 3\)"),
        ([0, 1, 2], [-1, 0], [1, 2], r"lie in \[0, 3\)"),
        ([0, 1, 2], [1, 0], [1, 2], "must be non-empty"),
        ([0, 2, 2], [0, 1], [1, 2], "intervals of query 0 must ascend, apart from one another"),
        ([0, 0, 2], [2, 0], [3, 1], "intervals of query 1 must ascend"),
    ],
)
def test_arrays_that_lie_are_refused(row_ptr, starts, stops, words):
    with pytest.raises(lb.InputError, match=words):
        lb.Spans(2, 3, 1, *arrays(row_ptr, starts, stops))


@pytest.mark.parametrize(
    ("starts", "words"),
    [
        ([0, 1], "starts must be a whole-number array with one axis; got list"),
        (np.array([0.7, 1.0]), r"got float64 \[2\]"),
        (np.array([[0, 1]]), r"got int64 \[1, 2\]"),
    ],
)
def test_what_is_no_array_of_places_is_refused(starts, words):
    row_ptr, stops = arrays([0, 1, 2], [1, 2])
    with pytest.raises(lb.InputError, match=words):
        lb.Spans(2, 3, 1, row_ptr, starts, stops)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (
            np.zeros((2, 2)),
            r"mask: a bool array \[n_queries, n_keys\] is needed; got float64 of shape \[2, 2\]",
        ),
        (np.zeros((1, 2, 2), dtype=bool), r"got bool of shape \[1, 2, 2\]"),
    ],
)
def test_a_wrong_mask_is_told_in_words(mask, words):
    with pytest.raises(lb.InputError, match=words):
        lb.Spans.from_mask(mask)


def test_out_of_range_is_told_in_words():
    spans = lb.Causal().spans(4)
    for ask in (spans.keys, spans.forbidden, spans.intervals, lambda row: spans.allows(row, 0)):
        for row in (4, -1):
            with pytest.raises(lb.InputError, match=f"query {row}: there are 4, 0 to 3"):
                ask(row)
        with pytest.raises(lb.InputError, match=r"query: a whole number is needed; got 1\.5"):
            ask(1.5)
    with pytest.raises(lb.InputError, match="key 4: there are 4, 0 to 3"):
        spans.allows(0, 4)
    for part in (slice(0, 4, 2), slice(0, 1.5), 3):
        with pytest.raises(
            lb.InputError, match="queries: a slice of whole numbers with a step of 1 is needed"
        ):
            spans.region(part)
    with pytest.raises(lb.InputError, match="query: a whole number is needed; got True"):
        spans.keys(True)
    with pytest.raises(lb.InputError, match=r"stack: a list of Spans is needed; got \[3\]"):
        lb.Spans.stack([3])
    with pytest.raises(lb.InputError, match="counts must be a whole-number array with one axis; got list"):
        lb.Spans.from_counts([1], np.array([0]), np.array([1]), 3, 0)
    with pytest.raises(lb.InputError, match="n_keys: a whole number is needed; got nan"):
        lb.Spans(0, float("nan"), 0, np.array([0]), np.array([], dtype=int), np.array([], dtype=int))
    for combine in (operator.and_, operator.or_, operator.le):
        with pytest.raises(
            lb.InputError, match="4 queries x 4 keys at offset 0 cannot be combined with 4 x 5"
        ):
            combine(spans, lb.Causal().spans(4, 5))
    with pytest.raises(lb.InputError, match=r"only spans combine with spans; got Causal; .*\.spans\(\)"):
        spans & lb.Causal()  # type: ignore[operator]


def test_it_draws_the_triangle():
    assert str(lb.Causal().spans(3)) == "■ · ·\n■ ■ ·\n■ ■ ■"
    assert str(lb.Causal().spans(1, 3)) == "■ ■ ■"
    drawn = str(lb.Causal().spans(100)).splitlines()
    assert drawn[0].split() == ["▒"] + ["·"] * 24
    assert drawn[-2].split() == ["█"] * 24 + ["▒"]
    assert drawn[-1] == "one cell is 4 queries x 4 keys"
    assert repr(lb.Causal().spans(2, 5)) == "<Spans: 2 queries x 5 keys, 9 products>"
    assert repr(lb.Causal().spans(2, 5, 0)) == "<Spans: 2 queries x 5 keys, offset 0, 3 products>"


def test_describe_names_it_or_counts_it():
    assert (lb.Causal() & lb.Window(4)).spans(9).describe() == "causal & window(4)"
    odd = np.ones((7, 7), dtype=bool)
    odd[3, 5] = odd[4, 1] = odd[0, 2] = False
    assert lb.Spans.from_mask(odd).describe() == "no named pattern: 46 of 7 x 7 products"
