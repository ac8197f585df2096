"""Server: the addresses under which a page asks, and who may ask.

Everything lies below a random token; Host and Origin are checked, so that no other page of the browser and no
rebound name reaches it. Only GET; nothing is ever changed. What a tape holds travels as JSON or as numbers.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lookbehind.atlas.charts import Charts
from lookbehind.atlas.frame import Frame
from lookbehind.atlas.geometry import TileName
from lookbehind.atlas.lens import Lens, check_pool
from lookbehind.atlas.work import Job, StoppedError
from lookbehind.errors import InputError, LookbehindError

MOST_TILES = 512  # in one question
PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "app.js": ("app.js", "text/javascript; charset=utf-8"),
    "app.css": ("app.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_log = logging.getLogger("lookbehind")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def application(charts: Charts, token: str, host: str = "127.0.0.1") -> ASGIApp:
    """The application.

    Args:
        charts: what is shown.
        token: the first part of every path.
        host: the interface it will listen on; the names it answers to follow from it.
    """
    routes = [
        *(Route(f"/{name}", _page(*PAGE[name])) for name in PAGE),
        *(Route(f"/api/{path}", _answered(charts, answer)) for path, answer in ROUTES.items()),
    ]
    return Guard(Starlette(routes=routes), token, host)


class Guard:
    """Lets through who knows the token and asks from the page itself; everything else sees nothing."""

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self._app, self._token, self._host = app, token.encode(), host.strip("[]")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, send)
            return
        rest = scope["path"].split("/", 2)[2]
        inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(inner, receive, with_headers)

    def _refused(self, scope: Scope) -> Response | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self._is_own(host):
            return _error(403, "the Host of this request is not this server's; open the address it printed")
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        if (origin is not None and origin != f"http://{host}") or site not in ("none", "same-origin"):
            return _error(403, "another page asked; open the address that lookbehind view printed")
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        if not hmac.compare_digest(first.encode(), self._token):
            return _error(404, "there is nothing here; open the whole address that lookbehind view printed")
        if scope["method"] != "GET":
            return _error(405, f"{scope['method']}: only GET is answered; nothing can be changed here")
        if not rest and not scope["path"].endswith("/"):
            return Response(status_code=307, headers={**HEADERS, "Location": f"/{first}/"})
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server. Names that anyone could point here are not ours."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in LOOPBACK:
            return True
        if self._host in LOOPBACK:
            return False
        return _is_address(name) or name in {self._host.lower(), socket.gethostname().lower()}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


Answer = Callable[[Charts, Request], Any]


def _page(name: str, kind: str) -> Callable[[Request], Any]:
    async def page(_: Request) -> Response:
        asset = files("lookbehind.atlas").joinpath("page").joinpath(name)
        if not asset.is_file():
            return _error(404, f"{name}: is missing from this installation of lookbehind; install it again")
        return Response(asset.read_bytes(), media_type=kind)

    return page


def _answered(charts: Charts, answer: Answer) -> Callable[[Request], Any]:
    async def answered(request: Request) -> Response:
        try:
            return await answer(charts, request)
        except InputError as error:
            return _error(400, str(error))
        except LookbehindError as error:
            return _error(500, str(error))
        except Exception as error:
            return _error(500, unexpected(error))

    return answered


def unexpected(error: Exception) -> str:
    """A bug, or memory that ran out: logged whole, told in a line."""
    _log.error("%s", error, exc_info=error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


async def _result(charts: Charts, found: Any) -> Any:
    """What a job comes to; it is dropped when the viewer goes away."""
    if not isinstance(found, Job):
        return found
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def tell(_: Any) -> None:
        try:
            loop.call_soon_threadsafe(lambda: arrived.done() or arrived.set_result(None))
        except RuntimeError:  # the loop has ended, and with it whoever waited
            return

    found.future.add_done_callback(tell)
    try:
        await arrived
    finally:
        charts.work.drop(found)
    try:
        return found.future.result()
    except (CancelledError, StoppedError):
        raise LookbehindError("the server is stopping") from None


async def _attended(charts: Charts, request: Request, found: Any) -> Any:
    """The same, given up when the client hangs up."""
    waiting = asyncio.ensure_future(_result(charts, found))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise LookbehindError("the client has gone")
        return waiting.result()
    finally:
        waiting.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _number(request: Request, name: str) -> int:
    text = request.path_params.get(name, request.query_params.get(name, ""))
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise InputError(f"{name} {text[:40]!r}: a whole number is needed")
    return int(text)


def _head(request: Request) -> tuple[int, int]:
    return _number(request, "layer"), _number(request, "head")


def _json(data: Any, status: int = 200) -> Response:
    return Response(
        json.dumps(finite(data), ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass"),
        status,
        media_type="application/json",
    )


def finite(data: Any) -> Any:
    """Data with None for the numbers that JSON does not have."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, float) and data - data != 0:
        return None
    if isinstance(data, (list, tuple)) and not (data and isinstance(data[0], (str, int))):
        return [finite(value) for value in data]
    return data


