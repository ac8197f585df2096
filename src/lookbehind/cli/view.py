"""`lookbehind view`: a tape as a map in the browser."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookbehind.cli.common import console, say, working
from lookbehind.cli.demo import GENERATED, opening
from lookbehind.cli.models import load_both
from lookbehind.cli.record import record_run
from lookbehind.errors import harmless

if TYPE_CHECKING:
    from lookbehind.atlas.serving import Viewing


def view(
    tape: Annotated[
        Path | None,
        typer.Argument(
            help="A recorded tape; if left out, the built-in decoder reads its demo text.", show_default=False
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", "-p", help="The port; 0 is a free one.")] = 0,
    host: Annotated[str, typer.Option("--host", help="The interface to listen on.")] = "127.0.0.1",
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    audit: Annotated[
        Path | None,
        typer.Option(
            "--audit", help="A report of lookbehind audit --json: its influence map.", show_default=False
        ),
    ] = None,
) -> None:
    """Look at a tape: every head as a map, from the whole text down to single products.

    Serves this machine only, unless --host says otherwise, and only those who have the whole address. Ctrl-C
    stops it. What takes long to compute is kept in TAPE.atlas, which is safe to delete.
    """
    from lookbehind.tape import load

    ended = threading.Event()
    with tempfile.TemporaryDirectory(prefix="lookbehind-") as room:
        shown = tape
        if shown is None:
            shown = Path(room) / "demo.tape"
            with working("the built-in decoder reads its demo text"):
                model, tokenizer = load_both(None)
                from lookbehind.model import demo_text

                record_run(model, tokenizer, opening(demo_text()), shown, GENERATED)
                del model

        def stop(number: int, frame: object) -> None:
            ended.set()

        found = load(shown)
        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            with found.view(host=host, port=port, open_browser=not no_open, audit=audit, warn=say) as viewing:
                _say_where(viewing, shown, host)
                while not ended.wait(0.5):
                    pass
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def _say_where(viewing: Viewing, tape: Path, host: str) -> None:
    console.print(harmless(f"{tape.name} is shown at"), markup=False, soft_wrap=True)
    console.print(viewing.url, markup=False, soft_wrap=True)
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
        console.print(f"and to other machines as {name} instead of that number", markup=False, soft_wrap=True)
    console.print("Ctrl-C stops it.")
