import json
from contextlib import ExitStack

import pytest

from lookbehind.cli import demo
from lookbehind.cli.demo.words import triangle
from lookbehind.pattern import Causal, Window
from lookbehind.tape import load
from tests.cli.verbs import refused, run
from tests.limits import largest_file
from tests.models import tiny

TEXT = "def parse(self, text):\n    return self.parse(text, 1)\n" * 12


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The demo on a tiny model and a short text; `make demo` runs the real one."""
    monkeypatch.setattr(demo, "load_both", lambda spec: tiny(512))
    monkeypatch.setattr("lookbehind.model.demo_text", lambda: TEXT)


def test_the_demo_shows_everything_and_writes_it(tmp_path):
    out = tmp_path / "shown"
    result = run("demo", "-o", out)
    assert result.exit_code == 0
    for heading in (
        "Which products were computed",
        "What comes next",
        "What the heads look at",
        "What it cost, on one core",
        "Where it is",
    ):
        assert f"\n{heading}\n" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if str(out) not in line) <= 90
    for name in (
        "heads.csv",
        "all-heads.png",
        "last-tokens.png",
        "previous.png",
        "induction.png",
        "atlas.html",
    ):
        assert (out / name).stat().st_size > 0
    assert load(out / "run.tape").n_layers == 2


def test_the_demo_in_json_is_exact(tmp_path):
    data = json.loads(run("demo", "-o", tmp_path / "a", "--json").stdout)
    assert data["cost"]["largest_difference"] < 1e-5
    assert data["cost"]["same_output"] is True
    assert data["cost"]["eager_bytes"] == data["tokens"] ** 2 * data["heads"] * 4
    causal = next(kind for kind in data["kinds"] if kind["pattern"] == "causal")
    assert causal["products"] == data["tokens"] * (data["tokens"] + 1) // 2
    assert data["telling"]["previous"]["previous"] > 0


def test_a_second_run_replaces_its_own_output_and_nothing_else(tmp_path):
    out = tmp_path / "shown"
    assert run("demo", "-o", out).exit_code == 0
    (out / "notes.txt").write_text("mine")
    (out / "heads.csv").write_text("old")
    assert run("demo", "-o", out).exit_code == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "heads.csv").read_text() != "old"


def test_until_a_second_run_is_done_the_first_ones_output_stays(tmp_path, monkeypatch):
    out = tmp_path / "shown"

    def interrupted(*what):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo, "draw", interrupted)
        assert run("demo", "-o", out).exit_code == 130
    assert not out.exists()
    assert run("demo", "-o", out).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    (out / "unfinished-demo").mkdir()  # of one that was killed
    with monkeypatch.context() as patch:
        patch.setattr(demo, "draw", interrupted)
        assert run("demo", "-o", out).exit_code == 130
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert not (out / "unfinished-demo").exists()


def test_where_the_disk_is_full_at_the_end_the_first_ones_output_stays(tmp_path, monkeypatch):
    out = tmp_path / "shown"
    assert run("demo", "-o", out).exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with ExitStack() as full, monkeypatch.context() as patch:
        patch.setattr(demo, "draw", lambda *_: full.enter_context(largest_file(0)))
        words = refused("demo", "-o", out, code=3)
    assert "lookbehind-demo.json: cannot be written: File too large" in words
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run("demo", "-o", out).exit_code == 0


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (None, "holds files that no demo wrote; choose another place with --out"),
        ("{", "cannot be used (lookbehind-demo.json is damaged)"),
        ('{"wrote": ["../mine.txt"]}', "cannot be used (lookbehind-demo.json is damaged)"),
        ('{"wrote": [".."]}', "cannot be used (lookbehind-demo.json is damaged)"),
    ],
)
def test_foreign_files_are_never_touched(tmp_path, mark, words):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    (out / "mine.txt").write_text("mine")
    if mark is not None:
        (out / "lookbehind-demo.json").write_text(mark)
    assert words in refused("demo", "-o", out)
    assert (tmp_path / "mine.txt").read_text() == (out / "mine.txt").read_text() == "mine"


def test_a_file_in_the_way_is_said_in_words(tmp_path):
    (tmp_path / "a").write_text("")
    assert "is a file; choose another place with --out" in refused("demo", "-o", tmp_path / "a")
    assert "cannot be used (Not a directory)" in refused("demo", "-o", tmp_path / "a" / "b")


def test_a_triangle_is_drawn_in_tiles():
    assert triangle(Causal().spans(4), 4) == "██······\n████····\n██████··\n████████"
    assert triangle((Causal() & Window(2)).spans(6), 3) == "▒▒····\n▒▒▒▒··\n··▒▒▒▒"