def _error(status: int, words: str) -> Response:
    body = json.dumps({"error": words}, ensure_ascii=True)
    return Response(body, status, {**HEADERS, "Content-Type": "application/json"})


def _numbers(values: Any) -> Response:
    return Response(
        np.ascontiguousarray(values, dtype="<f4").tobytes(), media_type="application/octet-stream"
    )


async def _tape(charts: Charts, _: Request) -> Response:
    return _json(charts.facts())


async def _tokens(charts: Charts, _: Request) -> Response:
    return _json(charts.tokens())


async def _heads(charts: Charts, _: Request) -> Response:
    return _json(charts.heads())


async def _status(charts: Charts, _: Request) -> Response:
    return _json(charts.status())


async def _thumb(charts: Charts, request: Request) -> Response:
    frame = await _attended(charts, request, charts.thumb(*_head(request)))
    return Response(frame.sent(0), media_type="application/octet-stream")


async def _row(charts: Charts, request: Request) -> Response:
    found = charts.row(*_head(request), _number(request, "query"))
    return _numbers(await _attended(charts, request, found))


async def _column(charts: Charts, request: Request) -> Response:
    found = charts.column(*_head(request), _number(request, "key"))
    return _numbers(await _attended(charts, request, found))


async def _cells(charts: Charts, request: Request) -> Response:
    q0, q1, k0, k1 = (_number(request, name) for name in ("q0", "q1", "k0", "k1"))
    found = charts.cells(*_head(request), slice(q0, q1), slice(k0, k1))
    return _numbers(await _attended(charts, request, found))


async def _tracks(charts: Charts, request: Request) -> Response:
    found = await _attended(charts, request, charts.tracks(*_head(request)))
    arrays = found["arrays"]
    header = {key: value for key, value in found.items() if key != "arrays"}
    header["names"] = [
        {"name": name, "axis": "key" if name == "received" else "query", "length": len(values)}
        for name, values in arrays.items()
    ]
    text = json.dumps(header).encode()
    body = [np.ascontiguousarray(values, dtype="<f4").tobytes() for values in arrays.values()]
    return Response(
        b"".join([struct.pack("<I", len(text)), text, *body]), media_type="application/octet-stream"
    )


async def _tiles(charts: Charts, request: Request) -> Response:
    asked = request.query_params
    lens = Lens.parse(asked.get("of", "weight"), asked.get("skip", "0"), asked.get("renorm", "0"))
    pool = check_pool(asked.get("pool", "mean"))
    names = [TileName.parse(text) for text in asked.get("ids", "").split(",")]
    if len(names) > MOST_TILES:
        raise InputError(f"tiles: at most {MOST_TILES} in one question; got {len(names)}")
    return StreamingResponse(_frames(charts, names, lens, pool), media_type="application/octet-stream")


async def _frames(charts: Charts, names: list[TileName], lens: Lens, pool: str) -> AsyncIterator[bytes]:
    """Each tile the moment it is there."""

    async def frame(index: int, name: TileName) -> bytes:
        try:
            found = await _result(charts, charts.tile(name, lens, pool))
        except LookbehindError as error:
            found = Frame.error(str(error))
        except Exception as error:
            found = Frame.error(unexpected(error))
        return found.sent(index)

    tasks: list[asyncio.Task[bytes]] = []
    try:
        for index, name in enumerate(names):
            tasks.append(asyncio.ensure_future(frame(index, name)))
            await asyncio.sleep(0)  # weighing takes a millisecond: a client that has gone is heard in between
        for done in asyncio.as_completed(tasks):
            yield await done
            await asyncio.sleep(0)
    finally:
        for task in tasks:
            task.cancel()


async def _next(charts: Charts, request: Request) -> Response:
    return _json(charts.next(_number(request, "query")))


async def _influence(charts: Charts, request: Request) -> Response:
    try:
        return _json(charts.influence())
    except InputError as error:
        return _error(404, str(error))


async def _nothing(charts: Charts, request: Request) -> Response:
    return _error(404, f"{request.url.path[:80]}: there is nothing of that name")


ROUTES: dict[str, Answer] = {
    "tape": _tape,
    "tokens": _tokens,
    "heads": _heads,
    "status": _status,
    "tiles": _tiles,
    "thumb/{layer}/{head}": _thumb,
    "row/{layer}/{head}/{query}": _row,
    "column/{layer}/{head}/{key}": _column,
    "cells/{layer}/{head}": _cells,
    "tracks/{layer}/{head}": _tracks,
    "next/{query}": _next,
    "influence": _influence,
    "{rest:path}": _nothing,
}
