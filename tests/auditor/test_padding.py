"""LB301, LB302, LB303: padding, and the other rows of a batch."""

import pytest
import torch

from lookbehind import Causal, First
from lookbehind.auditor.padding import amounts, check
from lookbehind.auditor.plan import make_plan
from lookbehind.auditor.report import Outcome
from lookbehind.auditor.subject import Subject
from tests.leaks.decoder import Attention, Decoder, Masked, Plain, decoder
from tests.leaks.padding import AlwaysLeft, ByRow, EmptyRows, IgnoredAlone, IgnoredTogether, OnesReplace

RULES = ("LB301", "LB302", "LB303")

pytestmark = pytest.mark.usefixtures("one_thread")


def checked(model, found=(), dtype=torch.float32, **options):
    subject = Subject(model.to(dtype))
    plan = make_plan(subject, **{"length": 12, **options})
    plan.found.update({outcome.rule: outcome for outcome in found})
    return {outcome.rule: outcome for outcome in check(subject, plan)}


def verdicts(outcomes):
    return [outcomes[rule].verdict for rule in RULES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", ["rope", "learned", "alibi"])
def test_an_honest_model_passes(positions, dtype):
    assert verdicts(checked(decoder(model=Decoder, positions=positions)(0), dtype=dtype)) == ["pass"] * 3


def test_without_a_mask_there_is_nothing_to_pad():
    outcomes = checked(decoder(model=Plain)(0))
    assert verdicts(outcomes) == ["not applicable", "not applicable", "pass"]
    assert outcomes["LB301"].reason == "Plain.forward takes no attention_mask"
    assert "(LB101)" in outcomes["LB302"].reason


def test_a_mask_that_masks_nothing_changes_nothing():
    outcomes = checked(decoder(model=Masked, mixer=OnesReplace)(0))
    assert verdicts(outcomes) == ["pass", "fail", "pass"]
    assert "a mask of ones, at batch 1, with position_ids: the output at 0" in outcomes["LB302"].reason
    assert "mixer" in outcomes["LB302"].culprit.path


def test_a_mask_among_kwargs_is_tried():
    class Passes(IgnoredAlone):
        def forward(self, input_ids, **kwargs):
            return super().forward(input_ids, **kwargs)

    assert checked(decoder(model=Passes)(0))["LB301"].verdict == "fail"


def test_positions_counted_from_the_padding_and_the_remedy():
    class FromPadding(Masked):  # GPT-2
        def positions(self, slots, mask):
            return slots[None]

    found = checked(decoder(model=FromPadding, positions="learned")(0))["LB301"]
    assert found.verdict == "fail" and "without position_ids" in found.reason
    assert found.reason.endswith("given position_ids that start at the first real token, nothing differs")


def test_rounded_tables_of_sines_are_no_finding():
    class Table(Attention):  # GPT-J: computed once, in float32
        def __init__(self, config, layer):
            super().__init__(config, layer)
            angles = torch.arange(64.0)[:, None] * torch.tensor([1.0, 0.3])
            self.register_buffer("table", torch.stack((angles.cos(), angles.sin())))

        def place(self, q, k, view):
            cosine, sine = self.table[:, view.positions][:, :, None]

            def turned(x):
                a, b = x.chunk(2, -1)
                return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)

            return turned(q), turned(k)

    class FromPadding(Masked):
        def positions(self, slots, mask):
            return slots[None]

    assert checked(decoder(model=FromPadding, mixer=Table)(0))["LB301"].verdict == "pass"


@pytest.mark.parametrize("model", [IgnoredAlone, IgnoredTogether])
def test_batch_1_and_more_are_both_tried(model):
    found = checked(decoder(model=model)(0))["LB301"]
    assert found.verdict == "fail"
    assert ("at batch 1" if model is IgnoredAlone else "of 3") in found.reason
    assert found.culprit is not None and "attention_mask=torch.tensor(" in found.reproducer


def test_the_right_side_alone_may_be_wrong():
    assert verdicts(checked(decoder(model=AlwaysLeft, positions="learned")(0))) == ["pass", "fail", "pass"]


def test_padding_that_gives_nan_is_a_finding_not_a_gap():
    found = checked(decoder(model=Masked, mixer=EmptyRows)(0))["LB301"]
    assert found.verdict == "fail" and found.difference == float("inf")


def test_neighbours():
    outcomes = checked(decoder(model=ByRow)(0))
    assert outcomes["LB303"].verdict == "fail"
    assert outcomes["LB303"].reason.startswith("row 1 of 3, its neighbours changed: the output at 0 differs")
    assert checked(decoder(model=ByRow)(0), batch=1)["LB303"].verdict == "not covered"


def test_rows_that_mix_are_padded_one_at_a_time():
    class AcrossRows(Plain):
        def forward(self, input_ids, attention_mask=None):
            logits = self.run(input_ids, attention_mask).logits
            return logits + 0.1 * logits.mean(0)

    outcomes = checked(decoder(model=AcrossRows)(0))
    assert verdicts(outcomes) == ["pass", "pass", "fail"]


def test_what_a_leak_explains_is_not_found_again():
    leak = Outcome("LB102", "fail", "for the sake of argument")
    outcomes = checked(decoder(model=Masked)(0), [leak])
    assert verdicts(outcomes) == ["not covered", "not covered", "pass"]
    assert "(LB102)" in outcomes["LB301"].reason


def test_a_pattern_that_counts_from_the_first_token_has_no_room_on_the_left():
    subject = Subject(decoder(model=Masked, sliding_window=4)(0))
    plan = make_plan(subject, length=12)
    assert amounts(plan, 12, "left") == amounts(plan, 12, "right") == [5, 1]
    prefix = make_plan(subject, length=12, expect=Causal() | First(4))
    assert amounts(prefix, 12, "left") == []
    assert amounts(prefix, 12, "right") == [5, 1]
    told = {outcome.rule: outcome for outcome in check(subject, prefix)}["LB301"]
    assert (told.verdict, "no room" in told.reason) == ("not covered", True)


class KeptMask(Attention):
    """A mask is made once for each shape, whatever padding it was made for."""

    def allowed(self, view, slots, places):
        masks = self.__dict__.setdefault("masks", {})
        return masks.setdefault(view.positions.shape, super().allowed(view, slots, places))


def test_what_an_earlier_call_left_behind_is_told_and_not_shown_as_if_it_were_none():
    found = checked(decoder(mixer={1: KeptMask}, model=Masked)(0))["LB301"]
    assert found.failed and found.reproducer is None
    assert found.reason.endswith("by itself it does not: calls before it leave something on the model")
    assert checked(decoder(model=IgnoredAlone)(0))["LB301"].reproducer is not None
