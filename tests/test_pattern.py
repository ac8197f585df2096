import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from torch.nn.attention.flex_attention import create_block_mask, create_mask

import lookbehind as lb
from tests import dense


@given(dense.patterns, dense.lengths)
def test_spans_equal_the_dense_mask(pattern, lengths):
    n_queries, n_keys, offset = lengths
    spans = pattern.spans(n_queries, n_keys, offset)
    at = n_keys - n_queries if offset is None else offset
    assert (spans.n_queries, spans.n_keys, spans.offset) == (n_queries, n_keys, at)
    np.testing.assert_array_equal(spans.mask(), dense.mask(pattern, n_queries, n_keys, at))


@given(dense.patterns, dense.lengths)
def test_flex_and_sdpa_masks_say_the_same(pattern, lengths):
    n_queries, n_keys, offset = lengths
    at = n_keys - n_queries if offset is None else offset
    sdpa = pattern.to_sdpa_mask(n_queries, n_keys, offset)
    rows, columns = torch.arange(n_queries)[:, None], torch.arange(n_keys)[None, :]
    flex = pattern.to_flex_mask_mod(at)(0, 0, rows, columns).broadcast_to(n_queries, n_keys)
    np.testing.assert_array_equal(sdpa.numpy(), dense.mask(pattern, n_queries, n_keys, at))
    assert torch.equal(flex, sdpa)


@pytest.mark.parametrize(
    "pattern",
    [
        lb.Causal(),
        lb.Full(),
        lb.First(3),
        lb.Causal() & (lb.Window(40) | lb.First(4)),
        lb.Causal() & lb.Documents([100, 28, 72]),
        lb.Causal() & lb.Chunk(64) | lb.Diagonal(-1),
    ],
    ids=str,
)
def test_flex_attention_itself_takes_the_mask_mod(pattern):
    n = 200
    mod = pattern.to_flex_mask_mod()
    assert torch.equal(create_mask(mod, 1, 1, n, n, device="cpu")[0, 0], pattern.to_sdpa_mask(n))
    tiles = create_block_mask(mod, 1, 1, n, n, device="cpu", BLOCK_SIZE=32)
    blocks = pattern.spans(n).blocks(32, 32)
    assert torch.equal(tiles.to_dense()[0, 0].bool(), torch.from_numpy(blocks.visited.mask()))
    # FlexAttention calls a ragged tile partial; ours may be full there.
    ours, theirs = blocks.full.mask(), tiles.full_kv_num_blocks
    assert theirs is not None and int(theirs.sum()) == ours[:-1, :-1].sum()


def test_sdpa_itself_takes_the_mask():
    q, k, v = torch.randn(3, 1, 1, 8, 4, dtype=torch.float64).unbind()
    mask = lb.Causal().to_sdpa_mask(3, 8)
    ours = torch.nn.functional.scaled_dot_product_attention(q[:, :, -3:], k, v, attn_mask=mask)
    whole = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(ours, whole[:, :, -3:])


@given(dense.patterns)
def test_patterns_are_values(pattern):
    again = lb.parse(repr(pattern))
    assert again == pattern
    assert hash(again) == hash(pattern)
    assert repr(again) == repr(pattern) == str(pattern) == f"{pattern}"
    assert pickle.loads(pickle.dumps(pattern)) == pattern


def test_patterns_are_frozen():
    with pytest.raises(AttributeError):
        lb.Window(4).size = 5  # type: ignore[misc]


def test_chains_are_flat_values():
    a, b, c = lb.Causal(), lb.Window(3), lb.First(1)
    assert (a & b) & c == a & (b & c)
    assert (a | b) | c == a | (b | c)
    assert a & (b | c) != (a & b) | c
    assert repr(~(a & b) | c) == "~(causal & window(3)) | first(1)"


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int32, np.uint64])
def test_numbers_of_numpy_are_the_numbers_they_hold(kind):
    pattern = lb.Window(kind(2)) & lb.Chunk(kind(4)) | lb.Diagonal(kind(3)) | lb.First(kind(1))
    plain = lb.Window(2) & lb.Chunk(4) | lb.Diagonal(3) | lb.First(1)
    assert pattern == plain
    assert pattern.spans(kind(9), kind(7)) == plain.spans(9, 7)
    assert lb.Documents(np.array([3, 5], dtype=kind)) == lb.Documents([3, 5])
    assert lb.Causal().spans(kind(5), kind(3)).offset == -2


