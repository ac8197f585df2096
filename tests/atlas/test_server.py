import asyncio
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from lookbehind.atlas import server
from lookbehind.atlas.frame import ERROR, Frame
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.server import Guard, finite
from lookbehind.atlas.serving import view
from lookbehind.atlas.sight import Sight
from tests.atlas.asking import asked, data, frames, tracks
from tests.atlas.oracle import dense, pooled, same_halves, tape, tile

TAPE = tape(300, 340)
TAPE.tokens[3] = "</script><img src=x onerror=alert(1)>\u2028\ud800"


@pytest.fixture(scope="module")
def viewing():
    with view(TAPE, open_browser=False) as made:
        yield made


# -- what is answered ------------------------------------------------------------------------------


def test_every_route_answers(viewing):
    url = viewing.url
    assert data(url, "api/tape")["top"] == 1
    assert data(url, "api/status")["alive"] is True
    assert data(url, "api/next/3") is None
    assert data(url, "api/tokens")["ids"] == TAPE.token_ids
    values = dense(TAPE.layers[0], 1, Lens())
    row = np.frombuffer(asked(url, "api/row/0/1/9")[2], "<f4")
    np.testing.assert_allclose(row, values[9], rtol=1e-4, atol=1e-7)
    column = np.frombuffer(asked(url, "api/column/0/1/9")[2], "<f4")
    np.testing.assert_allclose(column, values[:, 9], rtol=1e-4, atol=1e-7)
    cells = np.frombuffer(asked(url, "api/cells/0/1?q0=5&q1=9&k0=2&k1=5")[2], "<f4").reshape(3, 4, 3)
    np.testing.assert_allclose(cells[2], values[5:9, 2:5], rtol=1e-4, atol=1e-7)
    _, thumb, rest = Frame.read(asked(url, "api/thumb/0/1")[2])
    same_halves(thumb.values(), pooled(values, 2, "max"), 0.55)
    assert rest == b""
    header, arrays = tracks(asked(url, "api/tracks/0/1")[2])
    assert header["state"] == "ready"
    assert [(one["name"], one["axis"]) for one in header["names"]] == [
        ("entropy", "query"),
        ("sink", "query"),
        ("received", "key"),
    ]
    np.testing.assert_allclose(arrays["received"], np.nansum(values, 0), rtol=1e-3, atol=1e-5)


def test_the_heads_arrive_in_the_background(viewing):
    deadline = time.monotonic() + 20
    while (found := data(viewing.url, "api/heads"))["state"] == "working":
        assert time.monotonic() < deadline
    assert found["state"] == "ready" and found["done"] == found["total"] == len(found["heads"]) == 12
    expected = TAPE.heads().to_dict()
    for got, wanted in zip(found["heads"], expected, strict=True):
        assert got["pattern"] == wanted["pattern"]
        for name in ("entropy", "sink", "induction", "max_score"):
            assert got[name] == (None if wanted[name] is None else pytest.approx(wanted[name], rel=1e-4))


