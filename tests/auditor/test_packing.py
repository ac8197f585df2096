"""LB401: packed documents."""

import pytest
import torch

from lookbehind.auditor.packing import check
from lookbehind.auditor.plan import make_plan
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.subject import Subject
from tests.leaks.decoder import Decoder, Masked, Plain, decoder
from tests.leaks.hugging import llama
from tests.leaks.packing import (
    OpenLayer,
    PackedOnly,
    ResetScan,
    RowZeroOnly,
    Running,
    Together,
    TogetherWithMask,
    TogetherWithoutMask,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def checked(model, found=(), dtype=torch.float32):
    subject = Subject(model.to(dtype))
    plan = make_plan(subject, length=12)
    plan.found.update({outcome.rule: outcome for outcome in found})
    (told,) = check(subject, plan)
    return told


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_documents_apart_pass(dtype):
    told = checked(decoder(model=Masked)(0), dtype=dtype)
    assert told.verdict == "pass" and "ways of packing documents agree" in told.reason
    assert checked(decoder(model=PackedOnly, mixer={0: ResetScan})(0), dtype=dtype).verdict == "pass"


def test_without_position_ids_there_are_no_documents():
    told = checked(decoder(model=Plain)(0))
    assert told.verdict == "not applicable"
    assert told.reason == "Plain.forward takes no position_ids: documents cannot be told apart"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": Together}, "without a mask, the others changed"),
        ({"model": TogetherWithoutMask}, "with an all-ones mask they do not"),
        ({"model": TogetherWithMask}, "with an all-ones mask, the others changed"),
        ({"model": RowZeroOnly}, "in row 1 of 2"),
        ({"model": Masked, "mixer": {1: OpenLayer}}, "document"),
        ({"model": PackedOnly, "mixer": {0: Running}}, "document"),
    ],
)
def test_documents_that_see_one_another(given, words):
    told = checked(decoder(**given)(0))
    assert told.verdict == "fail" and words in told.reason
    assert told.reproducer is not None and "position_ids=torch.tensor(" in told.reproducer


def test_the_layer_that_mixes_is_named():
    assert checked(decoder(model=Masked, mixer={1: OpenLayer})(0)).culprit.path == "blocks.1.mixer"


def test_of_transformers_what_lies_beside_its_promise_is_told_and_no_finding():
    told = checked(llama()(0))
    assert told.verdict == "pass"
    assert "but they do see one another with an all-ones mask (leave the mask out)" in told.reason


def test_an_architecture_that_promises_nothing():
    from transformers import PretrainedConfig, PreTrainedModel

    class Own(PreTrainedModel):
        config_class = PretrainedConfig

        def __init__(self, config):
            super().__init__(config)
            self.inner = decoder(model=Together)(0)

        def get_input_embeddings(self):
            return self.inner.embed.tokens

        def forward(self, input_ids, attention_mask=None, position_ids=None):
            return self.inner(input_ids, attention_mask, position_ids)

    told = checked(Own(PretrainedConfig(vocab_size=31)).eval())
    assert told.verdict == "not applicable" and "masks of its own" in told.reason


def test_what_a_leak_explains_is_not_found_again():
    leak = Outcome("LB101", "fail", "for the sake of argument")
    assert checked(decoder(model=Decoder)(0), [leak]).verdict == "not covered"
