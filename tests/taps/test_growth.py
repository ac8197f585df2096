"""Calls grow into sequences, and what does not continue them is refused."""

import pytest
import torch

from lookbehind.errors import RecordError
from lookbehind.pattern import Causal
from lookbehind.taps.call import Call
from lookbehind.taps.growth import Forward

G = torch.Generator().manual_seed(0)
K = torch.randn(1, 2, 12, 8, generator=G)


def call(first, last, keys=None, module="layer", past=None, **options):
    """Queries at [first, last) over the keys given, by default all up to last."""
    k = K[:, :, :last] if keys is None else keys
    spans = Causal().spans(last - first, k.shape[2], k.shape[2] - (last - first) if past is None else past)
    q = torch.randn(k.shape[0], 4, last - first, 8, generator=G)
    return Call(module, q, k, k, [spans] * k.shape[0], 0.3, **options)


def forward(batches, *calls, past=None):
    one = Forward(batches, None)
    one.past = past
    for each in calls:
        one.add(each)
    fresh = one.batch.length == 0
    one.commit()
    if fresh:
        batches.append(one.batch)
    return one


def test_prefill_and_steps_grow_one_batch():
    batches = []
    forward(batches, call(0, 5), call(0, 5, module="other"))
    forward(batches, call(5, 6), call(5, 6, module="other"))
    forward(batches, call(6, 9), call(6, 9, module="other"))
    (batch,) = batches
    assert (batch.length, batch.n_steps, list(batch.layers)) == (9, 3, ["layer", "other"])
    rows = [step.rows["layer"] for step in batch.steps]
    assert torch.equal(torch.cat([one.k for one in rows], 2), K[:, :, :9])
    assert [(one.spans[0].offset, one.spans[0].n_keys) for one in rows] == [(0, 5), (5, 6), (6, 9)]


def test_sliding_and_preallocated_caches():
    batches = []
    forward(batches, call(0, 5))
    sliding = call(5, 6, K[:, :, 2:6])
    step = forward(batches, sliding, past=5).batch.steps[-1]
    assert step.rows["layer"].spans[0].intervals(0) == [(2, 6)]
    room = torch.cat([K[:, :, :7], torch.zeros(1, 2, 9, 8)], 2)
    step = forward(batches, call(6, 7, room, past=6)).batch.steps[-1]
    assert step.rows["layer"].spans[0].intervals(0) == [(0, 7)]
    room = torch.cat([K[:, :, 3:6], torch.zeros(1, 2, 9, 8)], 2)
    forward(batches, call(0, 3, room, past=0))
    assert [batch.length for batch in batches] == [7, 3]


def test_a_module_that_attends_twice_makes_two_layers():
    batches = []
    forward(batches, call(0, 5), call(0, 5))
    forward(batches, call(5, 6), call(5, 6))
    assert list(batches[0].layers) == ["layer", "layer#2"]


def told(batches, *calls, past=None):
    with pytest.raises(RecordError) as caught:
        forward(batches, *calls, past=past)
    return str(caught.value)


def test_what_does_not_continue_is_refused():
    batches = []
    for past in (None, 0):  # keys beside the queries' own, compressed ones say
        said = told(batches, call(0, 5, K[:, :, :7]), past=past)
        assert "layer: 5 queries meet 7 keys in a forward that begins a sequence; only self-att" in said
    forward(batches, call(0, 5), call(0, 5, module="other"))
    for n_keys in (2, 4):
        said = told(batches, call(5, 11, K[:, :, :n_keys], past=0), past=5)
        assert f"layer: 6 queries meet {n_keys} keys, fewer than their own; only self-attention" in said
    changed = K[:, :, :6].clone()
    changed[0, 1, 3, 2] += 1
    assert "layer: the cache hands in another key for position 3 than" in told(batches, call(5, 6, changed))
    assert "the cache holds 7 positions, and no sequence of 7 was" in told(batches, call(7, 8), past=7)
    assert "other: it did not run in this forward" in told(batches, call(5, 6))
    both = (call(5, 6), call(5, 6, module="other"))
    assert "third: it did not run in the forwards before" in told(batches, *both, call(5, 6, module="third"))
    wide = call(0, 5, K.expand(2, -1, -1, -1)[:, :, :5], module="vision")
    assert "vision: attention over 2 x 5 queries in a forward of 1 x 5" in told(batches, call(0, 5), wide)
    elsewhere = call(0, 5, torch.cat([K, K], 2), module="cross")
    assert "cross: a query reads key 23 in a sequence of 5" in told(batches, call(0, 5), elsewhere)
    assert batches[0].length == 5


def test_a_forward_that_fails_at_its_end_leaves_its_batch_as_it_was(monkeypatch):
    batches = []
    forward(batches, call(0, 5))
    with monkeypatch.context() as patch:
        patch.setattr("lookbehind.taps.growth.summarised", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forward(batches, call(5, 6))
    assert (batches[0].length, len(batches[0].steps)) == (5, 1)
    forward(batches, call(5, 7))
    assert [step.rows["layer"].k.shape[2] for step in batches[0].steps] == [5, 2]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"softcap": 2.0}, {"softcap": 3.0}, "its softcap went from 2.0 to 3.0 within one sequence"),
        ({"sinks": torch.zeros(4)}, {"sinks": torch.ones(4)}, "its sinks changed within one sequence"),
        ({"sinks": torch.zeros(4)}, {}, "its sinks changed within one sequence"),
        ({"alibi": torch.ones(4)}, {}, "it has ALiBi in some forwards of one sequence and none in others"),
        ({"alibi": torch.ones(4)}, {"alibi": torch.zeros(4)}, "its ALiBi slopes differ between queries"),
    ],
)
def test_parameters_hold_for_a_whole_sequence(one, other, said):
    batches = []
    forward(batches, call(0, 5, **one))
    assert f"layer: {said}" in told(batches, call(5, 6, **other))
