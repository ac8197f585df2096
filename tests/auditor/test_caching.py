"""LB201 to LB204: what is tried, what is said, and when nothing is claimed."""

import dataclasses

import pytest
import torch

from lookbehind import Causal, First
from lookbehind.auditor.caching import Ways, check
from lookbehind.auditor.plan import make_plan
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.subject import Subject
from tests.leaks.caches import Cropped, CroppedModel, FromZero, KeepsFirst, OneLeftModel, TopLeftChunk
from tests.leaks.decoder import Attention, Cached, Decoder, Plain, decoder
from tests.leaks.hugging import late_static, llama
from tests.leaks.lengths import CASES as LENGTHS
from tests.leaks.lengths import LogLength

pytestmark = pytest.mark.usefixtures("one_thread")


def checked(model, found=(), dtype=torch.float32, **options):
    subject = Subject(model.to(dtype))
    plan = make_plan(subject, **{"length": 12, **options})
    plan.found.update({outcome.rule: outcome for outcome in found})
    return {outcome.rule: outcome for outcome in check(subject, plan)}


def verdicts(outcomes):
    return [outcomes[rule].verdict for rule in ("LB201", "LB202", "LB203")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_honest_cache_passes(dtype):
    outcomes = checked(decoder(model=Decoder, sliding_window=4)(0), dtype=dtype)
    assert verdicts(outcomes) == ["pass", "pass", "not applicable"]
    assert "ways of decoding token by token agree" in outcomes["LB201"].reason
    assert outcomes["LB203"].reason == "static caches are those of transformers"


def test_a_model_without_a_cache_is_not_accused():
    outcomes = checked(decoder(model=Plain)(0))
    assert verdicts(outcomes) == ["not applicable"] * 3
    assert outcomes["LB201"].reason == "Plain.forward takes no cache"


def test_a_cache_of_another_name_is_not_denied():
    class Own(Plain):
        def forward(self, input_ids, kv_cache=None, use_cache=False):
            return self.run(input_ids, past_key_values=kv_cache, use_cache=use_cache)

    outcomes = checked(decoder(model=Own)(0))
    assert verdicts(outcomes) == ["not covered", "pass", "not covered"], "use_cache alone is tried"
    told = "Own.forward takes kv_cache; a cache is known as past_key_values, cache_params, state"
    assert outcomes["LB201"].reason == told


def test_a_cache_among_kwargs_is_tried_or_said_to_be_unknown():
    class Passes(FromZero):
        def forward(self, input_ids, **kwargs):
            return super().forward(input_ids, **kwargs)

    class Wrapped(torch.nn.Sequential):
        def forward(self, input_ids, **kwargs):
            return self[0](input_ids, **kwargs)

    assert checked(decoder(model=Passes)(0))["LB201"].verdict == "fail"
    outcomes = checked(Wrapped(decoder(model=FromZero)(0)))
    assert verdicts(outcomes) == ["not covered"] * 3
    assert "what it takes through **kwargs is not known" in outcomes["LB201"].reason


def test_the_finding_names_the_way_the_place_and_a_recipe_that_runs():
    model = decoder(model=FromZero)(0)
    found = checked(model)["LB201"]
    assert found.verdict == "fail"
    assert found.reason.startswith("token by token at batch 1: the output at 1 differs: it stays in float64")
    lines = found.reproducer.splitlines()
    assert len(lines) <= 9 and "past_key_values=cache" in found.reproducer
    printed = []
    code = found.reproducer.replace("model = ...", "model = given")
    exec(code, {"given": model, "print": printed.append})
    assert printed[0] > 1e-3


def test_a_prompt_and_a_chunk_are_of_lb202():
    class Model(Cached):
        cache = KeepsFirst

    outcomes = checked(decoder(model=Model, sliding_window=4)(0))
    assert verdicts(outcomes)[:2] == ["pass", "fail"]
    assert "a prompt of" in outcomes["LB202"].reason
    outcomes = checked(decoder(model=Cached, mixer=TopLeftChunk)(0))
    assert verdicts(outcomes)[:2] == ["pass", "fail"]
    assert outcomes["LB202"].culprit.path == "blocks.0.mixer"


def test_a_future_leak_leaves_nothing_to_compare_with():
    leak = Outcome("LB101", "fail", "for the sake of argument")
    outcomes = checked(decoder(model=Cached)(0), [leak])
    assert verdicts(outcomes) == ["not covered"] * 3
    assert "(LB101)" in outcomes["LB201"].reason


def test_where_the_length_matters_each_piece_is_held_against_its_own_length():
    case = next(case for case in LENGTHS if case.name == "dynamic_ntk_cached")
    model = case.make(0)
    length = Outcome("LB102", "fail", "for the sake of argument")
    assert checked(model, [length], length=14)["LB201"].verdict == "fail"  # cached keys keep their old base
    assert checked(decoder(model=Cached)(0), [length])["LB201"].verdict == "pass"


def test_where_the_length_matters_padding_adds_no_finding_of_its_own():
    model = decoder(model=Decoder, mixer=LogLength, num_hidden_layers=1)(0)
    length = Outcome("LB102", "fail", "scaled by the logarithm of the whole length")
    assert verdicts(checked(model, [length]))[:2] == ["pass", "pass"]


def test_no_cut_lies_in_a_prefix_that_is_read_both_ways():
    class Reader(Attention):
        def reach(self, i, j):
            return (j <= i) | (j < 4)

    subject = Subject(decoder(model=Cached, mixer=Reader)(0))
    plan = make_plan(subject, length=12, expect=Causal() | First(4))
    assert Ways(subject, plan).clean == list(range(4, 12))
    assert [outcome.verdict for outcome in check(subject, plan)][:2] == ["pass", "pass"]
    whole = dataclasses.replace(plan, expect=Causal() | First(12))
    assert [outcome.verdict for outcome in check(subject, whole)][:2] == ["not covered", "not covered"]


def test_a_model_that_fails_or_returns_no_cache_is_told_so():
    class Refuses(Cached):
        def forward(self, input_ids, past_key_values=None, use_cache=False):
            if past_key_values is not None and input_ids.shape[1] > 1:
                raise ValueError("one token at a time")
            return super().forward(input_ids, past_key_values, use_cache)

    class Keeps(Cached):
        def forward(self, input_ids, past_key_values=None, use_cache=False):
            return super().forward(input_ids).logits

    outcomes = checked(decoder(model=Refuses)(0))
    assert verdicts(outcomes)[:2] == ["pass", "not covered"]
    assert "one token at a time" in outcomes["LB202"].reason and "ways" in outcomes["LB202"].reason
    outcomes = checked(decoder(model=Keeps)(0))
    assert verdicts(outcomes) == ["not covered", "not covered", "not applicable"]
    assert outcomes["LB201"].reason.endswith("Keeps returns no cache, although one was asked for")


@pytest.mark.parametrize("mistral", [False, True])
def test_static_caches_of_transformers(mistral):
    assert verdicts(checked(llama(mistral=mistral)(0))) == ["pass"] * 3


def test_a_fault_of_static_caches_alone():
    outcomes = checked(llama(model=late_static)(0))
    assert verdicts(outcomes) == ["pass", "pass", "fail"]
    assert "transformers.StaticCache(config=model.config" in outcomes["LB203"].reproducer


def test_a_rejected_draft_that_stays_is_found_and_the_recipe_shows_it():
    model = decoder(model=OneLeftModel)(0)
    outcomes = checked(model)
    assert verdicts(outcomes)[:2] == ["pass", "pass"]
    found = outcomes["LB204"]
    assert found.verdict == "fail"
    assert "drafts rejected" in found.reason
    printed = []
    exec(found.reproducer.replace("model = ...", "model = given"), {"given": model, "print": printed.append})
    assert printed[0] > 1e-3


@pytest.mark.parametrize("mistral", [False, True])
def test_caches_of_transformers_take_drafts_back(mistral):
    outcome = checked(llama(mistral=mistral)(0), length=24)["LB204"]
    assert outcome.verdict == "pass"
    ways = 12 if mistral else 7
    assert outcome.reason.startswith(f"{ways} ways of rejecting drafts agree"), outcome.reason


def test_nothing_is_claimed_where_nothing_can_be_taken_back():
    class Refusing(Cropped):
        def crop(self, count):
            raise RuntimeError("tokens that have left the window do not come back")

    class Refuses(Cached):
        cache = Refusing

    class Stateful(CroppedModel):
        _is_stateful = True

    def told(model, **parts):
        outcome = checked(decoder(model=model, **parts)(0))["LB204"]
        return outcome.verdict, outcome.reason

    assert told(Cached) == ("not applicable", "its cache, a Cache, has no crop that takes tokens back")
    refused = (
        "its cache takes no tokens back: RuntimeError: tokens that have left the window do not come back"
    )
    assert told(Refuses) == ("not applicable", refused)
    assert told(Stateful) == (
        "not applicable",
        "Stateful is stateful: transformers takes nothing back from it",
    )
    reason = "decoding in chunks differs (LB202), and a draft is a chunk"
    assert told(CroppedModel, mixer=TopLeftChunk) == ("not covered", reason)