def test_tiles_come_as_frames_and_errors_stay_with_their_tile(viewing):
    ids = "0.1.0.0.0,0.1.1.0.0,7.0.0.0.0,0.1.0.1.1,0.1.9.0.0"
    found = frames(viewing.url, f"api/tiles?of=enrichment&pool=mean&skip=2&renorm=1&ids={ids}")
    assert sorted(found) == [0, 1, 2, 3, 4]
    values = dense(TAPE.layers[0], 1, Lens("enrichment", 2, True))
    same_halves(found[0].values(), tile(values, 0, 0), 0.55)
    same_halves(found[1].values(), tile(pooled(values, 1, "mean"), 0, 0), 0.55)
    same_halves(found[3].values(), tile(values, 1, 1), 0.55)
    assert found[2].state == found[4].state == ERROR
    assert found[2].payload.decode() == "layer 7: there are 6, 0 to 5"
    assert found[4].payload.decode().startswith("tile 9.0.0: level 9 has")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("api/tiles?ids=", 400, "tile '': a name is layer.head.level.row.column, as in 0.3.2.1.1"),
        ("api/tiles?of=all&ids=0.0.0.0.0", 400, "of 'all': there are weight"),
        ("api/tiles?pool=min&ids=0.0.0.0.0", 400, "pool 'min': there are mean, max, sum"),
        (
            "api/tiles?ids=" + ",".join(["0.0.0.0.0"] * 513),
            400,
            "tiles: at most 512 in one question; got 513",
        ),
        ("api/row/0/0/-1", 400, "query '-1': a whole number is needed"),
        ("api/row/0/0/300", 400, "query 300: there are 300, 0 to 299"),
        ("api/row/0/0/" + "9" * 99, 400, "query '999"),
        ("api/cells/0/0?q0=1&q1=1&k0=0&k1=1", 400, "cells: q0 to q1 must lie in 0 to 300 and hold 1 to 128"),
        ("api/cells/0/0", 400, "q0 '': a whole number is needed"),
        ("api/next/300", 400, "query 300: there are 300"),
        ("api/influence", 404, "influence: no audit report"),
        ("api/nonsense", 404, "there is nothing of that name"),
        ("other", 404, ""),
        ("%2e%2e/tape.json", 404, ""),
        ("../../etc/passwd", 404, ""),
    ],
)
def test_what_is_wrong_is_one_clear_line(viewing, path, status, words):
    found, _, body = asked(viewing.url, path)
    assert found == status
    if words:
        told = json.loads(body)
        assert list(told) == ["error"] and words in told["error"] and "\n" not in told["error"]


def test_hostile_tokens_travel_as_data(viewing):
    status, headers, body = asked(viewing.url, "api/tokens")
    assert status == 200 and headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    told = json.loads(body.decode("utf-8", "surrogatepass"))
    assert told["tokens"][3] == TAPE.tokens[3]


def test_numbers_that_json_does_not_have_are_null():
    given = {"a": [1.0, float("nan")], "b": {"c": float("-inf")}, "d": [1, 2], "e": [{"f": float("inf")}]}
    assert finite(given) == {"a": [1.0, None], "b": {"c": None}, "d": [1, 2], "e": [{"f": None}]}


# -- who may ask -----------------------------------------------------------------------------------


