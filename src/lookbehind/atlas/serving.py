"""Serving: a tape shown on a local address until it is closed."""

from __future__ import annotations

import atexit
import ipaddress
import secrets
import socket
import tempfile
import threading
import warnings
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from lookbehind import checks
from lookbehind.atlas.cache import Cache, digest_of
from lookbehind.atlas.charts import Charts
from lookbehind.atlas.influence import read_influence
from lookbehind.atlas.server import application
from lookbehind.errors import InputError
from lookbehind.tape import Tape


class Viewing:
    """A tape that is being shown. Close it, or leave its `with` block, and nothing of it is left.

    Args:
        charts: what is shown; closed with it.
        host: the interface that `listener` listens on.
        listener: where to answer.
        room: a directory that goes when it is closed.

    Attributes:
        url: the address, its token included.
    """

    def __init__(
        self,
        charts: Charts,
        host: str,
        listener: socket.socket,
        room: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.charts, self._listener, self._room = charts, listener, room
        token = secrets.token_urlsafe(16)
        address, port = listener.getsockname()[:2]
        self.url = f"http://{shown(address)}:{port}/{token}/"
        config = uvicorn.Config(
            application(charts, token, host),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="lookbehind-view", daemon=True
        )
        self._thread.start()
        atexit.register(self.close)

    def wait(self) -> None:
        """Until it is closed, or interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.2)

    def close(self) -> None:
        """Stop serving, at once. Done at the end of the program in any case."""
        atexit.unregister(self.close)
        self.charts.close()  # first: whoever waits for an answer has one now
        self._server.should_exit = True
        self._thread.join(5)
        self._server.force_exit = True
        self._listener.close()
        if self._room is not None:
            self._room.cleanup()

    def __enter__(self) -> Viewing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Viewing: {self.url}>"


def view(
    tape: Tape,
    *,
    directory: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = True,
    audit: str | Path | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Viewing:
    """Show a tape in the browser.

    Args:
        tape: what was recorded.
        directory: where it is stored; `tape.directory` unless given. Its name is the page's title, and
            `DIRECTORY.atlas` beside it keeps what takes long to compute; a tape in memory keeps that in a
            temporary directory.
        host: the interface to listen on; the address holds a random token in any case.
        port: the port; a free one unless given.
        open_browser: whether to open the address in a browser.
        audit: an audit's report (JSON) whose influence map is shown beside the attention maps.
        warn: told, in a line, what does not work but stops nothing.

    Raises:
        InputError: the tape has no layers, the report is none, or the address cannot be listened on.
    """
    influence = None if audit is None else read_influence(checks.path("audit", audit))
    listener = listening(host, port)
    room: tempfile.TemporaryDirectory[str] | None = None
    try:
        stored = tape.directory if directory is None else directory
        if stored is None:
            room = tempfile.TemporaryDirectory(prefix="lookbehind-")
            charts = Charts(tape, cache=Cache(Path(room.name), "", warn), influence=influence)
        else:
            path = checks.path("directory", stored).absolute()
            try:
                digest = digest_of(path)
            except (OSError, UnicodeEncodeError) as error:
                reason = getattr(error, "strerror", None) or "its name is not UTF-8"
                raise InputError(
                    f"{path}: is not where this tape is stored ({reason}); give its directory"
                ) from None
            cache = Cache(path.with_name(f"{path.name}.atlas"), digest, warn)
            charts = Charts(tape, path.name, cache, influence)
    except BaseException:
        listener.close()
        if room is not None:
            room.cleanup()
        raise
    viewing = Viewing(charts, host, listener, room)
    if open_browser:
        webbrowser.open(viewing.url)
    return viewing


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on an interface.

    Raises:
        InputError: the host is none of this machine's, or the port is taken.
    """
    checks.whole("port", port, 0, 65535)
    if not isinstance(host, str) or not host:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"host: a name or an address is needed; got {checks.shown(host)}")
    made = None
    try:
        family = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        # Named TCP, or asyncio leaves Nagle on: each small answer would wait 40 ms.
        made = socket.socket(family[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(family[4])
        made.listen(128)
    except (OSError, UnicodeError) as error:
        if made is not None:
            made.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{host} port {port}: cannot be listened on ({reason}); choose another") from None
    return made


def shown(address: str) -> str:
    """How a browser on this machine names an interface; all of them answer to the loopback one too."""
    one = ipaddress.ip_address(address.partition("%")[0])
    if one.is_unspecified:
        return "127.0.0.1" if one.version == 4 else "[::1]"
    return str(one) if one.version == 4 else f"[{one}]"
