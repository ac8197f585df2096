"""Recording whole models: weights are the model's own, outputs untouched, and the rest is refused."""

import copy
import pickle
import subprocess
import sys
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lookbehind as lb
from lookbehind.errors import InputError, RecordError
from lookbehind.recorder import record
from tests.tiny_models import BASE, MAKE, PROMPT, STEPS, WINDOW, Plain, generate, ids, tiny
from tests.tokenizers import Bytes

SPANS = {
    "mistral": [f"causal & window({WINDOW})"] * 2,
    "gemma2": [f"causal & window({WINDOW})", "causal"],
    "gpt_oss": [f"causal & window({WINDOW})", "causal"],
    "llama4": ["causal & chunk(8)", "causal"],
}


@pytest.fixture(autouse=True)
def quiet():
    """transformers warns of its own affairs (generation flags, say), which are not tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def difference(tape, attentions, row=0, first=0):
    """Largest difference between the tape's weights and eager attention maps of consecutive forwards."""
    worst = 0.0
    for step in attentions:
        last = first + step[0].shape[2]
        for number, maps in enumerate(step):
            n_keys = min(maps.shape[3], last)
            layer = tape.layer(number)
            for head in range(layer.n_heads):
                weights = tape.weights(number, head, queries=slice(first, last))
                expected = torch.zeros_like(weights)
                expected[:, last - n_keys : last] = maps[row, head, :, :n_keys]
                worst = max(worst, float((weights - expected).abs().max()))
        first = last
    assert first == tape.n_queries
    return worst


@pytest.mark.parametrize("name", MAKE)
def test_weights_are_the_models_own_in_prefill_and_after_20_cached_steps(name):
    model, prompt = tiny(name), ids(PROMPT)
    with torch.no_grad():
        plain = model(prompt, output_attentions=True)
        with record(model) as recorder:
            recorded = model(prompt)
    assert torch.equal(plain.logits, recorded.logits)
    tape = recorder.tape()
    assert difference(tape, [plain.attentions]) < 1e-5
    assert max(float(maps[0, :, -1].max()) for maps in plain.attentions) < 1.0  # the last query truly chooses

    plain = generate(model, prompt, output_attentions=True)
    with record(model) as recorder:
        recorded = generate(model, prompt)
    assert all(torch.equal(*pair) for pair in zip(plain.logits, recorded.logits, strict=True))
    tape = recorder.tape()
    assert tape.steps == [PROMPT] + [1] * STEPS
    assert difference(tape, plain.attentions) < 1e-5
    assert [layer.spans.describe() for layer in tape.layers] == SPANS.get(name, ["causal"] * 2)
    assert tape.token_ids == plain.sequences[0, :-1].tolist()


def test_parameters_travel_along():
    def layers(name):
        model = tiny(name)
        with torch.no_grad(), record(model) as recorder:
            model(ids(5))
        return model, recorder.tape().layers

    _, gemma = layers("gemma2")
    assert [layer.softcap for layer in gemma] == [5.0, 5.0]
    model, gpt_oss = layers("gpt_oss")
    assert torch.equal(gpt_oss[0].sinks, model.model.layers[0].self_attn.sinks)
    _, llama = layers("llama")
    assert (llama[0].n_heads, llama[0].n_kv_heads, llama[0].scale) == (4, 2, 8**-0.5)
    _, bloom = layers("bloom")
    assert bloom[0].alibi.tolist() == [2**-2, 2**-4, 2**-6, 2**-8]
    _, mpt = layers("mpt")
    assert mpt[0].alibi.tolist() == [2**-2, 2**-4, 2**-6, 2**-8]
    _, deepseek = layers("deepseek_v3")
    assert deepseek[0].q.shape == (4, 5, 24)


@pytest.mark.parametrize("attention", ["sdpa", "flex_attention"])
@pytest.mark.parametrize("name", ["llama", "mistral", "llama4"])
def test_every_implementation_records_the_same_products(name, attention):
    eager, model, prompt = tiny(name), tiny(name, attention), ids(PROMPT)
    options = {"max_new_tokens": 8}
    with torch.compiler.set_stance("force_eager"):  # FlexAttention's own Python, without minutes of compiling
        plain = generate(model, prompt, **options)
        with record(model) as recorder:
            recorded = generate(model, prompt, **options)
    assert all(torch.equal(*pair) for pair in zip(plain.logits, recorded.logits, strict=True))
    tape = recorder.tape()
    assert tape.meta["attention"] == attention
    if torch.equal(
        plain.sequences, (own := generate(eager, prompt, output_attentions=True, **options)).sequences
    ):
        assert difference(tape, own.attentions) < 1e-5
    assert [layer.spans.describe() for layer in tape.layers] == SPANS.get(name, ["causal"] * 2)


