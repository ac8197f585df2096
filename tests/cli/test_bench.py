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
        Row("attend, times SDPA", 1.25, "x", "4 heads", 1.35, 1.5, 1.125),
        Row("attend: extra memory", 500.0, "MB", "", 1000, at_most=True),
        Row("attend, times compiled FlexAttention", None, "x", "it does not compile here", 2, 2.5),
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
    # What has a target stands beside it; what missed it is marked.
    assert ["attend,", "times", "SDPA", "1.25", "!", "x", "1.35", "1.5", "1.12", "4", "heads"] in words
    assert ["attend:", "extra", "memory", "500", "MB", "1,000", "–", "–"] in words
    assert "it does not compile" in result.stdout


def test_bench_as_json(measured):
    data = json.loads(run("bench", "--json", "--quick").stdout)
    assert data["quick"] is True
    assert data["rows"][0] == {
        "name": "observe: time",
        "value": 1234.5,
        "unit": "ms",
        "note": "n = 65,536",
        "must": None,
        "aim": None,
        "two": None,
        "at_most": False,
    }
    assert (
        data["rows"][2]["must"] == 1.35 and data["rows"][2]["aim"] == 1.5 and data["rows"][2]["two"] == 1.125
    )
    assert measured == [("cpu", True)]


def test_a_device_that_is_not_here_is_said_in_words():
    assert refused("bench", "--device", "tpu").startswith("bench: device 'tpu' is not here")
