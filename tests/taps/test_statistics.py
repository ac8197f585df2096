"""Statistics of calls, joined: what an observation of the whole sequence gives."""

import torch

from lookbehind.attention import logsumexp, observe
from lookbehind.pattern import Causal, Window
from lookbehind.taps.call import Call
from lookbehind.taps.statistics import joined, observed

ASKED = {"received": True, "entropy": True, "top": 1, "max_score": True}


def same(found, expected, row=0):
    for name in ("received", "entropy", "top_weights", "top_keys", "max_score"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name)[row])
    assert torch.equal(found.visible, expected.visible)


def whole(q, k, pattern, **options):
    return observe(q, k, logsumexp(q, k, pattern, **options), pattern, **ASKED, **options)


def test_calls_that_grow_a_sequence_join_to_the_whole():
    q, k = torch.randn(2, 4, 20, 8), torch.randn(2, 2, 20, 8)
    options = {"softcap": 3.0, "sinks": torch.randn(4), "alibi": torch.rand(4)}
    parts = []
    for first, last in ((0, 12), (12, 13), (13, 20)):
        spans = Causal().spans(last - first, last)
        call = Call("m", q[:, :, first:last], k[:, :, :last], k[:, :, :last], [spans] * 2, 8**-0.5, **options)
        parts.append(observed(call, 0))
    for row in (0, 1):
        found = joined([(part[row], 0) for part in parts], 20)
        same(found, whole(q, k, Causal(), **options), row)


def test_a_sliding_cache_counts_its_keys_from_the_sequence_s_beginning():
    q, k = torch.randn(1, 2, 9, 8), torch.randn(1, 1, 9, 8)
    pattern = Causal() & Window(4)
    parts = [
        (observed(Call("m", q[:, :, :5], k[:, :, :5], k[:, :, :5], [pattern.spans(5)], 8**-0.5), 0)[0], 0)
    ]
    for row in range(5, 9):
        kept = k[:, :, row - 3 : row + 1]
        call = Call("m", q[:, :, row : row + 1], kept, kept, [Causal().spans(1, 4)], 8**-0.5)
        parts.append((observed(call, row - 3)[0], row - 3))
    same(joined(parts, 9), whole(q, k, pattern))


def test_sequences_of_their_own_spans_are_observed_by_themselves():
    q, k = torch.randn(2, 2, 6, 8), torch.randn(2, 1, 6, 8)
    spans = [Causal().spans(6), (Causal() & Window(2)).spans(6)]
    found = observed(Call("m", q, k, k, spans, 8**-0.5), 0)
    for row, one in enumerate(spans):
        same(joined([(found[row], 0)], 6), whole(q, k, one), row)


def test_a_slope_that_no_row_tells_weighs_nothing():
    q, k = torch.randn(1, 2, 1, 8), torch.randn(1, 2, 1, 8)
    slopes = torch.full((2,), torch.nan)
    (found,) = observed(Call("m", q, k, k, [Causal().spans(1)], 8**-0.5, alibi=slopes), 0)
    torch.testing.assert_close(found.received, torch.ones(2, 1))
    assert found.max_score.isfinite().all()