PADDED = [(name, "eager") for name in ("llama", "mistral", "bloom", "mpt", "gpt_oss")]


@pytest.mark.parametrize(("name", "attention"), [*PADDED, ("llama", "sdpa"), ("mistral", "sdpa")])
def test_a_left_padded_batch_gives_one_tape_per_row_and_padding_becomes_spans(name, attention):
    model, prompt = tiny(name, attention), ids(9, batch=2)
    mask = torch.ones_like(prompt)
    mask[1, :3] = 0
    plain = generate(tiny(name), prompt, attention_mask=mask, output_attentions=True, max_new_tokens=5)
    with record(model) as recorder:
        recorded = generate(model, prompt, attention_mask=mask, max_new_tokens=5)
    assert torch.equal(plain.sequences, recorded.sequences)
    full, padded = recorder.tapes()
    assert full.n_queries == padded.n_queries == 13
    assert difference(full, plain.attentions, row=0) < 1e-5
    window = "" if name not in SPANS else f" & window({WINDOW})"
    assert full.layer(0).spans.describe() == f"causal{window}"
    pattern = (lb.parse(f"causal{window}") & ~lb.First(3)).spans(13)
    assert padded.layer(0).spans == pattern
    # A padding query has no key on the tape; eager attention weighs all its masked keys alike.
    decode = list(plain.attentions[1:])
    assert difference(padded, decode, row=1, first=9) < 1e-5
    assert padded.weights(0, 0, 1).sum() == 0
    with pytest.raises(RecordError, match=r"tape\(\): 2 sequences were recorded.*use recorder\.tapes\(\)"):
        recorder.tape()


@pytest.mark.parametrize(
    ("name", "attention"),
    [("llama", "eager"), ("mistral", "eager"), ("bloom", "eager"), ("llama", "sdpa"), ("mistral", "sdpa")],
)
def test_a_static_cache_records_as_a_growing_one(name, attention):
    model, prompt = tiny(name, attention), ids(PROMPT)
    with record(model) as recorder:
        growing = generate(model, prompt, max_new_tokens=6)
        static = generate(model, prompt, max_new_tokens=6, cache_implementation="static")
    one, other = recorder.tapes()
    assert torch.equal(growing.sequences, static.sequences)
    assert one.steps == other.steps == [PROMPT, 1, 1, 1, 1, 1]
    for ours, theirs in zip(one.layers, other.layers, strict=True):
        assert ours.spans == theirs.spans
        torch.testing.assert_close(ours.k, theirs.k)
        torch.testing.assert_close(ours.weights(), theirs.weights())


