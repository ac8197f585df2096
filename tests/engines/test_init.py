"""Choosing an engine: by name or not, and what is said when it cannot."""

import sys

import pytest
import torch

from lookbehind import engines
from lookbehind.attention import logsumexp
from lookbehind.engines import choose, survey
from lookbehind.engines.problem import Problem
from lookbehind.errors import EngineError, InputError
from lookbehind.pattern import Causal


def problem(n: int = 2, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Problem:
    q = torch.zeros(1, 1, n, 4, device=device, dtype=dtype)
    return Problem(q, q, q, Causal().spans(n), 1.0)


def test_auto_takes_the_first_that_can():
    assert choose(problem()).NAME == "native"
    assert choose(problem(dtype=torch.float64)).NAME == "torch"
    assert choose(problem(), "reference").NAME == "reference"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError, match=r"^engine: there is no 'cuda'; choose from auto, native, triton, torch, reference$"
    ):
        logsumexp(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4), Causal(), engine="cuda")


def test_a_named_engine_never_falls_back():
    with pytest.raises(
        EngineError, match=r"^engine torch: tensors on the meta device hold no numbers; engine='auto' picks"
    ):
        choose(problem(device="meta"), "torch")


def test_when_none_can_each_says_why():
    with pytest.raises(
        EngineError,
        match=r"^engine: none can run this call; native: it runs on the CPU.*; triton: it runs on CUDA.*; "
        r"torch: .*; reference: tensors",
    ):
        choose(problem(device="meta"))


def test_an_engine_that_is_not_installed_is_passed_over(monkeypatch):
    monkeypatch.setattr(engines, "ORDER", ("absent", "torch"))
    assert choose(problem()).NAME == "torch"
    with pytest.raises(EngineError, match=r"^engine absent: it is not installed here"):
        choose(problem(), "absent")


def test_a_module_and_its_name_are_all_an_engine_needs(monkeypatch):
    from lookbehind.engines import reference

    monkeypatch.setattr(engines, "ORDER", ("twin", "torch", "reference"))
    monkeypatch.setitem(sys.modules, "lookbehind.engines.twin", reference)
    q = torch.randn(1, 1, 5, 4)
    assert torch.equal(
        logsumexp(q, q, Causal(), engine="twin"), logsumexp(q, q, Causal(), engine="reference")
    )
    assert survey()[0].reason == "picked by auto on cpu"


def test_survey_tells_who_runs_and_whom_auto_picks():
    found = {one.name: one for one in survey() if one.device == "cpu"}
    assert list(found) == list(engines.ORDER)
    assert found["native"].can_run and found["native"].reason == "picked by auto on cpu"
    assert found["torch"].reason == "runs when asked for by name; auto prefers native"
