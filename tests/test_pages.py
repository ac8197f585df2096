"""The README and the recipes are true: their Python runs, and their commands print what they show.

A ```python block is run by itself, as it may be copied; a comment after `print(...)` is what it prints. One
that begins with `# name.py` is a file, which lies where the page's other blocks are run. One tagged `python
needs peft` is run where that can be imported, and may warn.

A ```console block whose first line is `$ lookbehind ...` is run; its output must be the block's, word for
word, unless the block is tagged `console figures`: then times and sizes may differ, and only the exit code
and the shape of the lines are held (digits are taken out of both). Where the words themselves may differ from
one processor to another (what is bit for bit equal on one is rounding on another), it is tagged `console
machine`: then the first word of each line that begins at the margin is held.
"""

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = [
    (page, *block)
    for page in ("README.md", "docs/recipes.md")
    for block in re.findall(
        r"^```(.*?)\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
]
PYTHON = [block for block in BLOCKS if block[1].split()[:1] == ["python"]]
CONSOLE = [block for block in BLOCKS if block[1].startswith("console")]


@pytest.fixture
def place(tmp_path, source):
    """An empty directory, but for the files that the page shows."""
    for one, _, body in PYTHON:
        file = re.match(r"# (\w+\.py)\n", body)
        if file and one == source:
            (tmp_path / file[1]).write_text(body, encoding="utf-8")
    return tmp_path


def test_there_is_something_to_run():
    for blocks in (PYTHON, CONSOLE):
        assert {page for page, *_ in blocks} == {"README.md", "docs/recipes.md"}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("source", "tag", "body"), PYTHON, ids=range(len(PYTHON)))
def test_the_python_runs(source, tag, body, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    with warnings.catch_warnings():
        if needed := tag.removeprefix("python").removeprefix(" needs "):
            warnings.simplefilter("ignore")
            pytest.importorskip(needed, reason=f"{source}: {needed} is not installed")
        exec(compile(body, source, "exec"), {})
    said = re.findall(r"^print\(.*\)\s+# (.*)$", body, re.MULTILINE)
    assert capsys.readouterr().out.splitlines()[: len(said)] == said


def words(text: str) -> list[str]:
    return [" ".join(re.sub(r"[\d.,]+", "#", line).split()) for line in text.splitlines() if line.strip()]


def margin(text: str) -> list[str]:
    # What an audit leaves out "for time" depends on how busy the machine is: only such lines may come and go.
    lines = [line for line in text.splitlines() if not line.startswith("Not covered: for time")]
    return [line.split()[0] for line in lines if line[:1].strip()]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("source", "tag", "body"), CONSOLE, ids=[body.split("\n")[0] for *_, body in CONSOLE]
)
def test_a_command_prints_what_is_shown(source, tag, body, place):
    command, shown = body.split("\n", 1)
    if command.startswith("$ make "):
        pytest.skip("make verbs are run by CI itself, not from inside a test of theirs")
    arguments = shlex.split(command.removeprefix("$ "))
    assert arguments[0] == "lookbehind"
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "lookbehind", *arguments[1:]],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip()
    if tag == "console figures":
        assert words(printed) == words(shown)
    elif tag == "console machine":
        assert margin(printed) == margin(shown)
    else:
        assert printed == shown.strip()
