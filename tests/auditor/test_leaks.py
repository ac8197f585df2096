"""The audit against the corpus of tests/leaks: no miss, no false alarm, the right module named.

Every case runs in float32; in bfloat16 every fourth, and all whose point is the dtype.
"""

import copy

import pytest
import torch

import lookbehind as lb
from tests.leaks import CASES, EVERYTHING, HONEST, ODD

BOTH = ("float32", "bfloat16")
# What follows from a finding by itself: whoever reads the future also gives prefixes another answer.
FOLLOWS = {"LB101": {"LB102"}}

pytestmark = pytest.mark.usefixtures("one_thread")


def audited(case, dtype, **more):
    """At n = 16, to keep the suite short, where the case does not leave the length to the audit."""
    model = case.make(0)
    if isinstance(model, torch.nn.Module):
        model = model.to(getattr(torch, dtype))
    if not case.name.endswith("_auto"):
        more = {"length": 16, **more}
    return lb.audit(model, **{**more, **case.options})


def told(report):
    return {o.rule: f"{o.verdict}: {o.reason}" for o in report.outcomes if o.verdict != "pass"}


def of(cases, dtypes=BOTH):
    return [
        pytest.param(case, dtype, id=f"{case.name}-{dtype}")
        for at, case in enumerate(cases)
        for dtype in (dtypes if dtypes is not None else case.dtypes)
        if EVERYTHING or dtype != "bfloat16" or at % 4 == 0 or case.dtypes != BOTH
    ]


@pytest.mark.parametrize(("case", "dtype"), of(CASES))
def test_a_cheat_is_found(case, dtype):
    report = audited(case, dtype, select=sorted({case.rule, "LB101"}), seeds=(0, 1))
    if dtype not in case.dtypes:
        assert report[case.rule].verdict == "pass", told(report)
        return
    found = report[case.rule]
    assert found.verdict == "fail", told(report)
    assert {o.rule for o in report.findings} <= {case.rule, *case.also, *FOLLOWS.get(case.rule, ())}, told(
        report
    )
    if case.culprit is not None:
        assert found.culprit is not None, told(report)
        assert f"{found.culprit.path}.".startswith(f"{case.culprit}."), found.culprit


@pytest.mark.parametrize(("case", "dtype"), of(HONEST, None))
def test_an_honest_model_passes(case, dtype):
    report = audited(case, dtype)
    verdicts = {o.rule: o.verdict for o in report.outcomes if o.rule not in case.undecided}
    assert not {"fail", "undecided"} & set(verdicts.values()), told(report)
    assert verdicts["LB101"] == verdicts["LB102"] == verdicts["LB303"] == "pass", told(report)
    gaps = {rule for rule, verdict in verdicts.items() if verdict == "not covered"}
    assert gaps <= {"LB103"}, told(report)


@pytest.mark.parametrize("case", ODD, ids=lambda case: case.name)
def test_an_odd_model_is_told_so_and_left_as_it_was(case):
    model = case.make(0)
    modes = [part.training for part in model.modules()]
    weights = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    report = lb.audit(model, **case.options)
    assert torch.equal(torch.rand(3), drawn), "the random state is as before"
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in model.modules())
    assert report["LB101"].verdict == (case.verdict or "not covered"), told(report)
    assert not report.findings, told(report)
    assert all(o.reason and "\n" not in o.reason for o in report.outcomes)


def test_dropout_that_is_active_in_evaluation_is_told():
    report = lb.audit(next(case for case in ODD if case.name == "dice").make(0), length=8)
    assert report["LB102"].verdict == "not covered"
    assert "random" in report["LB102"].reason
