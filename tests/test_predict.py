from functools import partial

import pytest
import torch

from lookbehind.auditor.architectures import tiny as architecture
from lookbehind.errors import InputError
from lookbehind.predict import declared, decode_steps, encode, next_tokens
from tests.models import chatty, tiny
from tests.tiny_models import Plain


@pytest.fixture(scope="module")
def model_and_tokenizer():
    return tiny()


def test_next_tokens_are_the_softmax_of_the_last_row(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    found = next_tokens(model, tokenizer, "def parse(", k=5)
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer("def parse(")["input_ids"]])).logits[0, -1].double()
    best = logits.softmax(-1).topk(5)
    assert [t.id for t in found] == best.indices.tolist()
    assert [t.probability for t in found] == pytest.approx(best.values.tolist())
    assert found[0].logit == pytest.approx(logits.max().item())
    assert found[0].token == "<0xB5>"  # a piece of a character
    assert found.n_tokens == len(tokenizer("def parse(")["input_ids"])


def test_a_piece_of_a_character_is_shown_as_its_bytes(model_and_tokenizer):
    tokens = next_tokens(*model_and_tokenizer, "x", k=4096).tokens
    pieces = [one.token for one in tokens if one.token.startswith("<0x")]
    assert len(pieces) > 50 and not any("\ufffd" in one.token for one in tokens)


