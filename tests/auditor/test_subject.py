from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import lookbehind as lb
from lookbehind.auditor.junit import junit
from lookbehind.auditor.subject import Subject, UncoveredError
from lookbehind.errors import InputError
from tests.auditor.models import honest
from tests.leaks.decoder import Decoder
from tests.tiny_models import tiny


class Returns(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.table = nn.Embedding(7, 5)
        self.made = made

    def forward(self, idx):
        return self.made(self.table(idx))


def test_the_vocabulary_is_found():
    assert Subject(honest()).vocab == 31
    assert Subject(Returns(lambda x: x)).vocab == 7
    assert Subject(lambda ids: torch.zeros(*ids.shape, 9)).vocab == 9
    assert Subject(honest(), vocab=12).vocab == 12


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x, None), lambda x: {"logits": x}])
def test_logits_are_found(wrap):
    assert Subject(Returns(wrap)).logits(torch.zeros(2, 3, dtype=torch.long)).shape == (2, 3, 5)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda x: x[:, -1:], "Returns returned [1, 1, 5] for tokens [1, 3]; logits [B, n, vocab] at every"),
        (lambda x: x * torch.nan, "Returns returned NaN for ordinary tokens; nothing can be compared"),
        (lambda x: "no", "Returns returned str, in which there are no logits"),
        (lambda x: x.long(), "Returns returned torch.int64 where logits were expected"),
        (lambda x: x @ x, "Returns fails on [1, 3] tokens: RuntimeError: "),
    ],
)
def test_what_is_no_answer_is_said_in_one_line(made, words):
    with pytest.raises(UncoveredError) as caught:
        Subject(Returns(made), vocab=7).logits(torch.zeros(1, 3, dtype=torch.long))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_model_says_as_it_fails_does_not_act_on_a_terminal_nor_break_a_report():
    class Red(nn.Module):
        def forward(self, ids):
            raise RuntimeError("\x1b[31mred\x00")

    report = lb.audit(Red())
    assert report["LB101"].reason == "Red fails on [1, 2] tokens: RuntimeError: \\x1b[31mred\\x00"
    ElementTree.fromstring(junit(report))


def test_infinite_logits_are_allowed():
    def ruled_out(x):
        x = x.clone()
        x[..., 0], x[..., 1] = -torch.inf, torch.inf
        return x

    Subject(Returns(ruled_out)).logits(torch.zeros(1, 3, dtype=torch.long))


def test_tokens_are_seeded_plain_and_differ():
    model = honest()
    model.config.pad_token_id, model.config.eos_token_ids = 0, [4, 5]
    subject = Subject(model)
    ids = subject.ids(1, 200)
    assert torch.equal(ids, subject.ids(1, 200))
    assert not {0, 4, 5} & set(ids.flatten().tolist())
    others = subject.others(ids, 1)
    assert (others != ids).all()
    assert not {0, 4, 5} & set(others.flatten().tolist())


def test_special_tokens_that_any_text_may_hold():
    model = honest()
    assert Subject(model).marks == []
    model.config.eos_token_id, model.config.pad_token_id = [4, 5], 4
    model.config.bos_token_id, model.config.image_token_id = 99, 6
    assert Subject(model).marks == [4, 5], "99 is no token of 31, and images are none of text"


def test_arguments_are_those_of_every_forward_that_the_words_are_handed_to():
    class Passes(Decoder):
        def forward(self, ids, **kwargs):
            return super().forward(ids, **kwargs)

    class Closed(Decoder):
        def forward(self, ids, use_cache=False):
            return super().forward(ids, use_cache=use_cache)

    passes = Subject(honest(model=Passes))
    assert all(passes.accepts(name) for name in ("ids", "attention_mask", "past_key_values"))
    assert passes.logits(torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, 31)
    closed = Subject(honest(model=Closed))
    assert closed.accepts("use_cache") and not closed.accepts("past_key_values")
    assert closed.lacks("cache") == ("not applicable", "Closed.forward takes no cache")


def test_a_compiled_model_takes_what_it_took_before():
    made = Subject(torch.compile(honest(model=Decoder), backend="eager"), vocab=31)
    assert all(made.accepts(name) for name in ("attention_mask", "position_ids", "past_key_values"))
    llama = Subject(torch.compile(tiny("llama"), backend="eager"), vocab=31)
    assert llama.is_hf and llama.lacks("token_type_ids")[0] == "not applicable"


def test_what_kwargs_take_is_not_known_but_of_transformers():
    class Wrapped(nn.Sequential):
        def forward(self, ids, **kwargs):
            return self[0](ids, **kwargs)

    verdict, reason = Subject(Wrapped(honest())).lacks("cache")
    assert verdict == "not covered"
    assert reason == (
        "Wrapped.forward names no cache, and what it takes through **kwargs is not known; "
        "name it in the signature"
    )
    bloom = Subject(tiny("bloom"))
    assert not bloom.accepts("position_ids"), "it takes **kwargs, and transformers name all that they take"
    told = "BloomForCausalLM.forward takes no position_ids, so"
    assert bloom.lacks("position_ids", ", so") == ("not applicable", told)


def test_blocks_are_the_layers_not_the_experts():
    blocks = nn.ModuleList(
        nn.ModuleDict({"experts": nn.ModuleList(nn.Linear(2, 2) for _ in range(9))}) for _ in "ab"
    )
    model = Returns(lambda x: x)
    model.blocks = blocks
    assert [path for path, _ in Subject(model).blocks] == ["blocks.0", "blocks.1"]


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="audit: a module or a callable is needed; got int"):
        Subject(3)
    with pytest.raises(InputError, match="vocab: at least 2 token ids are needed to change a token; got 1"):
        Subject(honest(), vocab=1)
