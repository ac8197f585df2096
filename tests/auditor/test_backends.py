"""LB501: attention implementations held against each other."""

import pytest
import torch

from lookbehind.auditor.backends import check
from lookbehind.auditor.plan import make_plan
from lookbehind.auditor.subject import Subject
from tests.leaks.decoder import Plain, decoder
from tests.leaks.hugging import eager_without_window, llama, sdpa_scaled

pytestmark = pytest.mark.usefixtures("one_thread")


def checked(model, dtype=torch.float32):
    subject = Subject(model.to(dtype))
    (told,) = check(subject, make_plan(subject, length=12))
    return told


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_implementations_that_agree(backend, dtype):
    model = llama(backend=backend, mistral=True)(0)
    told = checked(model, dtype)
    assert told.verdict == "pass" and "ways of comparing" in told.reason
    assert told.detail == (
        "not covered: flex_attention: compiling it takes long on a CPU; a thorough audit runs it",
    )
    assert model.config._attn_implementation == backend


@pytest.mark.parametrize(
    ("change", "backend", "mistral"), [(sdpa_scaled, "eager", False), (eager_without_window, "sdpa", True)]
)
def test_one_that_does_not(change, backend, mistral):
    model = llama(change, (1,), backend, mistral)(0)
    told = checked(model)
    assert told.verdict == "fail" and told.reason.startswith(f"{({'eager', 'sdpa'} - {backend}).pop()} and ")
    assert told.culprit.path == "model.layers.1.self_attn"
    assert 'model.set_attn_implementation("sdpa")' in told.reproducer
    assert model.config._attn_implementation == backend


def test_a_model_with_one_implementation():
    told = checked(decoder(model=Plain)(0))
    assert told.verdict == "not applicable"
    assert told.reason == "Plain has no attention implementation to switch"


def test_a_switch_that_changes_no_code_proves_nothing():
    from transformers import FalconConfig, FalconForCausalLM

    config = FalconConfig(vocab_size=31, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    told = checked(FalconForCausalLM(config).eval())
    assert told.verdict == "not covered" and "the switch changes no code here" in told.reason
