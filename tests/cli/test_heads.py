import csv
import io
import json

import pytest

from lookbehind.cli.common import console
from lookbehind.heads import COLUMNS
from tests.cli.verbs import refused, run


def test_a_table_of_every_head_fits_80_columns(recorded):
    result = run("heads", recorded)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + 8 + 1 + 2
    assert "…" not in result.stdout
    assert {"layer 0: causal", "layer 1: causal & window(4)"} == set(lines[-2:])


def test_a_narrow_terminal_cuts_no_number(recorded, monkeypatch):
    monkeypatch.setattr(console, "width", 50)
    assert "…" not in run("heads", recorded).stdout


def test_json_and_csv_hold_the_same_numbers(recorded):
    data = json.loads(run("heads", recorded, "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(run("heads", recorded, "--csv").stdout)))
    assert tuple(rows[0]) == COLUMNS == tuple(data[0])
    assert [float(row["entropy"]) for row in rows] == [one["entropy"] for one in data]


def test_sorted_and_cut(recorded):
    data = json.loads(run("heads", recorded, "--json", "--sort", "sink", "--top", 3).stdout)
    assert len(data) == 3
    assert data[0]["sink"] >= data[1]["sink"] >= data[2]["sink"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--sort", "sinks"],
            "heads: there is no column 'sinks'; sort by one of layer, head, pattern, entropy",
        ),
        (["--top", 0], "top: a whole number of at least 1 is needed; got 0"),
        (["--json", "--csv"], "heads: --json and --csv are two formats; choose one"),
    ],
)
def test_bad_input_is_said_in_words(recorded, arguments, words):
    assert words in refused("heads", recorded, *arguments)


def test_a_directory_that_is_no_tape_is_said_in_words(tmp_path):
    assert str(tmp_path) in refused("heads", tmp_path)
    assert "none.tape" in refused("heads", tmp_path / "none.tape")
