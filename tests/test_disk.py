"""What is written is there whole or not at all, whatever the disk, Ctrl-C or the system does meanwhile."""

import errno
import os
import subprocess
import sys
import threading

import pytest

import lookbehind as lb
from lookbehind import disk
from tests.limits import largest_file
from tests.tapes import tape as random_tape


def write(path, content):
    with disk.whole(path) as beside:
        beside.write_bytes(content)


def fill(directory, content):
    with disk.whole(directory, directory=True) as beside:
        for name in ("a", "b"):
            (beside / name).write_bytes(content)


def test_a_file_takes_the_place_of_the_one_before(tmp_path):
    other = tmp_path / "other"
    other.touch()
    for content in (b"one", b"two"):
        write(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"file", "other"}
    assert (tmp_path / "file").stat().st_mode == other.stat().st_mode


def test_what_a_link_names_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "link").symlink_to("file")
    for content in (b"one", b"two"):
        write(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_a_directory_is_made_with_those_above_it(tmp_path):
    fill(tmp_path / "deep" / "directory", b"one")
    assert sorted(path.name for path in (tmp_path / "deep" / "directory").iterdir()) == ["a", "b"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["directory"]


@pytest.mark.parametrize("name", ["é" * 120, "a" * 255])
def test_a_name_may_be_as_long_as_the_system_lets_it(tmp_path, name):
    write(tmp_path / name, b"one")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("act", [write, fill])
def test_a_disk_that_refuses_more_leaves_what_was_there(tmp_path, act):
    path = tmp_path / "it"
    if act is write:
        write(path, b"before")
    with (
        pytest.raises(lb.StorageError, match="it: cannot be written: File too large; choose another place"),
        largest_file(1000),
    ):
        act(path, bytes(2000))
    assert [one.name for one in tmp_path.iterdir()] == ["it"] * (act is write)
    assert act is fill or path.read_bytes() == b"before"


@pytest.mark.parametrize("act", [write, fill])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_with_what_to_do(tmp_path, monkeypatch, act, number):
    def full(*_):
        raise OSError(number, "whatever")

    monkeypatch.setattr("pathlib.Path.replace", full)
    words = f"it: cannot be written: {os.strerror(number)}; free some space$"
    with pytest.raises(lb.StorageError, match=words):
        act(tmp_path / "it", b"one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, lb.TapeError])
def test_what_is_interrupted_leaves_nothing(tmp_path, directory, error):
    with pytest.raises(error), disk.whole(tmp_path / "it", directory):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "it").touch()
    for path, act in [(tmp_path / "file" / "it", write), (tmp_path / "file" / "it", fill)]:
        with pytest.raises(lb.StorageError, match="it: cannot be written: Not a directory"):
            act(path, b"one")
    for act in (write, fill):
        with pytest.raises(lb.StorageError, match="full: cannot be written: "):
            act(tmp_path / "full", b"one")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "it"]


KILLED = """
import sys
from pathlib import Path
from lookbehind import disk
path, directory = Path(sys.argv[1]), sys.argv[2] == "fill"
with disk.whole(path, directory) as beside:
    (beside / "a" if directory else beside).write_bytes(b"half")
    print("half", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("act", [write, fill])
def test_what_is_killed_leaves_what_was_there(tmp_path, act):
    path = tmp_path / "it"
    if act is write:
        write(path, b"before")
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), act.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert run.stdout.readline() == b"half\n"
    run.kill()
    run.communicate()
    assert not path.exists() if act is fill else path.read_bytes() == b"before"
    act(path, b"after")
    assert (path / "a" if act is fill else path).read_bytes() == b"after"


def test_of_many_writers_each_writes_all_of_it(tmp_path):
    contents = {bytes([number]) * 100_000 for number in range(8)}
    threads = [threading.Thread(target=write, args=(tmp_path / "it", one)) for one in contents]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (tmp_path / "it").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_name_that_is_too_long_for_a_picture_is_said(tmp_path):
    with pytest.raises(lb.StorageError, match="File name too long; choose another place"):
        random_tape(4).export(tmp_path / f"{'a' * 300}.png")


def test_a_tape_a_page_and_a_picture_are_whole_or_not_there(tmp_path):
    tape = random_tape(200)
    for write_it in (
        lambda: tape.save(tmp_path / "a.tape"),
        lambda: tape.export(tmp_path / "a.html"),
        lambda: tape.export(tmp_path / "a.png"),
    ):
        with pytest.raises(lb.StorageError, match="File too large"), largest_file(4000):
            write_it()
        assert list(tmp_path.iterdir()) == []
        write_it()
        for path in tmp_path.iterdir():
            path.rename(tmp_path.parent / f"{path.name}-{tmp_path.name}")
