import json
import socket
import threading
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import lookbehind as lb
from lookbehind.atlas import serving
from lookbehind.atlas.frame import Frame
from lookbehind.atlas.serving import listening, shown, view
from lookbehind.atlas.sight import Sight
from lookbehind.errors import InputError
from tests.atlas.asking import asked, data, frames
from tests.tapes import tape


def mine() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("lookbehind-")]


def test_a_tape_in_memory_is_shown_and_leaves_nothing(monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr(serving.webbrowser, "open", opened.append)
    before = mine()
    viewing = tape(12).view()
    assert opened == [viewing.url] and repr(viewing) == f"<Viewing: {viewing.url}>"
    parts = urlsplit(viewing.url)
    assert parts.hostname == "127.0.0.1" and len(parts.path) > 20
    assert data(viewing.url, "api/tape")["title"] == "tape"
    room = Path(viewing._room.name)
    assert room.is_dir()
    viewing.close()
    assert not room.exists() and mine() == before
    with pytest.raises(OSError):
        socket.create_connection((parts.hostname, parts.port), timeout=1)


def test_a_stored_tape_keeps_its_cache_beside_it(tmp_path):
    tape(12, tokens=[f"t{at}" for at in range(12)]).save(tmp_path / "run.tape")
    with lb.load(tmp_path / "run.tape").view(open_browser=False) as viewing:
        assert data(viewing.url, "api/tape")["title"] == "run.tape"
        assert data(viewing.url, "api/tape")["source"] == str(tmp_path / "run.tape")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run.tape", "run.tape.atlas"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.tape"]  # nothing took long enough to be kept


def test_two_servers_show_one_tape(tmp_path):
    tape(12).save(tmp_path / "run.tape")
    stored = lb.load(tmp_path / "run.tape")
    with stored.view(open_browser=False) as one, stored.view(open_browser=False) as other:
        assert one.url != other.url
        assert data(one.url, "api/tape") == data(other.url, "api/tape")
        token = urlsplit(one.url).path
        assert asked(other.url, "api/tape", token=token)[0] == 404


def test_closing_answers_whoever_waits_and_says_nothing(monkeypatch, caplog):
    begun = threading.Event()

    def slow(self, *asked):
        begun.set()
        time.sleep(0.2)
        raise InputError("too late")

    monkeypatch.setattr(Sight, "pixels", slow)
    viewing = view(tape(12), open_browser=False)
    found: list[dict[int, Frame]] = []
    ids = ",".join(f"{layer}.{head}.0.0.0" for layer in (0, 1) for head in (0, 1))

    def ask(pool: str) -> None:
        found.append(frames(viewing.url, f"api/tiles?pool={pool}&ids={ids}"))

    threads = [threading.Thread(target=ask, args=(pool,)) for pool in ("mean", "max", "sum")]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    began = time.monotonic()
    viewing.close()
    assert time.monotonic() - began < 5
    for thread in threads:
        thread.join(10)
    words = {frame.payload.decode() for some in found for frame in some.values()}
    assert len(found) == 3 and words == {"too late", "the server is stopping"}
    assert caplog.records == []
    viewing.close()  # once more does nothing


def test_an_audits_influence_map_is_shown(tmp_path):
    report = tmp_path / "audit.json"
    report.write_text(json.dumps({"influence": [[1.0, 0.0], [0.5, None]]}))
    with view(tape(12), open_browser=False, audit=report) as viewing:
        assert data(viewing.url, "api/tape")["has"]["influence"] is True
        assert data(viewing.url, "api/influence") == {"n": 2, "values": [[1.0, 0.0], [0.5, None]]}


def test_what_cannot_be_shown_is_refused_and_nothing_stays_open(tmp_path):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    before = mine()
    for words, more in (
        (f"127.0.0.1 port {port}: cannot be listened on", {"port": port}),
        ("port: a whole number of at most 65535 is needed; got 70000", {"port": 70000}),
        ("no.such.host.invalid port 0: cannot be listened on", {"host": "no.such.host.invalid"}),
        ("host: a name or an address is needed; got 5", {"host": 5}),
        (
            "gone: is not where this tape is stored .No such file .*; give its directory",
            {"directory": "gone"},
        ),
        ("directory: a path is needed; got 5", {"directory": 5}),
        ("missing.json: cannot be read", {"audit": tmp_path / "missing.json"}),
    ):
        with pytest.raises(InputError, match=words):
            view(tape(12), open_browser=False, **more)
    empty = tape(12)
    empty.layers.clear()
    with pytest.raises(InputError, match="holds no attention layer"):
        view(empty, open_browser=False)
    assert mine() == before
    taken.close()


def test_a_cache_that_cannot_be_written_is_told_once(tmp_path):
    tape(12).save(tmp_path / "run.tape")
    (tmp_path / "run.tape.atlas").write_text("in the way")
    with (
        pytest.warns(UserWarning, match=r"run\.tape\.atlas: nothing can be kept there"),
        lb.load(tmp_path / "run.tape").view(open_browser=False) as viewing,
    ):
        assert "nothing can be kept" in data(viewing.url, "api/status")["warning"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")


def test_addresses_are_named_as_a_browser_needs_them():
    assert shown("127.0.0.1") == shown("0.0.0.0") == "127.0.0.1"
    assert shown("::1") == shown("::") == "[::1]"
    assert shown("192.168.1.5") == "192.168.1.5"


def test_answers_leave_at_once():
    made = listening("127.0.0.1", 0)
    assert made.proto == socket.IPPROTO_TCP, "or each answer waits 40 ms for an acknowledgement"
    made.close()
