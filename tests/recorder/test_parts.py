"""Parts of models recorded alone, and layers in which no attention is seen."""

import pytest
import torch
from torch import nn

from lookbehind.errors import RecordError
from lookbehind.recorder import record
from tests.tiny_models import BASE, PROMPT, Plain, generate, ids, tiny


def test_a_part_of_a_larger_model_is_recorded_alone():
    model = tiny("llama", "sdpa")
    with torch.no_grad(), record(model.model) as recorder:
        model(ids(6))
        other = tiny("qwen3", "sdpa")(ids(6)).logits  # passes the same interface, and is none of our business
    tape = recorder.tape()
    assert [layer.name for layer in tape.layers] == ["layers.0.self_attn", "layers.1.self_attn"]
    assert tape.token_ids == ids(6)[0].tolist()
    assert torch.equal(other, tiny("qwen3", "sdpa")(ids(6)).logits)


@pytest.mark.parametrize("name", ["llama", "gemma2", "bloom"])
def test_a_layer_in_the_middle_can_be_recorded_alone(name):
    model = tiny(name)
    with record(model) as everything:
        generate(model, ids(PROMPT))
    expected = everything.tape().layer(1)
    block = model.get_submodule(expected.name.rpartition(".")[0])
    with record(block) as alone:
        generate(model, ids(PROMPT))
    found = alone.tape()
    assert (found.n_layers, found.steps) == (1, everything.tape().steps)
    assert torch.equal(found.layer(0).q, expected.q) and torch.equal(found.layer(0).k, expected.k)
    assert found.layer(0).spans == expected.spans


def test_layers_without_attention_are_listed():
    import transformers as t

    base = {**BASE, "num_hidden_layers": 3}
    config = t.JambaConfig(
        **base,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        expert_layer_offset=1,
        num_experts=2,
        use_mamba_kernels=False,
        mamba_d_state=4,
        mamba_dt_rank=4,
    )
    model = t.JambaForCausalLM(config).eval()
    with torch.no_grad(), record(model) as recorder:
        model(ids(6))
    tape = recorder.tape()
    assert [layer.name for layer in tape.layers] == ["model.layers.1.self_attn"]
    assert tape.skipped == [
        ("model.layers.0", "JambaMambaMixer", "no softmax attention was seen in this layer"),
        ("model.layers.2", "JambaMambaMixer", "no softmax attention was seen in this layer"),
    ]
    with record(model) as recorder:
        generate(model, ids(6), max_new_tokens=4)
    assert recorder.tape().steps == [6, 1, 1, 1]


def test_a_layer_without_attention_is_named_by_what_mixes_in_it_and_not_by_a_part_of_that():
    import transformers as t

    linear = {f"linear_{what}": 8 for what in ("key_head_dim", "value_head_dim")}
    heads = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "head_dim": 8}
    experts = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
    types = ["linear_attention", "full_attention"]
    config = t.Qwen3NextConfig(
        **BASE, **linear, **heads, **experts, shared_expert_intermediate_size=16, layer_types=types
    )
    model = t.Qwen3NextForCausalLM(config).eval()
    with torch.no_grad(), record(model) as recorder:
        model(ids(6))
    assert [one[:2] for one in recorder.tape().skipped] == [("model.layers.0", "Qwen3NextGatedDeltaNet")]


def test_a_model_without_any_attention_says_so():
    model = nn.Sequential(nn.Embedding(64, 8), nn.Linear(8, 64))
    with record(model) as recorder:
        model(ids(4))
    with pytest.raises(RecordError, match="no softmax attention was seen in Sequential"):
        recorder.tape()


def test_a_model_that_is_one_plain_layer_is_seen_to_run():
    model = nn.Embedding(4, 4)
    with record(model) as recorder:
        model(ids(3) % 4)
    with pytest.raises(RecordError, match="no softmax attention was seen in Embedding"):
        recorder.tape()


def test_a_model_that_did_not_run_says_so():
    with record(Plain()) as recorder:
        pass
    with pytest.raises(RecordError, match=r"the model did not run inside `with record\(model\)`"):
        recorder.tapes()


def test_a_model_whose_forward_was_refused_or_failed_says_so():
    model = Plain()
    with record(model) as recorder, pytest.raises(IndexError):
        model(ids(3) + 999)
    with pytest.raises(
        RecordError, match="nothing was recorded, because no forward of Plain came to its end"
    ):
        recorder.tapes()