def test_the_blueprint_examples():
    spans = lb.Causal().spans(6)
    assert spans.keys(3) == [0, 1, 2, 3]
    assert spans.forbidden(3) == [4, 5]
    assert spans.count() == 21
    assert list(spans.pairs())[:4] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert not spans.allows(3, 4)
    assert lb.Causal().spans(2, 6).keys(0) == [0, 1, 2, 3, 4]


def test_a_million_queries_are_counted_exactly():
    n, window, sinks = 1_000_000, 4096, 4
    pattern = lb.Causal() & (lb.Window(window) | lb.First(sinks))
    rows = np.arange(n)
    expected = np.minimum(rows + 1, window) + np.clip(rows + 1 - window, 0, sinks)
    tracemalloc.start()
    try:
        assert pattern.spans(n).count() == int(expected.sum())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lb.Window(0), "window size: a whole number of at least 1 is needed; got 0"),
        (lambda: lb.Window(2.0), "window size: a whole number is needed; got 2.0"),
        (lambda: lb.Window(True), "window size: a whole number is needed; got True"),
        (lambda: lb.First(-1), "first count: a whole number of at least 0 is needed; got -1"),
        (lambda: lb.Chunk(0), "chunk size: a whole number of at least 1 is needed; got 0"),
        (lambda: lb.Documents([]), "documents: at least one length is needed, as in documents(3, 5)"),
        (lambda: lb.Documents(5), "documents: lengths are needed, as in documents(3, 5); got 5"),
        (lambda: lb.Documents([3, 0]), "documents length: a whole number of at least 1 is needed; got 0"),
        (lambda: lb.Diagonal("1"), "diagonal distance: a whole number is needed; got '1'"),
        (
            lambda: lb.Window(10**19),
            f"window size: a whole number of at most {10**18} is needed; got {10**19}",
        ),
        (
            lambda: lb.Window(10**5000),
            f"window size: a whole number of at most {10**18} is needed; got a huge number",
        ),
        (
            lambda: lb.Documents(np.array(3)),
            "documents: lengths are needed, as in documents(3, 5); got array(3)",
        ),
        (lambda: lb.Causal().spans(None), "n_queries: a whole number is needed; got None"),
        (lambda: lb.Causal().to_flex_mask_mod("1"), "offset: a whole number is needed; got '1'"),
        (
            lambda: lb.Documents([2, 3]).spans(7),
            "documents: the lengths add up to 5 positions, but 7 were asked for; add the missing documents",
        ),
        (lambda: lb.Causal() & 3, "pattern: only patterns combine; got int 3"),
        (lambda: lb.Causal().spans(-1), "n_queries: a whole number of at least 0 is needed; got -1"),
        (
            lambda: lb.Causal().spans(2**40, 2**40),
            "spans: 1099511627776 x 1099511627776 products cannot be numbered in 62 bits; split the rows",
        ),
        (lambda: lb.Causal().spans(2.5), "n_queries: a whole number is needed; got 2.5"),
        (lambda: lb.Causal().spans(2, 3, "1"), "offset: a whole number is needed; got '1'"),
    ],
)
def test_bad_input_is_told_in_words(make, words):
    with pytest.raises(lb.InputError) as caught:
        make()
    assert str(caught.value) == words


def test_lengths_may_be_zero_and_numpy_numbers():
    assert lb.Causal().spans(0).count() == 0
    assert lb.Causal().spans(0, 5).count() == 0
    assert lb.Causal().spans(3, 0).mask().shape == (3, 0)
    assert lb.Causal().spans(np.int64(3)).count() == 6
    assert repr(lb.Window(np.int64(3))) == "window(3)"


def test_layers_share_a_table_that_nobody_can_write_on() -> None:
    table = (lb.Causal() & lb.Window(3)).spans(5)
    assert (lb.Causal() & lb.Window(3)).spans(5) is table
    for column in (table.row_ptr, table.starts, table.stops):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
