import json

import pytest

from lookbehind import bench
from lookbehind.bench import Row
from tests.cli.verbs import refused, run


@pytest.fixture
def measured(monkeypatch):
    """Bench without measuring: its own tests measure."""
    rows = [
        Row("observe: time", 1234.5, "ms", "n = 65,536"),
        Row("observe, times as fast as eager", 3.25, "x", ""),
    ]
    asked = []
    monkeypatch.setattr(bench, "run", lambda device, quick: asked.append((device, quick)) or rows)
    return asked


def test_the_figures_stand_with_their_units_and_the_machine(measured):
    result = run("bench")
    assert result.exit_code == 0
    assert "torch" in result.stdout.splitlines()[0]
    words = [line.split() for line in result.stdout.splitlines()]
    assert ["observe:", "time", "1,234", "ms", "n", "=", "65,536"] in words
    assert measured == [("cpu", False)]


def test_bench_as_json(measured):
    data = json.loads(run("bench", "--json", "--quick").stdout)
    assert data["quick"] is True
    assert data["rows"][0] == {"name": "observe: time", "value": 1234.5, "unit": "ms", "note": "n = 65,536"}
    assert measured == [("cpu", True)]


def test_a_device_that_is_not_here_is_said_in_words():
    assert refused("bench", "--device", "tpu").startswith("bench: device 'tpu' is not here")