@pytest.mark.parametrize("name", ["llama", "mistral", "llama4"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_chunked_prefill_grows_one_triangle(name, attention):
    from transformers import DynamicCache

    model, prompt = tiny(name, attention), ids(13)
    with torch.no_grad():
        whole = tiny(name)(prompt, output_attentions=True)
        cache = DynamicCache(config=model.config)
        with record(model) as recorder:
            for first, last in ((0, 5), (5, 6), (6, 13)):
                model(prompt[:, first:last], past_key_values=cache)
    tape = recorder.tape()
    assert tape.steps == [5, 1, 7]
    assert difference(tape, [whole.attentions]) < 1e-5
    assert tape.token_ids == prompt[0].tolist()


def test_without_a_cache_each_forward_is_a_sequence():
    model = tiny("llama")
    with record(model) as recorder:
        generate(model, ids(4), max_new_tokens=3, use_cache=False)
    assert [tape.n_queries for tape in recorder.tapes()] == [4, 5, 6]


def test_two_caches_may_take_turns():
    from transformers import DynamicCache

    model = tiny("llama", "sdpa")
    prompts = [ids(6, seed=1), ids(6, seed=2)]
    caches = [DynamicCache(config=model.config) for _ in prompts]
    with torch.no_grad(), record(model) as recorder:
        for first, last in ((0, 4), (4, 5), (5, 6)):
            for prompt, cache in zip(prompts, caches, strict=True):
                model(prompt[:, first:last], past_key_values=cache)
    assert [tape.token_ids for tape in recorder.tapes()] == [prompt[0].tolist() for prompt in prompts]
    assert [tape.steps for tape in recorder.tapes()] == [[4, 1, 1]] * 2


def test_a_hand_written_decoder_with_a_cache_of_its_own():
    model, prompt = Plain(), ids(PROMPT)
    with torch.no_grad():
        plain, cache = [model(prompt, {})], {}
        with record(model) as recorder:
            outputs = [model(prompt, cache)]
            for _ in range(STEPS):
                outputs.append(model(outputs[-1][:, -1:].argmax(-1), cache))
        assert torch.equal(plain[0], outputs[0])
    tape = recorder.tape()
    assert [layer.name for layer in tape.layers] == ["blocks.0", "blocks.1"]
    assert tape.steps == [PROMPT] + [1] * STEPS
    assert len(tape.token_ids) == PROMPT + STEPS
    for number, block in enumerate(model.blocks):
        q, k, _ = block.seen
        scores = (q @ k.transpose(-1, -2))[0, :, -1] * 8**-0.5
        for head in range(4):
            torch.testing.assert_close(
                tape.weights(number, head, -1), scores[head].softmax(-1), rtol=0, atol=1e-5
            )
    whole = Plain()
    with torch.no_grad(), record(whole) as recorder:
        whole(torch.tensor([tape.token_ids]), {})
    other = recorder.tape()
    assert [layer.spans for layer in tape.layers] == [layer.spans for layer in other.layers]
    torch.testing.assert_close(tape.layer(1).weights(), other.layer(1).weights(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    model = tiny("llama", "sdpa", dtype)
    with torch.no_grad():
        plain = model(ids(9)).logits
        with record(model) as recorder:
            assert torch.equal(model(ids(9)).logits, plain)
    tape = recorder.tape()
    assert tape.layer(0).q.dtype == dtype and tape.meta["dtype"] == str(dtype)[6:]
    assert float(tape.weights(0, 0, 8).sum()) == pytest.approx(1.0, abs=1e-5)


def test_autocast_records_what_the_kernel_was_given():
    model = tiny("llama", "sdpa")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), record(model) as recorder:
        model(ids(6))
    assert recorder.tape().layer(0).q.dtype == torch.bfloat16


def test_inference_mode_and_grad_both_work():
    model = tiny("llama", "sdpa")
    with torch.inference_mode(), record(model) as recorder:
        model(ids(6))
    assert not recorder.tape().layer(0).q.is_inference()
    with record(model) as recorder:
        model(ids(6)).logits.sum().backward()
    assert len(recorder.tapes()) == 1
    assert not recorder.tape().layer(0).q.requires_grad


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_checkpointing_runs_again_within_backward_is_not_recorded_again(reentrant):
    model = tiny("llama", "sdpa").train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model(ids(6), labels=ids(6)).loss.backward()
    plain = model.lm_head.weight.grad.clone()
    model.zero_grad()
    with record(model) as recorder:
        model(ids(6), labels=ids(6)).loss.backward()
        model(ids(5))
    assert torch.equal(model.lm_head.weight.grad, plain)
    assert [tape.n_queries for tape in recorder.tapes()] == [6, 5]
    assert [layer.name for layer in recorder.tapes()[0].layers] == [
        f"model.layers.{n}.self_attn" for n in (0, 1)
    ]


def test_a_part_of_a_larger_model_is_recorded_alone():
    model = tiny("llama", "sdpa")
    with torch.no_grad(), record(model.model) as recorder:
        model(ids(6))
        other = tiny("qwen3", "sdpa")(ids(6)).logits  # passes the same interface, and is none of our business
    tape = recorder.tape()
    assert [layer.name for layer in tape.layers] == ["layers.0.self_attn", "layers.1.self_attn"]
    assert tape.token_ids == ids(6)[0].tolist()
    assert torch.equal(other, tiny("qwen3", "sdpa")(ids(6)).logits)


# -- layers without attention ------------------------------------------------------------------------------


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


# -- what is refused ---------------------------------------------------------------------------------------


def refused(model, *args, **kwargs):
    with torch.no_grad(), record(model), pytest.raises(RecordError) as caught:
        model(*args, **kwargs)
    return str(caught.value)


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


def test_models_that_cannot_be_recorded_are_refused_before_they_run():
    import transformers as t

    with pytest.raises(InputError, match=r"record: a torch\.nn\.Module is needed; got str"):
        record("gpt2")
    with pytest.raises(InputError, match="to: a path is needed; got 5"):
        record(Plain(), to=5)
    with pytest.raises(InputError, match=r"tokenizer: something with decode\(ids\) is needed; got int"):
        record(Plain(), tokenizer=5)
    with pytest.raises(RecordError, match="OptimizedModule: is compiled"):
        record(torch.compile(nn.Linear(2, 2)))
    inner = Plain()
    inner.blocks[1].compile()
    with pytest.raises(RecordError, match=r"Plain\.blocks\.1: is compiled"):
        record(inner)
    inner = Plain()
    inner.blocks[0].forward = torch.compile(inner.blocks[0].forward, backend="eager")
    with pytest.raises(RecordError, match=r"Plain\.blocks\.0: is compiled"):
        record(inner)
    with pytest.raises(RecordError, match="ModuleList: holds modules and does not run itself"):
        record(Plain().blocks)
    t5 = t.T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    with pytest.raises(RecordError, match="T5ForConditionalGeneration: is an encoder-decoder"):
        record(t.T5ForConditionalGeneration(t5))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("warm", [False, True])
def test_a_compiled_function_that_calls_the_model_is_refused(warm):
    torch._dynamo.reset()
    model = Plain()
    call = torch.compile(lambda prompt: model(prompt), backend="eager")
    disabled = torch.compiler.disable(model)
    with torch.no_grad():
        if warm:
            call(ids(4))
        with record(model) as recorder:
            with pytest.raises(RecordError, match="Plain: is compiled or called by a compiled function"):
                call(ids(4))
            disabled(ids(5))
    assert recorder.tape().n_queries == 5
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_model_is_refused():
    with pytest.raises(RecordError, match=r"is scripted \(torch\.jit\)"):
        record(torch.jit.script(nn.Linear(2, 2)))


def test_models_with_their_own_eager_attention_are_refused_by_name():
    import transformers as t

    gptj = t.GPTJForCausalLM(t.GPTJConfig(vocab_size=64, n_embd=32, n_layer=1, n_head=4, rotary_dim=4)).eval()
    told = refused(gptj, ids(5))
    assert told.startswith("transformer.h.0.attn: GPTJAttention multiplies queries and keys itself")
    falcon = t.FalconConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
    falcon._attn_implementation = "eager"
    told = refused(t.FalconForCausalLM(falcon).eval(), ids(5))
    assert "FalconAttention multiplies queries and keys itself" in told


def test_falcon_is_recorded_where_it_calls_pytorch():
    import transformers as t

    config = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = t.FalconForCausalLM(t.FalconConfig(**config, attn_implementation="sdpa")).eval()
    with record(model) as recorder:
        generate(model, ids(6), max_new_tokens=4)
    tape = recorder.tape()
    assert tape.steps == [6, 1, 1, 1]
    assert tape.layer(0).spans.describe() == "causal"
    model = t.FalconForCausalLM(t.FalconConfig(**config, alibi=True, attn_implementation="sdpa")).eval()
    with record(model) as recorder:
        generate(model, ids(6), max_new_tokens=4)
    torch.testing.assert_close(
        recorder.tape().layer(0).alibi, torch.tensor([2.0**-2, 2**-4, 2**-6, 2**-8]) / 8**0.5
    )
    # Beyond 256 positions its ALiBi, rounded to bfloat16, is no longer slope * distance.
    assert "an additive bias is neither a mask nor ALiBi" in refused(model, ids(300))


def test_a_transformer_encoder_layer_is_refused():
    layer = nn.TransformerEncoderLayer(16, 2, 16, batch_first=True).eval()
    told = refused(layer, torch.randn(1, 4, 16))
    assert "torch.nn.MultiheadAttention computes attention inside one function" in told or "fused" in told


class Odd(nn.Module):
    """One attention call, as odd as a test makes it."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        q, k, v = (x * factor for factor in (1.0, 0.5, 2.0))
        return self.call(q, k, v)


X = torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(0))


def test_odd_calls_are_refused_by_reason():
    bias = torch.randn(1, 2, 6, 6)
    told = refused(Odd(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, bias)), X)
    assert told.startswith("Odd: an additive bias is neither a mask nor ALiBi (value")
    masks = torch.rand(1, 2, 6, 6) > 0.5
    masks[..., 0] = True
    told = refused(Odd(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, masks)), X)
    assert "head 1 has another mask than head 0" in told
    told = refused(Odd(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)), X)
    assert "attention dropout 0.5 is active" in told
    told = refused(Odd(lambda q, k, v: F.scaled_dot_product_attention(q[0], k[0], v[0])), X)
    assert "does not tell batch from heads" in told
    told = refused(Odd(lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :, :4], v[:, :, :4])), X)
    assert "6 queries meet 4 keys" in told
    told = refused(Odd(lambda q, k, v: F.scaled_dot_product_attention(q[:, :, :4], k, v)), X)
    assert "Odd: 4 queries meet 6 keys in a forward that begins a sequence" in told
    told = refused(Odd(lambda q, k, v: torch.softmax(q @ k.mT, -1) @ v), X)
    assert "Odd multiplies queries and keys itself" in told
    told = refused(Odd(lambda q, k, v: nn.Softmax(-1)(torch.einsum("bhid,bhjd->bhij", q, k)) @ v), X)
    assert "multiplies queries and keys itself" in told


def test_training_dropout_in_transformers_is_refused():
    import transformers as t

    model = t.LlamaForCausalLM(t.LlamaConfig(**BASE, attention_dropout=0.1)).train()
    assert "attention dropout 0.1 is active, so weights are random; call model.eval() first" in refused(
        model, ids(4)
    )


def test_an_attention_function_that_does_more_than_it_says_is_refused(monkeypatch):
    import transformers as t

    def biased(module, query, key, value, attention_mask, scaling, **kwargs):
        out, _ = t.modeling_utils.ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key + 0.5 * torch.randn_like(key), value, attention_mask, scaling=scaling
        )
        return out, None

    mapping = t.AttentionInterface._global_mapping
    monkeypatch.setitem(mapping, "biased", biased)
    masks = t.masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._global_mapping
    monkeypatch.setitem(masks, "biased", t.masking_utils.sdpa_mask)
    model = tiny("llama")
    model.config._attn_implementation = "biased"
    told = refused(model, ids(8))
    assert "this attention does something that recording does not know" in told


def test_beam_search_is_refused_when_it_reorders_the_cache():
    model = tiny("llama", "sdpa")
    torch.manual_seed(0)
    with record(model), pytest.raises(RecordError, match=r"another key for position \d+.*beam search"):
        generate(model, ids(4), num_beams=3, max_new_tokens=20)


def test_a_cache_filled_before_recording_is_refused():
    from transformers import DynamicCache

    model = tiny("llama", "sdpa")
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(ids(5), past_key_values=cache)
        told = refused(model, ids(1), past_key_values=cache)
    assert "the cache holds 5 positions, and no sequence of 5 was recorded" in told


def test_a_cropped_cache_is_refused():
    from transformers import DynamicCache

    model = tiny("llama", "sdpa")
    cache = DynamicCache(config=model.config)
    with torch.no_grad(), record(model) as recorder:
        model(ids(5), past_key_values=cache)
        cache.crop(-2)
        with pytest.raises(RecordError, match=r"holds 3 positions.*\(the longest has 5\)"):
            model(ids(1), past_key_values=cache)
    assert recorder.tape().n_queries == 5  # what was recorded before is whole


# -- everything is restored --------------------------------------------------------------------------------


def state(model):
    from transformers.modeling_utils import AttentionInterface

    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return AttentionInterface.get_interface, hooks, torch.overrides._len_torch_function_stack()


def vars_of(model):
    hooks = [(name, dict(held)) for m in model.modules() for name, held in vars(m).items() if "hooks" in name]
    return state(model), hooks


def test_everything_is_restored_whatever_happens():
    model = tiny("llama", "sdpa")
    before = state(model)
    with record(model):
        assert state(model) != before
    assert state(model) == before
    with pytest.raises(KeyError), record(model):
        raise KeyError
    assert state(model) == before
    with pytest.raises(IndexError), record(model) as recorder:
        model(ids(4))
        model(torch.full((1, 4), 9999))  # no such token
    assert state(model) == before
    assert recorder.tape().n_queries == 4


def test_a_copy_that_is_made_while_recording_is_not_recorded():
    model = tiny("llama", "sdpa")
    with record(model) as recorder:
        model(ids(4))
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        for one in copies:
            one(ids(5))
    assert recorder.tape().n_queries == 4
    for one in copies:
        assert torch.equal(one(ids(5)).logits, model(ids(5)).logits)
        with record(one) as again:
            one(ids(6))
        assert again.tape().n_queries == 6


PLACES = (
    "lookbehind/recorder.py",
    "taps/stack.py",
    "taps/function.py",
    "taps/interface.py",
    "torch/nn/modules/module.py",
)


def interrupted(act, line):
    """Call `act`, and Ctrl-C at the line of that number in PLACES; whether it came."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line" and frame.f_code.co_filename.endswith(PLACES)
        if count > line:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("leaving", [False, True])
def test_an_interrupt_on_the_way_in_or_out_leaves_nothing_on_the_model(leaving):
    model = Plain(layers=1)
    state(model)  # imports transformers
    before, line, came = vars_of(model), 1, True  # at line 0 nothing was begun
    while came:
        recorder = record(model)
        if leaving:
            recorder.__enter__()
            came = interrupted(lambda one=recorder: one.__exit__(None, None, None), line)
        else:
            came = interrupted(recorder.__enter__, line)
            if not came:
                recorder.__exit__(None, None, None)
        assert vars_of(model) == before, line
        line += 1
    assert line > 50
    with torch.no_grad():
        model(ids(4))
    with torch.no_grad(), record(model) as recorder:
        model(ids(4))
    assert recorder.tape().n_queries == 4


def test_a_forward_that_fails_leaves_nothing_behind():
    model, prompt = Plain(), ids(5)
    with torch.no_grad(), record(model) as recorder:
        cache = {}
        model(prompt, cache)
        handle = model.head.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(prompt, {})
        handle.remove()
        model(prompt[:, :1], cache)
    assert [tape.steps for tape in recorder.tapes()] == [[5, 1]]


def test_nested_recordings():
    model, other = Plain(), tiny("llama", "sdpa")
    with torch.no_grad(), record(model) as one, record(other) as two:
        with pytest.raises(RecordError, match="Plain is being recorded already"), record(model):
            pass
        with pytest.raises(RecordError, match="Block is being recorded already"), record(model.blocks[0]):
            pass
        model(ids(4))
        other(ids(5))
        with pytest.raises(RecordError, match="a recorder records once"):
            one.__enter__()
    assert (one.tape().n_queries, two.tape().n_queries) == (4, 5)
    assert state(other)[2] == 0


def test_a_call_from_another_thread_is_refused():
    model, told = Plain(), []

    def run():
        try:
            model(ids(4))
        except RecordError as error:
            told.append(str(error))

    with record(model):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert "another thread than the one that began recording" in told[0]


def test_transformers_is_not_imported():
    code = (
        "import sys, torch, lookbehind.recorder as r\n"
        "assert 'transformers' not in sys.modules\n"
        "from torch import nn\n"
        "class M(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)\n"
        "m = M()\n"
        "with r.record(m) as recorder: m(torch.randn(1, 2, 5, 8))\n"
        "assert recorder.tape().n_queries == 5\n"
        "assert 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_tokens_are_kept_with_the_tape():
    model = Plain()
    with torch.no_grad(), record(model, tokenizer=Bytes()) as recorder:
        model(torch.tensor([list(b"=> 12")]))
    assert recorder.tape().tokens == list("=> 12")
    with torch.no_grad(), record(model.blocks[0]) as recorder:
        model.blocks[0](torch.randn(1, 4, 32), {})
    assert recorder.tape().token_ids is None


def test_ids_that_a_tokenizer_does_not_have_lose_no_recording(tmp_path):
    class Narrow(Bytes):
        def decode(self, some):
            if 63 in some:
                raise RuntimeError(63)
            return super().decode(some)

    model = Plain()
    with torch.no_grad(), record(model, tokenizer=Narrow(), to=tmp_path / "t"):
        model(torch.tensor([[*b"=> 1", 63, *b"2"]]))
    assert lb.load(tmp_path / "t").tokens == [*"=> 1", "<63>", "2"]
