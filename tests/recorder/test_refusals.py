"""What cannot be recorded exactly is refused, by name and reason."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lookbehind.errors import InputError, RecordError
from lookbehind.recorder import record
from tests.tiny_models import BASE, Plain, generate, ids, tiny


def refused(model, *args, **kwargs):
    with torch.no_grad(), record(model), pytest.raises(RecordError) as caught:
        model(*args, **kwargs)
    return str(caught.value)


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


def test_latents_that_are_expanded_with_other_rounding_are_refused_and_their_text_is_not(one_thread):
    model = tiny("deepseek_v3")

    def another_order(module, args, output):
        return output if output.shape[-2] < 8 else output.nextafter(torch.tensor(torch.inf))

    model.model.layers[1].self_attn.kv_b_proj.register_forward_hook(another_order)
    said = r"layers\.1\.self_attn: .*latents with other rounding.*: record one forward over the finished text"
    with record(model), pytest.raises(RecordError, match=said):
        generate(model, ids(5), max_new_tokens=6)
    text = generate(model, ids(5), max_new_tokens=6).sequences
    with torch.no_grad(), record(model) as recorder:
        model(text)
    assert recorder.tape().token_ids == text[0].tolist()


def test_a_cache_filled_before_recording_is_refused():
    from transformers import DynamicCache

    model = tiny("llama", "sdpa")
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(ids(5), past_key_values=cache)
        told = refused(model, ids(1), past_key_values=cache)
    assert "the cache holds 5 positions, and no sequence of 5 was recorded" in told
    assert "it was filled before recording began" in told


def test_assisted_generation_is_refused_when_it_rolls_the_cache_back():
    model, draft = tiny("llama", "sdpa"), tiny("llama", "sdpa")
    draft.lm_head.weight.data.neg_()  # proposes what is never taken
    said = r"was rolled back, as assisted generation.*: record one forward over the finished text instead"
    with record(model), pytest.raises(RecordError, match=said):
        generate(model, ids(5), assistant_model=draft, max_new_tokens=9)


def test_bloom_with_padding_between_its_tokens_is_refused():
    from transformers import DynamicCache

    model, mask = tiny("bloom"), torch.tensor([[1, 1, 1, 0, 0]])
    cache = DynamicCache(config=model.config)
    with torch.no_grad(), record(model):
        model(ids(5), attention_mask=mask, past_key_values=cache)
        with pytest.raises(RecordError, match=r"is not slope \* key .* in float32, and pad on the left"):
            model(ids(1), attention_mask=torch.cat([mask, mask[:, :1]], 1), past_key_values=cache)


def test_rows_that_leave_a_batch_are_refused():
    from transformers import DynamicCache

    model = tiny("llama", "sdpa")
    cache = DynamicCache(config=model.config)
    with torch.no_grad(), record(model):
        model(ids(5, batch=3), past_key_values=cache)
        cache.batch_select_indices(torch.tensor([0, 2]))
        said = "the cache holds 5 positions of 2 sequences, and those of 3 were recorded"
        with pytest.raises(RecordError, match=said):
            model(ids(1, batch=2), past_key_values=cache)


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
