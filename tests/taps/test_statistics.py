"""Statistics of calls, joined: what an observation of the whole sequence gives."""

import pytest
import torch

from lookbehind.attention import logsumexp, observe
from lookbehind.errors import InputError, RecordError
from lookbehind.pattern import Causal, Window
from lookbehind.recorder import record
from lookbehind.taps.call import Call
from lookbehind.taps.statistics import joined, observed
from tests.tiny_models import PROMPT, generate, ids, tiny

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


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt_oss", "bloom"])
def test_statistics_are_those_of_the_tape_in_prefill_and_decoding(name):
    model, prompt = tiny(name), ids(PROMPT)
    asked = {"received": True, "entropy": True, "top": 1, "max_score": True}
    with record(model) as recorder:
        plain = generate(model, prompt)
    tape = recorder.tape()
    with record(model, keep="statistics") as recorder:
        recorded = generate(model, prompt)
    assert all(torch.equal(*pair) for pair in zip(plain.logits, recorded.logits, strict=True))
    (found,) = recorder.statistics()
    assert list(found) == [layer.name for layer in tape.layers]
    for number, seen in enumerate(found.values()):
        expected = tape.observe(number, **asked)
        for what in ("received", "visible", "entropy", "top_weights", "max_score"):
            torch.testing.assert_close(getattr(seen, what), getattr(expected, what), rtol=1e-4, atol=1e-5)
        near = seen.top_keys == expected.top_keys
        assert near.float().mean() > 0.9  # equal weights come in any order


def test_statistics_of_a_padded_batch_come_by_sequence():
    model, prompt = tiny("llama"), ids(PROMPT).repeat(2, 1)
    mask = torch.ones_like(prompt)
    mask[0, :4] = 0
    with record(model) as recorder:
        model(prompt, attention_mask=mask)
    tapes = recorder.tapes()
    with record(model, keep="statistics") as recorder:
        model(prompt, attention_mask=mask)
    found = recorder.statistics()
    assert len(found) == len(tapes) == 2
    for one, tape in zip(found, tapes, strict=True):
        expected = tape.observe(0, received=True, entropy=True)
        seen = one[tape.layers[0].name]
        torch.testing.assert_close(seen.received, expected.received)
        torch.testing.assert_close(seen.entropy, expected.entropy)


def test_with_statistics_no_query_and_no_key_is_kept():
    model = tiny("llama")
    with record(model, keep="statistics") as recorder:
        model(ids(PROMPT))
    kept = [rows for batch in recorder._batches for step in batch.steps for rows in step.rows.values()]
    assert kept and all(rows.q.numel() == rows.k.numel() == 0 for rows in kept)


def test_statistics_and_tapes_are_asked_for_by_their_names(tmp_path):
    model = tiny("llama")
    with pytest.raises(InputError, match=r"^record: keep is 'tape' or 'statistics'; got 'all'$"):
        record(model, keep="all")
    with pytest.raises(InputError, match=r"^record: statistics are kept in memory, and `to` is for a tape"):
        record(model, keep="statistics", to=tmp_path / "run.tape")
    with record(model, keep="statistics") as recorder:
        pass
    with pytest.raises(
        RecordError, match=r"^tapes\(\): only statistics were kept; ask recorder.statistics\(\)"
    ):
        recorder.tape()
    with pytest.raises(RecordError, match=r"nothing was recorded, because the model did not run"):
        recorder.statistics()
    with record(model) as recorder:
        model(ids(PROMPT))
    with pytest.raises(RecordError, match=r"^statistics\(\): a tape was kept; ask tape\(\).observe\(\)"):
        recorder.statistics()
