"""Many comparisons, one decision."""

import dataclasses

import pytest
import torch

from lookbehind.auditor.comparison import Comparison, affordable, judge, short, weigh
from lookbehind.auditor.forward import Forward
from lookbehind.auditor.plan import make_plan
from lookbehind.auditor.subject import Subject
from tests.leaks.decoder import Plain, decoder


class Shy(Plain):
    """Refuses 3 rows, and adds the number of rows where there are 2."""

    def forward(self, input_ids):
        if len(input_ids) == 3:
            raise ValueError("no crowds")
        return self.run(input_ids).logits + (0.01 if len(input_ids) == 2 else 0.0)


@pytest.fixture(name="setting")
def _setting():
    subject = Subject(decoder(model=Shy)(0))
    return subject, make_plan(subject, length=6)


def rows(subject, count):
    ids = subject.ids(0, 6, 4)
    alone = Forward(ids[:1]).at([0], range(6))
    return Comparison(f"{count} rows", alone, Forward(ids[:count]).at([0], range(6)))


def test_one_leak_among_many_is_named(setting):
    subject, plan = setting
    found = weigh(subject, plan, "LB303", [rows(subject, 1), rows(subject, 2), rows(subject, 4)])
    assert (found.word, [one.name for one, _ in found.failing], found.tried) == ("leak", ["2 rows"], 3)
    told = judge(subject, plan, "LB303", lambda _: [rows(subject, 2), rows(subject, 4)], "counting")
    assert (
        told.reason == "2 rows: the output at 0 differs: it stays in float64 (1 of 2 ways of counting differ)"
    )
    assert told.verdict == "fail" and told.n_bad == 6


def test_what_cannot_run_is_no_pass(setting):
    subject, plan = setting
    told = judge(subject, plan, "LB303", lambda _: [rows(subject, 4), rows(subject, 3)], "counting")
    assert told.verdict == "not covered" and told.reason.startswith("3 rows: Shy fails on [3, 6] tokens")
    assert told.reason.endswith("no crowds (1 way of counting agree)")
    assert judge(subject, plan, "LB303", lambda _: [], "counting").verdict == "not covered"


def test_a_large_model_is_given_the_first_ways_and_short_rows(setting, monkeypatch):
    subject, plan = setting
    ways = [rows(subject, 4) for _ in range(9)] + [rows(subject, 2), rows(subject, 1)]
    plan = dataclasses.replace(plan, length=64, periods={"sliding_window": 8})
    assert (short(subject, plan), len(affordable(subject, plan, ways))) == (64, 11)
    monkeypatch.setattr(Subject, "size", 10**9)
    assert (short(subject, plan), len(affordable(subject, plan, ways))) == (24, 11)
    monkeypatch.setattr(Subject, "size", 10**10)
    assert len(affordable(subject, plan, ways)) == 2
    thorough = dataclasses.replace(plan, thorough=True)
    assert (short(subject, thorough), len(affordable(subject, thorough, ways))) == (64, 11)


def test_where_the_other_way_has_no_float64_both_must_err_alike():
    class OneDtype(Plain):
        """Two rows run a kernel that knows float32 only; four rows a wrong one."""

        def forward(self, input_ids):
            logits = self.run(input_ids).logits
            if len(input_ids) > 1 and logits.untyped_storage().nbytes() == 8 * logits.numel():
                raise RuntimeError("no float64 kernel")
            return logits * (1 + 1e-7 * (len(input_ids) == 2) + 1e-2 * (len(input_ids) == 4))

    subject = Subject(decoder(model=OneDtype)(0))
    plan = make_plan(subject, length=6)
    assert weigh(subject, plan, "LB303", [rows(subject, 2)]).word == "clean"
    assert weigh(subject, plan, "LB303", [rows(subject, 4)]).word == "leak"
    assert torch.get_default_dtype() == torch.float32
