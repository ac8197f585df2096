"""The README is true: its Python runs, and its commands print what it shows.

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
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(.*?)\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PYTHON = [body for tag, body in BLOCKS if tag == "python"]
CONSOLE = [(tag, body) for tag, body in BLOCKS if tag.startswith("console")]


def test_there_is_something_to_run():
    assert len(PYTHON) >= 1
    assert len(CONSOLE) >= 3


def test_the_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for body in PYTHON:
        exec(compile(body, "README.md", "exec"), {})  # each by itself, as it may be copied
        # A comment after print(...) is what it prints.
        said = re.findall(r"^print\(.*\)\s+# (.*)$", body, re.MULTILINE)
        assert capsys.readouterr().out.splitlines()[: len(said)] == said


def words(text: str) -> list[str]:
    return [" ".join(re.sub(r"[\d.,]+", "#", line).split()) for line in text.splitlines() if line.strip()]


def margin(text: str) -> list[str]:
    # What an audit leaves out "for time" depends on how busy the machine is: only such lines may come and go.
    lines = [line for line in text.splitlines() if not line.startswith("Not covered: for time")]
    return [line.split()[0] for line in lines if line[:1].strip()]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("tag", "body"), CONSOLE, ids=[body.splitlines()[0] for _, body in CONSOLE])
def test_a_command_prints_what_is_shown(tag, body, tmp_path):
    command, shown = body.split("\n", 1)
    if command.startswith("$ make "):
        pytest.skip("make verbs are run by CI itself, not from inside a test of theirs")
    arguments = shlex.split(command.removeprefix("$ "))
    assert arguments[0] == "lookbehind"
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "lookbehind", *arguments[1:]],
        cwd=tmp_path,
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
