import io
import json

import pytest

from lookbehind.cli import common
from lookbehind.cli.common import print_json, read_text
from lookbehind.errors import InputError, harmless


def test_text_is_an_argument_or_a_file(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("é\n", encoding="utf-8")
    assert read_text("abc", None) == "abc"
    assert read_text(None, tmp_path / "a.txt") == "é\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert read_text(None, common.Path("-")) == "from a pipe"


def test_a_text_that_names_a_file_is_told_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 1", encoding="utf-8")
    assert read_text("a.py", None) == "a.py"
    told = "lookbehind: the text is 'a.py', which is a file here too; --file reads what it holds\n"
    assert capsys.readouterr().err == told
    for text in ("b.py", "x" * 100_000, "a\0b"):
        assert read_text(text, None) == text
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "name", "content", "words"),
    [
        (None, None, b"", "text: give a text or --file, one of the two; got neither"),
        ("x", "a.txt", b"x", "text: give a text or --file, one of the two; got both"),
        ("", None, b"", "text: it is empty; give at least one token to read"),
        ("\udcff", None, b"", r"text: '\\udcff' at 0 is no character; give text in UTF-8"),
        (None, "a.txt", b"", "a.txt: it is empty; give at least one token to read"),
        (None, "a.txt", b"ab\xff", r"a.txt: is not UTF-8 text \(byte 2\); give a text file"),
        (None, "none.txt", None, r"none.txt: cannot be read \(No such file or directory\); give a text file"),
        (None, ".", None, r"cannot be read \(Is a directory\); give a text file"),
    ],
)
def test_no_text_is_said_in_words(tmp_path, text, name, content, words):
    if content is not None and name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_text(text, tmp_path / name if name else None)


def test_a_text_without_an_end_is_not_read_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "_LONGEST", 100_000)
    (tmp_path / "a.txt").write_text("x" * 100_000)
    assert len(read_text(None, tmp_path / "a.txt")) == 100_000
    (tmp_path / "a.txt").write_text("x" * 100_001)
    for path in [tmp_path / "a.txt", *(one for one in [common.Path("/dev/zero")] if one.exists())]:
        with pytest.raises(InputError, match=f"{path.name}: holds more than 0.1 MB; give a shorter text"):
            read_text(None, path)


def test_what_a_model_says_does_not_act_on_the_terminal():
    assert harmless("a\tb\n é\x1b[2J\x07") == "a\tb\n é\\x1b[2J\\x07"


def test_json_has_no_number_that_json_does_not_know(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], 3: ("é",)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "3": ["é"]}
