import json
from pathlib import Path

import pytest

from lookbehind.atlas.influence import MOST, read_influence
from lookbehind.errors import InputError


def test_a_map_is_read(tmp_path):
    path = tmp_path / "audit.json"
    path.write_text(json.dumps({"model": "m", "influence": [[1, 0.0], [0.25, None]]}))
    assert read_influence(path) == {"n": 2, "values": [[1, 0.0], [0.25, None]]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not the JSON report of an audit"),
        ("[" * 100_000, "is not the JSON report of an audit"),
        ("[1]", "holds no influence map; lookbehind audit --json writes one"),
        ('{"influence": null}', "holds no influence map"),
        ('{"influence": []}', f"is not a square of 1 to {MOST} rows"),
        ('{"influence": "<script>"}', "is not a square"),
        ('{"influence": [[1, 2], [1]]}', "is not a square of numbers"),
        ('{"influence": [["<b>"]]}', "holds '<b>', which is no number"),
        ('{"influence": [[true]]}', "holds 'True', which is no number"),
        ('{"influence": [[NaN]]}', "holds 'nan', which is no number"),
    ],
)
def test_anything_else_is_refused(tmp_path, text, words):
    path = tmp_path / "audit.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_influence(path)


def test_a_file_without_an_end_is_refused():
    with pytest.raises(InputError, match="it is longer than 64 MiB"):
        read_influence(Path("/dev/zero"))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read \(No such file"):
        read_influence(tmp_path / "none.json")
