"""Masks become the spans they say, in every form that kernels take; biases become slopes or are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask

from lookbehind.errors import RecordError
from lookbehind.spans import Spans
from lookbehind.taps import mask as masks
from lookbehind.taps.mask import (
    alibi_slopes,
    merged,
    slopes_of,
    spans_of,
    spans_of_block_mask,
    spans_of_padding,
)


def q_and_k(batch, heads, n_queries, n_keys):
    return torch.zeros(batch, heads, n_queries, 4), torch.zeros(batch, 1, n_keys, 4)


@st.composite
def dense(draw):
    batch, n_queries, n_keys = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 7))
    seed = draw(st.integers(0, 99))
    mask = torch.rand(batch, 1, n_queries, n_keys, generator=torch.Generator().manual_seed(seed)) > 0.4
    return mask, draw(st.sampled_from([0.0, -1e4, -torch.inf]))


@given(dense(), st.booleans())
def test_boolean_and_additive_masks_say_the_same(case, small):
    mask, blocked = case
    batch, _, n_queries, n_keys = mask.shape
    q, k = q_and_k(batch, 2, n_queries, n_keys)
    cells, masks._CELLS = masks._CELLS, 5 if small else masks._CELLS
    try:
        expected = [Spans.from_mask(mask[row, 0].numpy()) for row in range(batch)]
        assert spans_of("m", mask, q, k) == (expected, None)
        assert spans_of("m", mask.expand(-1, 2, -1, -1), q, k)[0] == expected
        lowest = torch.finfo(torch.float32).min if blocked == 0.0 else blocked
        additive = torch.where(mask, 0.0, lowest)
        assert spans_of("m", additive, q, k) == (expected, None)
        longer = torch.cat([additive, torch.zeros(batch, 1, n_queries, 2)], 3)
        assert spans_of("m", longer, q, k)[0] == expected
    finally:
        masks._CELLS = cells


def test_axes_left_out_or_of_one_are_shared():
    q, k = q_and_k(2, 2, 3, 4)
    columns = torch.tensor([True, False, True, True])
    expected = Spans.from_mask(np.tile(columns.numpy(), (3, 1)))
    for mask in (columns, columns[None], columns[None, None, None], columns.expand(2, 1, 1, 4)):
        assert spans_of("m", mask, q, k)[0] == [expected, expected]


def test_masks_that_are_none_are_refused_by_name():
    q, k = q_and_k(1, 2, 3, 4)
    with pytest.raises(RecordError, match=r"m: a mask of shape \[3, 3\] does not fit queries \[1, 2, 3, 4\]"):
        spans_of("m", torch.ones(3, 3, dtype=torch.bool), q, k)
    with pytest.raises(RecordError, match="int64 is neither boolean nor additive"):
        spans_of("m", torch.ones(3, 4, dtype=torch.int64), q, k)
    odd = torch.zeros(3, 4)
    odd[1, 2] = 0.37
    with pytest.raises(RecordError, match=r"neither a mask nor ALiBi \(value 0\.37\)"):
        spans_of("m", odd, q, k)
    odd[1, 2] = torch.nan
    with pytest.raises(RecordError, match="a mask holds nan"):
        spans_of("m", odd, q, k)
    mask = torch.ones(1, 2, 3, 4, dtype=torch.bool)
    mask[0, 1, 2, 3] = False
    with pytest.raises(RecordError, match="head 1 has another mask than head 0; a tape holds one pattern"):
        spans_of("m", mask, q, k)


@given(st.integers(1, 6), st.integers(0, 5), st.booleans(), st.sampled_from([torch.float32, torch.float64]))
def test_alibi_is_recognised_within_a_mask(n_queries, past, per_row, dtype):
    n_keys = n_queries + past
    slopes = torch.tensor([2.0**-1, 2.0**-4], dtype=dtype)
    j, i = torch.arange(n_keys), torch.arange(n_queries)[:, None] + past
    bias = slopes[:, None, None] * ((j - i) if per_row else j.expand(n_queries, -1))
    mask = torch.where(j <= i, bias, torch.finfo(dtype).min)[None]
    q, k = q_and_k(1, 2, n_queries, n_keys)
    spans, found = spans_of("m", mask, q, k)
    assert spans == [Spans.from_mask((j <= i).numpy())]
    if found is None:
        assert n_keys == 1  # a bias of 0 is none
    elif n_keys > 1:
        torch.testing.assert_close(found, slopes.double())
    else:
        assert found.isnan().all()


def test_a_bias_that_is_almost_alibi_is_none():
    spans = Spans.from_mask(np.tril(np.ones((8, 8), dtype=bool)))
    bias = 0.25 * torch.arange(8.0).expand(1, 8, 8).clone()
    assert alibi_slopes(bias, spans).tolist() == [0.25]
    bias[0, 6, 3] += 1e-3
    assert alibi_slopes(bias, spans) is None
    bias[0, 6, 3] -= 1e-3
    bias[0, 1, 5] = 99.0  # never computed
    assert alibi_slopes(bias, spans).tolist() == [0.25]
    assert alibi_slopes((0.3 * torch.arange(8)).bfloat16().expand(1, 1, 8), spans) is None


def test_slopes_merge():
    nan = torch.nan
    one, two = torch.tensor([nan, 0.5]), torch.tensor([0.25, nan])
    assert merged("m", one, two).tolist() == [0.25, 0.5]
    with pytest.raises(RecordError, match="m: its ALiBi slopes differ between queries"):
        merged("m", two, torch.tensor([0.3, 0.5]))


def test_slopes_are_those_of_every_sequence():
    spans = [Spans.from_mask(np.tril(np.ones((4, 4), dtype=bool)))] * 2
    line = torch.arange(4.0).expand(1, 2, 1, 4)
    slopes = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)
    assert slopes_of("m", line * slopes, spans, 2).tolist() == [0.5, 0.25]
    assert slopes_of("m", 0.5 * line[:, :1], spans, 2).tolist() == [0.5, 0.5]  # one bias for all heads
    with pytest.raises(RecordError, match="m: its ALiBi slopes differ between queries"):
        slopes_of("m", torch.cat([line, 2 * line]), spans, 2)
    assert slopes_of("m", torch.cat([line, line**2]), spans, 2) is None


def test_block_masks():
    q, k = q_and_k(2, 2, 5, 7)

    def rule(batch, head, i, j):
        return (j <= i + 2) & (j >= batch)

    block = create_block_mask(rule, 2, None, 5, 7, device="cpu")
    i, j = np.arange(5)[:, None], np.arange(7)
    expected = [Spans.from_mask((j <= i + 2) & (j >= row)) for row in (0, 1)]
    assert spans_of_block_mask("m", block, q, k) == expected
    block = create_block_mask(lambda b, h, i, j: j <= i + h, 2, 2, 5, 7, device="cpu")
    with pytest.raises(RecordError, match="head 1 has another mask than head 0"):
        spans_of_block_mask("m", block, q, k)
    with pytest.raises(RecordError, match=r"a BlockMask of shape \[2, 2, 5, 7\] does not fit"):
        spans_of_block_mask("m", block, *q_and_k(3, 2, 5, 7))


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("causal", [True, False])
def test_flash_masks_are_padding_and_bottom_right(window, causal):
    q, k = q_and_k(2, 2, 3, 5)
    padding = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]])
    i, j = np.arange(3)[:, None] + 2, np.arange(5)
    allowed = (j <= i) | (not causal)
    if window is not None:
        allowed = allowed & (abs(i - j) < window)
    assert spans_of_padding("m", None, q, k, causal, window) == [Spans.from_mask(allowed)] * 2
    expected = [
        Spans.from_mask(allowed & row.bool().numpy() & row.bool().numpy()[2:, None]) for row in padding
    ]
    assert spans_of_padding("m", padding, q, k, causal, window) == expected
    # A preallocated cache is longer than the mask; what is beyond is not read.
    longer = torch.zeros(2, 1, 9, 4)
    found = spans_of_padding("m", padding, q, longer, causal, window)
    assert [one.region(keys=slice(0, 5)) for one in found] == expected
    assert all(one.stops.max() <= 5 for one in found)
    with pytest.raises(RecordError, match="a padding mask of 5 columns does not fit 4 keys"):
        spans_of_padding("m", padding, q, torch.zeros(2, 1, 4, 4), causal, window)
