"""Testing: the audit inside a test suite.

    from lookbehind.testing import assert_causal

    def test_my_decoder_never_looks_ahead():
        assert_causal(MyDecoder(tiny_config))

or, with `pytest_plugins = ["lookbehind.testing"]` in conftest.py, the same function as the fixture
`assert_causal`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookbehind.auditor import Report

__all__ = ["assert_causal"]

testing = sys.modules[__name__]  # `lb.testing`, as every public name, is looked up in its home


def assert_causal(model: Any, **options: Any) -> Report:
    """Audit a model, and raise where a rule fails or stays undecided.

    Args:
        model: an nn.Module or a callable from token ids to logits.
        options: as for `lookbehind.audit`: `expect`, `length`, `select`, `ignore`, ...

    Returns:
        The report, where nothing is wrong.

    Raises:
        AssertionError: a rule failed or stayed undecided, or LB101 could not be covered; the message is the
            report's essence.
    """
    __tracebackhide__ = True
    from lookbehind.auditor import audit
    from lookbehind.auditor.report_text import measures

    report = audit(model, **options)
    wrong = [outcome for outcome in report.outcomes if outcome.verdict in ("fail", "undecided")]
    if not wrong and report.verdict != "pass":
        # Nothing was proved: a test that passes here would say what nobody has checked.
        wrong = list(report.outcomes[:1])
    if wrong:
        lines = [f"{report.model} is not shown to be causal"]
        for outcome in wrong:
            lines.append(f"{outcome.rule} {outcome.verdict}: {outcome.reason}")
            told = measures(outcome)
            lines += [f"  {told}"] if told else []
            lines += [f"  culprit: {outcome.culprit}"] if outcome.culprit else []
            lines += [f"    {line}" for line in (outcome.reproducer or "").splitlines()]
        raise AssertionError("\n".join(lines))
    return report


def pytest_configure(config: Any) -> None:
    """Registers the fixture where pytest loads this module as a plugin."""
    import pytest

    class _Plugin:
        @pytest.fixture(name="assert_causal")
        def fixture(self) -> Callable[..., Report]:
            return assert_causal

    config.pluginmanager.register(_Plugin(), "lookbehind-fixtures")