def test_the_whole_vocabulary_sums_to_1(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    found = next_tokens(model, tokenizer, "x", k=10**9)
    assert len(found) == model.config.vocab_size
    assert sum(t.probability for t in found) == pytest.approx(1.0)


def test_dropout_that_is_active_is_refused():
    model, tokenizer = tiny()
    model.model.norm = torch.nn.Sequential(model.model.norm, torch.nn.Dropout(0.1)).eval()
    next_tokens(model, tokenizer, "def")
    for call in (next_tokens, partial(decode_steps, steps=2)):
        with pytest.raises(
            InputError, match=r"model.norm.1: dropout 0.1 is active.*; call model.eval\(\) first"
        ):
            call(model.train(), tokenizer, "def")


def test_the_repr_shows_the_candidates(model_and_tokenizer):
    text = repr(next_tokens(*model_and_tokenizer, "def parse(", k=2))
    assert text.splitlines()[0].startswith('<NextTokens after "def parse("')
    assert len(text.splitlines()) == 3
    for long, shown in (("x" * 40, "x" * 40), ("ab" + "x" * 39, "…" + "x" * 39)):
        text = repr(next_tokens(*model_and_tokenizer, long, k=1))
        assert text.startswith(f'<NextTokens after "{shown}", ')


def test_steps_are_the_greedy_continuation(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    found = decode_steps(model, tokenizer, "def parse(", steps=6)
    ids = torch.tensor([tokenizer("def parse(")["input_ids"]])
    wanted = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=6)
    assert [step.chosen.id for step in found.steps] == wanted[0, ids.shape[1] :].tolist()
    assert found.continuation == tokenizer.decode(wanted[0, ids.shape[1] :])
    assert found.steps[2].candidates.n_tokens == found.n_prompt + 2


def test_steps_count_what_each_kind_of_layer_computes(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    found = decode_steps(model, tokenizer, "def parse(self, text):", steps=4)
    n = found.n_prompt
    assert n > 4
    assert {kind.pattern for kind in found.kinds} == {"causal", "causal & window(4)"}
    full = next(at for at, kind in enumerate(found.kinds) if kind.pattern == "causal")
    for number, step in enumerate(found.steps):
        read = n + number  # positions so far
        triangle, band = read * (read + 1) // 2, 10 + 4 * (read - 4)
        assert step.rows == (n if number == 0 else 1)
        assert step.recomputed[full] == triangle
        assert step.recomputed[1 - full] == band
        assert step.recomputed_total == 4 * (triangle + band)
        if number:
            assert (step.added[full], step.added[1 - full]) == (read, 4)
            assert step.added_total == 4 * (read + 4)
        else:
            assert step.added == step.recomputed


def test_decoding_stops_at_the_end_of_the_text(model_and_tokenizer, monkeypatch):
    model, tokenizer = model_and_tokenizer
    first = next_tokens(model, tokenizer, "x", k=1)[0].id
    monkeypatch.setattr(model.generation_config, "eos_token_id", first)
    assert len(decode_steps(model, tokenizer, "x", steps=5).steps) == 1


@pytest.mark.parametrize("name", ["MambaForCausalLM", "RecurrentGemmaForCausalLM"])
def test_steps_of_a_model_that_returns_no_cache_are_refused(model_and_tokenizer, name):
    tokenizer = model_and_tokenizer[1]
    with pytest.raises(
        InputError, match=f"steps: they need a cache of keys and values, and {name} keeps none"
    ):
        decode_steps(architecture(name, vocab_size=len(tokenizer)), tokenizer, "def parse(", steps=2)


def test_steps_of_a_model_that_takes_no_cache_are_refused_before_it_runs(model_and_tokenizer):
    tokenizer = model_and_tokenizer[1]
    model = Plain(vocabulary=len(tokenizer))
    assert len(next_tokens(model, tokenizer, "def parse(", k=3)) == 3
    model.register_forward_pre_hook(lambda *_: pytest.fail("it was called"))
    with pytest.raises(InputError, match="and Plain keeps none; leave steps out"):
        decode_steps(model, tokenizer, "def parse(", steps=1)


def test_empty_text_is_refused(model_and_tokenizer):
    with pytest.raises(InputError, match="text: it is empty; give at least one token to read"):
        next_tokens(*model_and_tokenizer, "")


@pytest.mark.parametrize("text", [["def", "parse("], b"def parse(", 5])
def test_what_is_no_text_is_refused(model_and_tokenizer, text):
    with pytest.raises(InputError, match=f"text: one text is needed; got {type(text).__name__}"):
        next_tokens(*model_and_tokenizer, text)


def test_text_longer_than_the_context_is_refused_with_both_numbers(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    text = "x = 1\n" * 40
    n = len(tokenizer(text, verbose=False)["input_ids"])
    with pytest.raises(
        InputError, match=rf"text: it is {n} tokens long, but the model's context is 64; shorten"
    ):
        next_tokens(model, tokenizer, text)
    with pytest.raises(InputError, match=r"is \d+ tokens long and 64 more are to be generated, but .* is 64"):
        decode_steps(model, tokenizer, "def parse(", steps=64)


def test_a_text_may_fill_the_context_to_the_last_position(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    n = len(tokenizer("def parse(")["input_ids"])
    assert encode(model, tokenizer, "def parse(", room=65 - n).shape == (1, n)
    with pytest.raises(InputError, match=rf"is {n} tokens long and {66 - n} more are to be generated"):
        encode(model, tokenizer, "def parse(", room=66 - n)


def test_a_tokenizer_wider_than_the_model_is_refused_with_both_numbers(model_and_tokenizer):
    tokenizer = model_and_tokenizer[1]
    narrow = architecture("GPT2LMHeadModel")
    known = narrow.get_input_embeddings().num_embeddings
    most = max(tokenizer("def parse(")["input_ids"])
    assert most >= known
    with pytest.raises(InputError) as caught:
        next_tokens(narrow, tokenizer, "def parse(")
    assert str(caught.value) == (
        f"text: the tokenizer gives token {most}, but the model has {known:,} tokens; "
        "give the tokenizer that the model was made with"
    )
    narrow.resize_token_embeddings(most + 1)
    assert encode(narrow, tokenizer, "def parse(").max() == most


def test_a_model_that_states_no_context_has_none():
    assert declared(torch.nn.Linear(1, 1), "max_position_embeddings") is None


@pytest.mark.parametrize(("call", "words"), [
    (lambda m, t: next_tokens(m, t, "x", k=0), "k: a whole number of at least 1 is needed; got 0"),
    (lambda m, t: decode_steps(m, t, "x", steps=0), "steps: a whole number of at least 1 is needed; got 0"),
    (lambda m, t: next_tokens(None, t, "x"), "model: a torch.nn.Module is needed; got NoneType"),
    (lambda m, t: next_tokens(m, None, "x"), "tokenizer: one of transformers is needed; got NoneType"),
    (lambda m, t: next_tokens(m, t, "x", k=2.5), "k: a whole number is needed; got 2.5"),
    (lambda m, t: decode_steps(m, t, "x", steps=2.5), "steps: a whole number is needed; got 2.5"),
])  # fmt: skip
def test_arguments_that_are_none_are_refused(model_and_tokenizer, call, words):
    with pytest.raises(InputError, match=words):
        call(*model_and_tokenizer)


class Says(torch.nn.Module):
    """Returns what is made of zeros for its logits; no parameters."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, ids):
        return self.made(torch.zeros(*ids.shape, 40))


@pytest.mark.parametrize("made", [lambda x: (x, None), lambda x: {"logits": x}, lambda x: x[:, -1:]])
def test_logits_are_found_in_what_plain_models_return(model_and_tokenizer, made):
    found = next_tokens(Says(made), model_and_tokenizer[1], "x", k=3)
    assert [one.probability for one in found] == pytest.approx([1 / 40] * 3)


@pytest.mark.parametrize(("made", "words"), [
    (lambda x: "no", r"model: it returned str; logits \[1, n, vocab\] are needed"),
    (lambda x: x[0], r"model: it returned a tensor \[1, 40\]; logits"),
    (lambda x: x * torch.nan, "model: its logits after 1 token are NaN or infinite and give no"),
    (lambda x: x - torch.inf, "1 token are NaN or infinite"),
])  # fmt: skip
def test_an_answer_without_probabilities_is_said_in_words(model_and_tokenizer, made, words):
    with pytest.raises(InputError, match=words):
        next_tokens(Says(made), model_and_tokenizer[1], "x")


def test_of_equal_logits_the_lower_id_comes_first_as_in_generate():
    model, tokenizer = tiny()
    ids = torch.tensor([tokenizer("def parse(")["input_ids"]])
    best = int(model(ids).logits[0, -1].argmax())
    # With a copy of the likeliest token's row at every later id there are ties at the top of each step.
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    head.weight.data[best:] = head.weight.data[best].clone()
    found = decode_steps(model, tokenizer, "def parse(", steps=4)
    written = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=4, eos_token_id=None
    )
    assert [step.chosen.id for step in found.steps] == written[0, ids.shape[1] :].tolist()
    assert [one.id for one in found.steps[0].candidates] == list(range(best, best + 5))


def test_a_plain_model_with_fewer_tokens_or_positions_says_so(model_and_tokenizer):
    tokenizer = model_and_tokenizer[1]
    with pytest.raises(InputError, match=r"text: its 3 tokens, of which \d+ is the last id, are more than"):
        next_tokens(Plain(vocabulary=10), tokenizer, "def parse(")
    with pytest.raises(InputError, match=r"than the model has tables for \(index out of range"):
        next_tokens(Plain(vocabulary=len(tokenizer)), tokenizer, "x = 1\n" * 200)


def test_what_is_no_character_is_said_in_words(model_and_tokenizer):
    with pytest.raises(InputError, match=r"text: '\\udcff' at 2 is no character; give text in UTF-8"):
        next_tokens(*model_and_tokenizer, "ab\udcff")


def test_what_a_step_continues_is_decoded_together(model_and_tokenizer, monkeypatch):
    model, tokenizer = model_and_tokenizer
    monkeypatch.setattr(tokenizer, "decode", lambda ids: "-".join(str(one) for one in ids))
    found = decode_steps(model, tokenizer, "def parse(self):", steps=4)
    ids = [str(step.chosen.id) for step in found.steps]
    for number, step in enumerate(found.steps):
        assert step.candidates.text == found.text + "-".join(ids[:number])


def test_a_message_is_read_in_the_chat_template_with_its_special_tokens_once():
    model, tokenizer = chatty()
    message = [{"role": "user", "content": "def parse("}]
    wanted = tokenizer.apply_chat_template(message, add_generation_prompt=True)["input_ids"]
    assert wanted.count(tokenizer.bos_token_id) == 1
    found = decode_steps(model, tokenizer, "def parse(", steps=2, chat=True)
    assert found.text == "<|endoftext|>user: def parse(\nassistant:" and found.n_prompt == len(wanted)
    with torch.no_grad():
        logits = model(torch.tensor([wanted])).logits[0, -1]
    upcoming = next_tokens(model, tokenizer, "def parse(", k=1, chat=True)
    assert upcoming[0].id == found.steps[0].chosen.id == int(logits.argmax())
    assert (upcoming.text, upcoming.n_tokens) == (found.text, found.n_prompt)


def test_a_message_that_no_template_takes_is_said_in_words(model_and_tokenizer):
    with pytest.raises(InputError, match="chat: this tokenizer has no chat template; leave chat out"):
        next_tokens(*model_and_tokenizer, "x", chat=True)
    with pytest.raises(InputError, match=r"template does not take the text \(no secrets, please\)$"):
        next_tokens(*chatty(), "a secret", chat=True)
    with pytest.raises(InputError, match="text: it is empty; give at least one token to read"):
        decode_steps(*chatty(), "", steps=2, chat=True)
