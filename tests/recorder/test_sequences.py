"""Batches, caches and chunks: a tape for each sequence, and one growing triangle on each."""

import pytest
import torch

import lookbehind as lb
from lookbehind.errors import RecordError
from lookbehind.recorder import record
from tests.recorder.weights import SPANS, difference
from tests.tiny_models import PROMPT, WINDOW, Plain, generate, ids, tiny
from tests.tokenizers import Bytes

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


def test_caches_that_take_turns_are_told_apart_where_their_last_keys_are_alike():
    from transformers import DynamicCache

    model = tiny("mistral")
    prompts = [ids(14), ids(14)]
    prompts[1][0, [0, 12, 13]] = 5  # no key of the window before the last two tokens tells of the first
    caches = [DynamicCache(config=model.config) for _ in prompts]
    with torch.no_grad(), record(model) as recorder:
        for first, last in ((0, 12), (12, 13), (13, 14)):
            for prompt, cache in zip(prompts, caches, strict=True):
                model(prompt[:, first:last], past_key_values=cache)
    for tape, prompt in zip(recorder.tapes(), prompts, strict=True):
        assert tape.token_ids == prompt[0].tolist()
        with torch.no_grad():
            assert difference(tape, [model(prompt, output_attentions=True).attentions]) < 1e-5


def test_a_tape_tells_of_the_model_as_it_was_when_recorded():
    model = tiny("llama", "sdpa")
    with torch.no_grad(), record(model) as recorder:
        model(ids(4))
        model.double().set_attn_implementation("eager")
        model(ids(5))
    model.bfloat16()
    told = [(tape.meta["dtype"], tape.meta["attention"]) for tape in recorder.tapes()]
    assert told == [("float32", "sdpa"), ("float64", "eager")]
