"""The pool: a child that crashes, hangs or eats memory stops nobody."""

import json
import os
import signal
import time

import pytest

from census.one import CUT_SHORT
from census.pool import Limits, run


def kept(path):
    return json.loads(path.read_text(encoding="utf-8"))


def row(name, **more):
    return {"name": name, "built": True, "reason": None, "backends": {}, **more}


@pytest.fixture
def path_of(tmp_path):
    return lambda name: tmp_path / "rows" / f"{name}.json"


def work(name, keep):
    print(f"this is {name}", flush=True)
    backends = {"eager": {"reason": CUT_SHORT, "rules": {}}}
    if name == "crash":
        keep(row(name, backends=backends))
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hang":
        keep(row(name, backends=backends))
        time.sleep(60)
    if name == "raise":
        raise ValueError("cannot be")
    if name == "eat":
        keep(row(name, backends=backends))
        bytearray(4 << 30)
    keep(row(name, done=True))


def test_one_bad_child_stops_nobody(path_of):
    told = {}
    names = ["good", "crash", "hang", "raise", "eat", "better"]
    limits = Limits(seconds=2, gigabytes=3, nice=0)
    run(names, work, path_of, limits=limits, told=lambda name, how, seconds: told.setdefault(name, how))
    assert told["good"] == told["better"] == "done"
    assert kept(path_of("good"))["done"] is kept(path_of("better"))["done"] is True
    assert told["crash"] == "ended by SIGKILL"
    assert kept(path_of("crash"))["backends"]["eager"]["reason"] == "its process ended by SIGKILL"
    assert told["hang"] == "stopped after 2 s"
    assert kept(path_of("hang"))["backends"]["eager"]["reason"] == "its process stopped after 2 s"
    assert told["raise"] == "failed"
    assert kept(path_of("raise"))["reason"] == "its process failed: ValueError: cannot be"
    assert kept(path_of("eat"))["backends"]["eager"]["reason"] == "its process failed: MemoryError"


def test_what_a_child_prints_is_kept_beside_its_row(path_of, capfd):
    run(["good"], work, path_of, limits=Limits(nice=0))
    assert path_of("good").with_suffix(".log").read_text(encoding="utf-8") == "this is good\n"
    assert capfd.readouterr().out == ""
