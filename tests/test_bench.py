"""That the figures can be read, on small sizes; never how fast anything is."""

import json
import math
import re
from pathlib import Path

import pytest
import torch

from lookbehind import bench
from lookbehind.errors import EngineError, InputError

README = Path(__file__).parent.parent / "benchmarks" / "README.md"


@pytest.fixture(scope="module")
def rows():
    return bench.run(quick=True)


def test_every_row_is_a_figure_with_its_unit(rows):
    for row in rows:
        assert math.isfinite(row.value) and row.value >= 0
        assert row.unit in ("MB", "s", "ms", "x") and row.name and row.note
        assert json.loads(json.dumps(row.to_dict())) == row.to_dict()


def test_each_figure_has_a_name_of_its_own(rows):
    assert len({row.name for row in rows}) == len(rows)


def test_the_page_shows_the_figures_that_are_read(rows):
    page = README.read_text(encoding="utf-8")
    shown = re.findall(r"^\| ([^|]+?) +\| +[\d.,]+ (MB|s|ms|x) ", page, re.MULTILINE)
    assert shown == [(row.name, row.unit) for row in rows]


def test_memory_is_measured(monkeypatch):
    """64 MB more, held for a moment, are seen."""

    def hold(n):
        return lambda: torch.ones(16 * n * n).sum()

    monkeypatch.setattr(bench, "_eager_call", hold)
    _, extra = bench._alone("eager", 1024)
    assert 60e6 < extra < 90e6


def test_a_measurement_that_fails_says_which():
    with pytest.raises(
        EngineError, match=r"^bench: measuring nonsense at n = 8 failed: KeyError: 'nonsense'$"
    ):
        bench._fresh("nonsense", 8)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(InputError, match=r"^bench: device 'tpu' is not here; use 'cpu'$"):
        bench.run(device="tpu")


def test_the_machine_is_named():
    assert f"torch {torch.__version__}" in bench.machine()