def test_without_the_token_there_is_nothing(viewing):
    for token in ("/", "/wrong/", viewing.url.split("/")[3][:-1].join("//"), "//", "/%00/", "/é/"):
        for path in ("", "api/tape", "app.js"):
            try:
                status, headers, body = asked(viewing.url, path, token=token)
            except UnicodeEncodeError:
                continue
            assert status == 404 and b"n_queries" not in body
            assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "[::1]:1234"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "127.0.0.1@evil.example"}, 403),
        ({"Host": "10.0.0.1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_only_the_page_itself_may_ask(viewing, headers, status):
    found, _, body = asked(viewing.url, "api/tape", **headers)
    assert found == status
    assert (b"n_queries" in body) == (status == 200)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_only_get_is_answered(viewing, method):
    status, headers, _ = asked(viewing.url, "api/tape", method)
    assert status == 405
    assert not any(name.lower().startswith("access-control") for name in headers)


def test_every_answer_carries_the_headers(viewing):
    for path in ("", "api/tape", "api/tiles?ids=0.0.0.0.0", "api/nonsense", "nonsense", "app.js"):
        _, headers, _ = asked(viewing.url, path)
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_the_address_without_its_last_slash_leads_to_the_page(viewing):
    status, headers, _ = asked(viewing.url, "", token=urlsplit(viewing.url).path.rstrip("/"))
    assert status == 307 and headers["location"] == urlsplit(viewing.url).path


@pytest.mark.parametrize(
    ("listens", "name", "own"),
    [
        ("0.0.0.0", "192.168.1.5:80", True),
        ("0.0.0.0", "[fe80::1]", True),
        ("0.0.0.0", socket.gethostname(), True),
        ("0.0.0.0", "evil.example", False),
        ("desk.lan", "desk.lan:80", True),
        ("desk.lan", "DESK.lan", True),
        ("127.0.0.1", "192.168.1.5", False),
        ("::1", "localhost", True),
    ],
)
def test_names_that_anyone_could_point_here_are_not_its_own(listens, name, own):
    assert Guard(None, "token", listens)._is_own(name) is own


# -- many at once ----------------------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch):
    """Tiles of layer 4 wait for `release`; `begun` says that one is being made."""
    begun, release = threading.Event(), threading.Event()
    pixels = Sight.pixels

    def waiting(self, *asked):
        if self.head.layer is TAPE.layers[4]:
            begun.set()
            assert release.wait(20)
        return pixels(self, *asked)

    monkeypatch.setattr(Sight, "pixels", waiting)
    yield begun, release
    release.set()


def test_a_slow_tile_does_not_hold_up_the_others(viewing, slow):
    begun, release = slow
    found: dict[int, Frame] = {}

    def ask() -> None:
        found.update(frames(viewing.url, "api/tiles?pool=max&ids=4.0.1.0.0,0.2.0.0.0,0.2.1.0.0"))

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(10)
    # Another viewer's tiles come while the slow one is still being made.
    assert sorted(frames(viewing.url, "api/tiles?pool=max&ids=0.3.0.0.0,0.3.0.1.0")) == [0, 1]
    wait_until(lambda: len(viewing.charts.work._jobs) == 1)
    assert not release.is_set() and thread.is_alive()
    release.set()
    thread.join(10)
    assert list(found)[-1] == 0 and len(found) == 3, "the slow one came last"


def test_what_a_client_no_longer_waits_for_is_dropped(viewing, slow):
    begun, release = slow
    parts = urlsplit(viewing.url)
    # More slow tiles than there are threads: the rest wait in the queue.
    names = ",".join(f"4.0.{z}.0.0" for z in (0, 1)) + ",4.0.0.1.0,4.0.0.1.1"
    sockets = []
    for pool in ("mean", "max", "sum"):
        one = socket.create_connection((parts.hostname, parts.port))
        path = f"{parts.path}api/tiles?skip=1&pool={pool}&ids={names}"
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        sockets.append(one)
    assert begun.wait(10)
    work = viewing.charts.work
    wait_until(lambda: len(work._jobs) == 12)
    for one in sockets:
        one.close()
    wait_until(lambda: all(job.begun for job in work._jobs.values()))
    assert len(work._jobs) < 12, "only what had begun is left"
    release.set()
    wait_until(lambda: work.idle)
    assert sorted(frames(viewing.url, f"api/tiles?skip=1&pool=mean&ids={names}")) == [0, 1, 2, 3]


def test_the_tiles_of_a_client_that_has_gone_are_not_even_weighed(viewing, monkeypatch):
    weighed = []
    monkeypatch.setattr(viewing.charts, "tile", lambda name, *_: weighed.append(name) or Frame.error("-"))
    ids = ",".join(["0.0.0.0.0"] * 200)

    async def receive():
        return {"type": "http.disconnect"}

    async def send(_):
        pass

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/t/api/tiles",
        "query_string": f"ids={ids}".encode(),
        "headers": [(b"host", b"127.0.0.1")],
    }
    asyncio.run(server.application(viewing.charts, "t")(scope, receive, send))
    assert len(weighed) < 10


def test_a_bug_is_logged_whole_and_told_in_a_line(viewing, monkeypatch, caplog):
    monkeypatch.setattr(Sight, "pixels", lambda *_: 1 / 0)
    ids = "5.0.0.0.0,9.0.0.0.0"
    found = frames(viewing.url, f"api/tiles?skip=3&ids={ids}")
    assert [found[at].payload.decode() for at in (0, 1)] == [
        "ZeroDivisionError: division by zero",
        "layer 9: there are 6, 0 to 5",
    ]
    assert caplog.records[0].exc_info is not None
    status, _, body = asked(viewing.url, "api/thumb/5/0")
    assert (status, json.loads(body)) == (500, {"error": "ZeroDivisionError: division by zero"})


def test_many_viewers_at_once_get_the_same(viewing):
    found: list[bytes] = []
    ids = ",".join(f"{layer}.0.0.{y}.0" for layer in range(6) for y in range(2))

    def ask() -> None:
        found.append(b"".join(frames(viewing.url, f"api/tiles?ids={ids}")[at].payload for at in range(12)))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 6 and len(set(found)) == 1


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
