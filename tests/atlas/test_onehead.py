from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.atlas import onehead
from lookbehind.atlas.onehead import OneHead, RowNumbers, filled, peak, taken
from lookbehind.spans import Spans
from tests.atlas.oracle import tape
from tests.dense import masks


@given(masks(), st.data())
def test_taken_rows_and_keys_are_those_of_the_mask(mask, data):
    spans = Spans.from_mask(mask)
    n_rows, n_keys = mask.shape
    rows = np.array(
        data.draw(st.lists(st.integers(0, n_rows - 1), max_size=6) if n_rows else st.just([])), int
    )
    low = data.draw(st.integers(0, n_keys))
    keys = slice(low, data.draw(st.integers(low, n_keys)))
    found = taken(spans, rows, keys)
    assert (found.mask() == mask[rows][:, keys]).all()
    if len(rows):
        assert found.offset == spans.offset + rows[0] - low


@given(masks(), st.integers(1, 4), st.integers(1, 5))
def test_filled_up_spans_compute_the_same(mask, tall, wide):
    spans = filled(Spans.from_mask(mask), tall, wide)
    assert spans.n_queries % tall == 0 and spans.n_keys % wide == 0
    whole = spans.mask()
    assert (whole[: mask.shape[0], : mask.shape[1]] == mask).all() and whole.sum() == mask.sum()


def test_row_numbers_are_computed_once_and_only_for_the_rows_asked(monkeypatch):
    some = tape(50, 70)
    for layer in some.layers:
        layer.known_lse = None
        for head in range(layer.n_heads):
            one = OneHead(layer, head)
            numbers = RowNumbers(one, layer.spans)
            rows = np.array([3, 40, 7, 49])
            assert numbers.unknown(rows) == 4
            torch.testing.assert_close(numbers.lse_of(rows), layer.lse[head, rows], rtol=1e-5, atol=1e-5)
            scores = layer.scores()[head, rows].nan_to_num(-torch.inf).amax(1)
            peaks = numbers.peak_of(rows)
            if layer.sinks is None:
                torch.testing.assert_close(peaks, scores, rtol=1e-4, atol=1e-4)
            assert numbers.unknown(rows) == numbers.unknown(rows, peak=True) == 0
            assert numbers.unknown(np.arange(50)) == 46
            monkeypatch.setattr(one, "logsumexp", None)
            numbers.lse_of(rows)
            monkeypatch.undo()
            layer.known_lse = None


def test_a_sink_beside_alibi_weighs_the_same_in_rows_that_lie_apart():
    some = tape(50, 70)
    layer = replace(some.layers[3], sinks=torch.tensor([1.0, 3.0]))
    rows = np.array([3, 40, 7, 49])
    for head in range(2):
        found = RowNumbers(OneHead(layer, head), layer.spans).lse_of(rows)
        torch.testing.assert_close(found, layer.lse[head, rows], rtol=1e-5, atol=1e-5)


def test_long_rows_are_computed_a_few_at_a_time(monkeypatch):
    some = tape(50, 70)
    monkeypatch.setattr(onehead, "PRODUCTS", 70 * 8)
    numbers = RowNumbers(OneHead(some.layers[0], 1), some.layers[0].spans)
    torch.testing.assert_close(numbers.lse_of(np.arange(50)), some.layers[0].lse[1], rtol=1e-6, atol=1e-6)


def test_a_weight_that_vanished_beside_a_sink_is_measured_by_lse():
    lse, top = torch.tensor([2.0, 500.0]), torch.tensor([0.5, 0.0])
    torch.testing.assert_close(peak(lse, top), torch.tensor([2.0 + np.log(0.5), 500.0], dtype=torch.float32))
