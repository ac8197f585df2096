"""Tiny models of transformers' architectures: what they are, and that every path of them carries signal."""

import warnings

import pytest
import torch

from lookbehind.auditor.architectures import Unbuildable, names, sizes, tiny
from lookbehind.auditor.architectures.stubborn import REASONS, SETTINGS
from lookbehind.auditor.architectures.weights import redraw
from lookbehind.errors import InputError

# One of each make: plain, old, experts, latent keys, state space, recurrent, hybrid, chunked, an encoder.
SAMPLE = [
    "LlamaForCausalLM",
    "GPT2LMHeadModel",
    "GptOssForCausalLM",
    "DeepseekV3ForCausalLM",
    "Mamba2ForCausalLM",
    "RwkvForCausalLM",
    "Qwen3NextForCausalLM",
    "Gemma3nForCausalLM",
    "Llama4ForCausalLM",
    "BertLMHeadModel",
    "LlamaForCausalLM/internlm3",
]


def logits(model, ids):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(input_ids=ids).logits


def test_every_causal_class_of_transformers_has_a_name():
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as LISTED

    found = names()
    assert set(LISTED.values()) <= set(found)
    assert {"Mistral4ForCausalLM", "ClvpForCausalLM"} <= set(found)  # not on that list
    assert found == sorted(set(found), key=str.lower)
    assert "AutoModelForCausalLM" not in found


def test_the_tables_name_architectures_that_exist():
    assert set(SETTINGS) | set(REASONS) <= set(names())
    assert not set(SETTINGS) & set(REASONS)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_tiny_model_runs_and_is_small(name):
    model = tiny(name)
    out = logits(model, torch.randint(5, 90, (2, 20)))
    assert out.shape == (2, 20, sizes.VOCABULARY)
    assert torch.isfinite(out).all()
    assert out.dtype == torch.float32
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) < 2_000_000


@pytest.mark.parametrize("name", SAMPLE)
def test_an_early_token_reaches_a_late_output(name):
    model = tiny(name)
    ids = torch.randint(5, 90, (1, 20), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, 14] = (ids[0, 14] + 1) % 90
    change = (logits(model, ids) - logits(model, other)).abs()
    assert change[0, 15:].amax() > 1e-3


def test_the_seed_decides_and_the_generator_is_left_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, same, other = tiny("LlamaForCausalLM"), tiny("LlamaForCausalLM"), tiny("LlamaForCausalLM", seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    ids = torch.arange(5, 15)[None]
    assert torch.equal(logits(one, ids), logits(same, ids))
    assert not torch.equal(logits(one, ids), logits(other, ids))


def test_overrides_win():
    assert tiny("Qwen3ForCausalLM", sliding_window=5).config.sliding_window == 5
    assert tiny("JambaForCausalLM", num_hidden_layers=2).config.num_hidden_layers == 2


def test_one_layer_of_each_kind_is_kept():
    assert tiny("Gemma3ForCausalLM").config.layer_types == ["sliding_attention", "full_attention"]
    assert tiny("Gemma3ForCausalLM").config.sliding_window == sizes.WINDOW
    assert tiny("Qwen2ForCausalLM").config.layer_types == ["full_attention", "sliding_attention"]


def test_an_encoder_is_made_a_decoder():
    assert tiny("BertLMHeadModel").config.is_decoder is True


@pytest.mark.parametrize(
    ("key", "value", "small"),
    [
        ("hidden_size", 4096, 64),
        ("num_attention_heads", 2, 2),  # never more than there was
        ("num_key_value_heads", 1, 1),
        ("sliding_window", 4096, 8),
        ("num_shared_experts", 0, 0),
        ("eos_token_id", 128001, 2),
        ("rope_theta", 10000, 10000),  # no rule
    ],
)
def test_settings_shrink_by_name(key, value, small):
    assert sizes.small(key, value) == small


def test_what_cannot_be_built_is_said_in_words():
    with pytest.raises(Unbuildable, match="Gemma4AssistantForCausalLM: reads another model's keys"):
        tiny("Gemma4AssistantForCausalLM")
    with pytest.raises(InputError, match=r"GPT9ForCausalLM: no decoder of transformers .* has this name"):
        tiny("GPT9ForCausalLM")
    with pytest.raises(InputError, match="no model type 'nothing' of class LlamaForCausalLM"):
        tiny("LlamaForCausalLM/nothing")


def test_redrawing_wakes_what_initialisation_leaves_asleep():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(50, 16, padding_idx=0)
            self.norm = torch.nn.LayerNorm(16)
            self.linear = torch.nn.Linear(16, 400)
            self.A_log = torch.nn.Parameter(torch.arange(1.0, 5.0).log())
            self.sinks = torch.nn.Parameter(torch.zeros(4))

    module = Module()
    kept = module.A_log.clone()
    redraw(module.requires_grad_(False), 0)
    assert torch.equal(module.A_log, kept)  # a decay that decays
    assert abs(float(module.embed.weight.std()) - 1) < 0.1
    assert abs(float(module.linear.weight.std()) - 0.25) < 0.02
    assert float(module.norm.weight.std()) > 0.01
    assert abs(float(module.norm.weight.mean()) - 1) < 0.2
    assert float(module.sinks.abs().min()) > 0
