import time

import numpy as np
import pytest

from lookbehind.atlas import table as module
from lookbehind.atlas.table import Table, stretches
from lookbehind.atlas.work import Work
from tests.tapes import tape

TAPE = tape(200)


def finished(some) -> dict:
    work = Work(threads=1)
    try:
        table = Table(some, work)
        first = table.so_far()
        assert first["state"] == "working" and first["heads"] == []
        deadline = time.monotonic() + 20
        while (found := table.so_far())["state"] == "working":
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return found
    finally:
        work.stop()


def test_a_short_tape_is_looked_at_whole(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 1 << 12)
    assert len(stretches(TAPE.layers[0])) > 5
    found = finished(TAPE)
    assert (found["state"], found["done"], found["total"]) == ("ready", 4, 4)
    for got, wanted in zip(found["heads"], TAPE.heads().to_dict(), strict=True):
        assert got.keys() == wanted.keys() and got["pattern"] == wanted["pattern"]
        for name in ("entropy", "relative_entropy", "distance", "sink", "previous", "induction", "max_score"):
            assert got[name] == (None if wanted[name] is None else pytest.approx(wanted[name], rel=1e-5))


def test_a_long_tape_is_sampled_and_says_so(monkeypatch):
    monkeypatch.setattr(module, "EXACT", 1000)
    monkeypatch.setattr(module, "SAMPLE", 8000)
    monkeypatch.setattr(module, "AT_ONCE", 400)
    parts = stretches(TAPE.layers[0])
    rows = np.concatenate([np.arange(200)[part] for part in parts])
    assert 20 < len(rows) < 80 and (np.diff(rows) > 0).all()
    assert rows.min() < 30 and rows.max() > 170, "from everywhere"
    found = finished(TAPE)
    assert found["state"] == "sampled" and len(found["heads"]) == 4
    exact = TAPE.heads().to_dict()
    assert found["heads"][0]["relative_entropy"] == pytest.approx(exact[0]["relative_entropy"], abs=0.2)


def test_a_layer_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(module, "layer_heads", lambda *_: 1 / 0)
    found = finished(TAPE)
    assert found["error"] == "division by zero" and found["heads"] == []
