"""The interface is transformers' own again after the last tap has left."""

import pytest
import torch

from lookbehind.errors import RecordError
from lookbehind.recorder import record
from lookbehind.taps import interface
from tests.tiny_models import ids, tiny


def get_interface():
    from transformers.modeling_utils import AttentionInterface

    return AttentionInterface.get_interface


def test_two_taps_share_one_wrapper():
    one, two = tiny("llama"), tiny("qwen3")
    before = get_interface()
    outer, inner = record(one), record(two)
    outer.__enter__()
    wrapped = get_interface()
    assert wrapped is not before and wrapped.__wrapped__ is before
    inner.__enter__()
    assert get_interface() is wrapped
    with torch.no_grad():
        one(ids(3))
        two(ids(4))
    outer.__exit__(None, None, None)  # out of order
    assert get_interface() is wrapped
    with torch.no_grad():
        two(ids(5))
    inner.__exit__(None, None, None)
    assert get_interface() is before and interface._taps == []
    assert outer.tape().n_queries == 3 and [tape.n_queries for tape in inner.tapes()] == [4, 5]


def test_a_recording_that_ends_in_another_thread_takes_no_call_from_this_one(monkeypatch):
    other, model = record(tiny("qwen3")), tiny("llama")
    owns = interface.InterfaceTap.owns

    def leaving(tap, module):
        if tap is other._interface:  # as if its thread had its turn here
            tap.__exit__(None, None, None)
        return owns(tap, module)

    other.__enter__()
    with torch.no_grad(), record(model) as recorder:
        monkeypatch.setattr(interface.InterfaceTap, "owns", leaving)
        model(ids(4))
    other.__exit__(None, None, None)
    assert recorder.tape().n_layers == 2 and interface._taps == []


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("paged|sdpa", {}, "attention 'paged|sdpa' keeps its keys in a paged cache"),
        ("sdpa", {"cache": object()}, r"attention keeps its keys in a paged cache \(cache=\)"),
        ("sdpa", {"indices": torch.zeros(1)}, r"selects keys per query by an index of its own \(indices=\)"),
        ("flash_attention_2", {"cu_seq_lens_q": torch.zeros(1)}, r"packs sequences by cumulative lengths"),
        ("sdpa", {"dropout": 0.2}, "attention dropout 0.2 is active, so weights are random"),
    ],
)
def test_calls_refused_by_name(name, given, said):
    with pytest.raises(RecordError, match=f"layer: .*{said.replace('|', chr(92) + '|')}"):
        interface._refuse("layer", name, torch.nn.Identity().eval(), given)


def test_a_version_without_the_interface_says_so(monkeypatch):
    import transformers.modeling_utils

    monkeypatch.delattr(transformers.modeling_utils.AttentionInterface, "get_interface")
    with pytest.raises(RecordError, match=r"install transformers >= 5\.3"):
        record(torch.nn.Linear(2, 2)).__enter__()
    assert interface._taps == []


def test_position_biases_are_slopes_or_refused():
    def found(bias):
        given = {"position_bias": bias}
        return interface._spans(None, "layer", "sdpa", torch.nn.Identity(), given, q, q)[1]

    q = torch.zeros(1, 2, 4, 8)
    slopes = torch.tensor([0.5, 0.25])
    bias = slopes[:, None, None] * (torch.arange(4) - torch.arange(4)[:, None])
    assert found(None) is None
    assert found(bias[None]).tolist() == [0.5, 0.25]
    with pytest.raises(RecordError, match="layer: its position_bias is not ALiBi"):
        found(torch.randn(1, 2, 4, 4))
