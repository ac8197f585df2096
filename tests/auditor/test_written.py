"""Long tensors as short Python that makes them again."""

import re
from dataclasses import replace

import pytest
import torch

import lookbehind as lb
from lookbehind.auditor.subject import Subject
from lookbehind.auditor.written import Written
from tests.auditor.models import honest
from tests.leaks.decoder import Cached, Masked, Plain


def run(written, *tensors):
    """The expressions, once each is seen to make its tensor."""
    texts = [written.tensor(tensor) for tensor in tensors]
    names = {"torch": torch}
    exec("\n".join(written.lines), names)
    for text, tensor in zip(texts, tensors, strict=True):
        made = eval(text, names)
        assert torch.equal(made, tensor) and made.dtype == torch.int64
    return texts


def test_what_is_short_is_written_out():
    written = Written(Subject(honest()))
    assert run(written, torch.tensor([[3, 1, 2], [0, 0, 0]])) == ["torch.tensor([[3, 1, 2], [0, 0, 0]])"]
    assert written.lines == []


def test_runs_and_counts_are_written_as_such():
    mask, positions = torch.ones(2, 300, dtype=torch.long), torch.arange(300).repeat(2, 1)
    mask[1, :5], positions[1, 100:] = 0, torch.arange(200) + 7
    assert run(Written(Subject(honest())), mask, positions) == [
        "torch.tensor([[1] * 300, [0, 0, 0, 0, 0] + [1] * 295])",
        "torch.tensor([[*range(300)], [*range(100)] + [*range(7, 207)]])",
    ]


@pytest.mark.parametrize("special", [{}, {"pad_token_id": 0}, {"eos_token_id": 9, "pad_token_id": 4}])
def test_drawn_tokens_are_written_as_the_draw(special):
    subject = Subject(honest(**special))
    ids = subject.ids(2, 264, 3)
    other = subject.others(ids, 5)
    under = torch.zeros_like(ids)
    under[1, :40], under[2, 200:] = 1, 1
    changed = torch.where(under > 0, other, ids)
    changed[0, 77] = (changed[0, 77] + 1) % 31
    written = Written(subject)
    texts = run(written, ids, ids[1:2, 5:250], ids.flip(0), changed, torch.cat([ids[:1], other[1:2]]))
    assert texts[0] == "torch.tensor([x0[0], x0[1], x0[2]])"
    assert texts[1] == "torch.tensor([x0[1][5:250]])"
    assert len(written.lines) == 3 and all(len(line) < 160 for line in (*texts, *written.lines))


def test_tokens_of_no_draw_are_written_out():
    run(Written(Subject(honest())), torch.randint(0, 31, (2, 70)))


def test_tensors_are_made_where_the_model_is(monkeypatch):
    monkeypatch.setattr(Subject, "device", torch.device("cuda", 1))
    assert Written(Subject(honest())).tensor(torch.tensor([[3]])) == "torch.tensor([[3]], device='cuda:1')"


class Far(Plain):
    """From 30 tokens on, an output reads what stands 28 ahead."""

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        return logits + 0.1 * logits.roll(-28, 1) if input_ids.shape[1] >= 30 else logits


class Long(Plain):
    """From 30 tokens on, every output depends on how many there are."""

    def forward(self, input_ids):
        return super().forward(input_ids) * (1.5 if input_ids.shape[1] >= 30 else 1.0)


class Beside(Plain):
    """From 30 tokens on, rows of a batch see one another."""

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        return logits + 0.1 * logits.mean(0) if input_ids.shape[1] >= 30 else logits


class Late(Cached):
    """Decoding goes wrong from 30 tokens on."""

    def forward(self, input_ids, past_key_values=None, use_cache=False):
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        out = super().forward(input_ids, past_key_values, use_cache)
        return replace(out, logits=out.logits * (1.5 if past >= 30 else 1.0))


class Padding(Masked):
    """From 30 tokens on, padding counts."""

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        out = super().forward(input_ids, attention_mask, position_ids)
        counts = input_ids.shape[1] >= 30 and attention_mask is not None and not attention_mask.all()
        return replace(out, logits=out.logits * (1.5 if counts else 1.0))


CASES = {"LB101": Far, "LB102": Long, "LB201": Late, "LB301": Padding, "LB303": Beside}


def broken(rule):
    return honest(model=CASES[rule])


@pytest.mark.parametrize("rule", CASES)
def test_reproducers_of_long_sequences_are_short_and_run(rule, capsys):
    origin = f"from tests.auditor.test_written import broken; model = broken({rule!r})"
    found = lb.audit(broken(rule), length=40, seeds=(0, 1), select=[rule], origin=origin)[rule]
    assert found.verdict == "fail"
    lines = found.reproducer.splitlines()
    assert "x0" in found.reproducer and max(map(len, lines)) < 180 and len(lines) < 15, found.reproducer
    exec(found.reproducer, {})
    printed = capsys.readouterr().out.strip()
    assert float(re.fullmatch(r"tensor\((.*?)(, .*)?\)", printed)[1]) > 1e-3
