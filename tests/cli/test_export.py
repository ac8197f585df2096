import json

import pytest
from PIL import Image

from lookbehind.cli.export import read_range
from lookbehind.errors import InputError
from tests.atlas.test_packed import manifest
from tests.cli.verbs import refused, run


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "map.png"],
        ["-o", "map.png", "--layer", 1, "--head", 3, "--pool", "max", "--size", 4],
        ["-o", "map.png", "--layer", -1, "--head", -1],
        ["-o", "map.png", "--queries", "4:", "--keys", ":3"],
        ["-o", "sheet.png", "--sheet"],
    ],
)
def test_pictures(recorded, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = run("export", recorded, *arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"wrote {arguments[1]}")
    with Image.open(tmp_path / arguments[1]) as image:
        assert min(image.size) > 200
    assert [path.name for path in tmp_path.iterdir()] == [arguments[1]]


def test_a_page(recorded, tmp_path):
    out = tmp_path / "map.html"
    data = json.loads(run("export", recorded, "-o", out, "--json").stdout)
    assert data == {"out": str(out), "bytes": out.stat().st_size, "left_out": []}
    text = out.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and f"<title>{recorded.name}</title>" in text
    assert [path.name for path in tmp_path.iterdir()] == ["map.html"]


@pytest.mark.parametrize(
    ("arguments", "held"),
    [
        (["--heads", "1.0, 0.3"], ["1.0", "0.3"]),
        (["--layer", 1], ["1.0", "1.1", "1.2", "1.3"]),
        (["--layer", 1, "--head", 2], ["1.2"]),
        (["--head", 2, "--level", 0], ["0.2"]),
    ],
)
def test_a_page_of_some_heads_says_what_it_left_out(recorded, tmp_path, arguments, held):
    result = run("export", recorded, "-o", tmp_path / "map.html", *arguments)
    data = manifest((tmp_path / "map.html").read_text(encoding="utf-8"))
    assert sorted(name for name, one in data["maps"].items() if one["exact"]) == sorted(held)
    said = [line.removeprefix("left out: ") for line in result.stdout.splitlines()[1:]]
    assert said == data["tape"]["left_out"] and said[0].startswith(
        f"queries and keys of {8 - len(held)} of 8 heads, "
    )


def test_a_second_export_replaces_the_first(recorded, tmp_path):
    out = tmp_path / "map.png"
    out.write_bytes(b"old")
    assert run("export", recorded, "-o", out).exit_code == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "export: say where it goes, as in -o page.html or -o map.png"),
        (["-o", "map.jpg"], "map.jpg: the name of a map must end in .png or .html"),
        (["-o", "map.html", "--sheet"], "map.html: the name of a contact sheet must end in .png"),
        (["-o", "no/map.png"], "no/map.png: there is no directory no; create it first"),
        (["-o", "dir.png"], "dir.png: is a directory; name a file"),
        (["-o", "m.png", "--layer", 2], "layer 2: there are 2, 0 to 1"),
        (["-o", "m.png", "--head", 4], "head 4: there are 4, 0 to 3"),
        (["-o", "m.png", "--pool", "median"], "pool 'median': there are mean, max, sum"),
        (["-o", "m.png", "--size", 0], "size: a whole number of at least 1 is needed; got 0"),
        (
            ["-o", "m.png", "--queries", "5"],
            "queries '5': give a range of positions as first:end, as in 100:140",
        ),
        (["-o", "m.png", "--keys", "900:"], "keys 900:None: nothing to draw; the tape has"),
        (["-o", "m.png", "--sheet", "--layer", 1], "contact sheet: it shows every layer and head"),
        (
            ["-o", "m.png", "--heads", "0.1"],
            "m.png: --heads and --level choose what a page holds; write a .html",
        ),
        (["-o", "m.html", "--size", 9], "m.html: a page zooms by itself; leave --queries, --keys, --size"),
        (["-o", "m.html", "--heads", "1"], "heads '1': give them as layer.head, as in 1.0,3.4"),
        (
            ["-o", "m.html", "--heads", "0.1", "--head", 1],
            "heads: give --heads, or --layer and --head; not both",
        ),
        (["-o", "m.html", "--heads", "0.4"], "head 4: there are 4, 0 to 3"),
        (["-o", "m.html", "--layer", 2], "layer 2: there are 2, 0 to 1"),
        (["-o", "m.html", "--level", 1], "level: a whole number of at most 0 is needed; got 1"),
    ],
)
def test_bad_input_is_said_in_words_and_writes_nothing(recorded, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir.png").mkdir()
    assert words in refused("export", recorded, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["dir.png"]


def test_a_directory_that_is_no_tape_is_said_in_words(tmp_path):
    assert str(tmp_path) in refused("export", tmp_path, "-o", tmp_path / "map.png")


def test_a_full_disk_leaves_nothing_half_written(recorded, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    words = refused("export", recorded, "-o", tmp_path / "map.png", code=3)
    assert "map.png: cannot be written: No space left on device; free some space" in words
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("text", "part"),
    [(None, slice(None)), ("3:7", slice(3, 7)), (":7", slice(None, 7)), ("3:", slice(3, None))],
)
def test_ranges(text, part):
    assert read_range("keys", text) == part


@pytest.mark.parametrize(
    "text", ["3", "-1:2", "a:b", "1:2:3", "٣:", pytest.param("0:" + "9" * 5000, id="long")]
)
def test_what_is_no_range_is_refused(text):
    with pytest.raises(InputError, match="give a range of positions as first:end"):
        read_range("keys", text)
