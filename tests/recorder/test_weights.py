"""Recording whole models: weights are the model's own, and its outputs untouched."""

import pytest
import torch

from lookbehind.recorder import record
from tests.recorder.weights import SPANS, difference
from tests.tiny_models import MAKE, PROMPT, STEPS, Plain, generate, ids, tiny

# DeepSeek expands its latents anew in every step: where threads share their rows, 11 are rounded otherwise
# than 12 on some CPUs.
pytestmark = pytest.mark.usefixtures("one_thread")


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


@pytest.mark.parametrize("name", ["gemma2", "gpt_oss", "bloom", "mpt"])
def test_eager_attention_takes_its_softmax_in_float32_within_a_float64_model_too(name):
    model, prompt = tiny(name, dtype=torch.float64), ids(9)
    with torch.no_grad():
        plain = model(prompt, output_attentions=True)
        with record(model) as recorder:
            assert torch.equal(model(prompt).logits, plain.logits)
    assert recorder.tape().layer(0).q.dtype == torch.float64
    assert difference(recorder.tape(), [plain.attentions]) < 1e-6


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
