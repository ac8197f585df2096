import os
import re
import signal
import subprocess
import sys
import time

import pytest

import lookbehind.model
from lookbehind.cli import view as module
from tests.atlas.asking import data
from tests.cli.verbs import refused, run
from tests.tapes import tape


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "run.tape"
    tape(12).save(path)
    return path


def test_it_serves_until_it_is_told_to_stop(stored):
    command = [sys.executable, "-m", "lookbehind", "view", str(stored), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "run.tape is shown at\n"
            url = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", url)
            assert process.stdout.readline() == "Ctrl-C stops it.\n"
            assert data(url, "api/status")["alive"]
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
            assert time.monotonic() - began < 5
            assert (process.returncode, out, err) == (0, "", "")
        finally:
            process.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_alone_it_shows_the_built_in_decoder_on_its_text(monkeypatch):
    seen: list = []

    def look(viewing, tape, host):
        seen.extend([data(viewing.url, "api/tape"), data(viewing.url, "api/next/3"), tape])
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(lookbehind.model, "demo_text", lambda: "def first(a):\n    return a(")
    monkeypatch.setattr(module, "_say_where", look)
    before = signal.getsignal(signal.SIGINT)
    result = run("view", "--no-open")
    assert (result.exit_code, result.stderr) == (0, "")
    facts, upcoming, tape = seen
    assert facts["title"] == "demo.tape" and facts["steps"][1:] == [1] * 19 and facts["has"]["tokens"]
    assert upcoming["recorded"] and len(upcoming["top"]) == 10
    assert not tape.exists() and not tape.with_name("demo.tape.atlas").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_no_tape_is_one_clear_line(tmp_path, stored):
    assert "no such directory" in refused("view", tmp_path / "none.tape", "--no-open")
    (tmp_path / "foreign").mkdir()
    assert "not a tape" in refused("view", tmp_path / "foreign", "--no-open")
    damaged = tmp_path / "damaged.tape"
    tape(12).save(damaged)
    layer = damaged / "layer-00000.safetensors"
    layer.write_bytes(layer.read_bytes()[:40])
    assert "damaged" in refused("view", damaged, "--no-open")
    assert "port: a whole number of at most 65535" in refused("view", stored, "--no-open", "--port", 99999)
    assert "cannot be read" in refused("view", stored, "--no-open", "--audit", tmp_path / "none.json")


def test_the_help_says_what_it_does():
    assert "from the whole text down to single products" in " ".join(run("view", "--help").stdout.split())
