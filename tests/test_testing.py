import pytest

from lookbehind.testing import assert_causal
from tests.auditor.models import honest, leaky

pytest_plugins = ["pytester"]


def test_an_honest_model_gives_its_report():
    assert assert_causal(honest(), select=["LB101"]).verdict == "pass"


def test_a_leak_is_an_assertion_with_its_place():
    with pytest.raises(AssertionError) as caught:
        assert_causal(leaky(), select=["LB101"])
    words = str(caught.value)
    assert words.startswith("Plain is not shown to be causal\nLB101 fail: the output at ")
    assert "culprit: blocks.1.mixer (Ahead, " in words
    assert "import torch" in words


def test_what_nothing_could_be_shown_of_does_not_pass():
    def broken(ids):
        raise RuntimeError("no such kernel")

    with pytest.raises(AssertionError, match=r"LB101 not covered: .*no such kernel"):
        assert_causal(broken, vocab=7, select=["LB101"])


def test_no_other_rule_makes_up_for_lb101(monkeypatch):
    def broken(subject, plan):
        raise RuntimeError("out of order")

    monkeypatch.setattr("lookbehind.auditor.influence.check", broken)
    with pytest.raises(AssertionError, match=r"LB101 not covered: .*out of order"):
        assert_causal(honest(), select=["LB101", "LB303"])


def test_the_fixture_is_there(pytester):
    pytester.makeconftest('pytest_plugins = ["lookbehind.testing"]')
    pytester.makepyfile("def test_it(assert_causal):\n    assert callable(assert_causal)\n")
    # pytest-playwright keeps one state a process, and this process has it already.
    options = ("-p", "no:cacheprovider", "-p", "no:playwright")
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
