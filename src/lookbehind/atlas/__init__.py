"""The atlas: maps of what was read, as pictures and as pages.

A tape's map becomes a `Plate` (values and words); a plate becomes a PNG, a contact sheet or an HTML file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lookbehind.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from lookbehind.tape import Tape

SHEET_SIZE = 200


def export(
    tape: Tape,
    path: str | Path,
    layer: int | None = None,
    head: int | None = None,
    *,
    queries: slice = slice(None),
    keys: slice = slice(None),
    sheet: bool = False,
    size: int = 512,
    pool: str = "mean",
    captions: Mapping[tuple[int, int], str] | None = None,
) -> Path:
    """Draws one head's map, or all heads, into a file.

    Args:
        tape: what was recorded.
        path: where to; the ending says what: .png or .html.
        layer: which layer; the first unless given.
        head: which head of it; the first unless given.
        queries, keys: draw only this region of rows and keys.
        sheet: draw a contact sheet of all layers and heads instead (.png).
        size: pixels a side that the map is pooled to, before it is enlarged.
        pool: "mean", "max" or "sum" of the products in a pixel.
        captions: words under heads of the sheet, by (layer, head).

    Raises:
        InputError: the ending, layer, head, size or pool is none, or the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".png", ".html") or (sheet and ending != ".png"):
        choices = ".png" if sheet else ".png or .html"
        raise InputError(
            f"{path}: the name of {'a contact sheet' if sheet else 'a map'} must end in {choices}"
        )
    check_writable(path)
    if sheet:
        if layer is not None or head is not None:
            raise InputError("contact sheet: it shows every layer and head; leave --layer and --head out")
        from lookbehind.atlas.plate import Plate
        from lookbehind.atlas.sheet import draw as draw_sheet

        rows = [
            [
                Plate.of(tape, at, one, min(size, SHEET_SIZE), pool, queries, keys)
                for one in range(found.q.shape[0])
            ]
            for at, found in enumerate(tape.layers)
        ]
        title = f"All heads: {len(rows)} layers, what each query reads"
        return _write(path, _png(draw_sheet(rows, title, captions)))
    from lookbehind.atlas.plate import Plate

    plate = Plate.of(tape, layer or 0, head or 0, size, pool, queries, keys)
    if ending == ".html":
        from lookbehind.atlas.page import render

        return _write(path, render(plate).encode())
    from lookbehind.atlas.picture import draw

    return _write(path, _png(draw(plate)))


def check_writable(path: Path) -> None:
    """Refuses a place that no file can be written to, before any work is done for it."""
    if path.is_dir():
        raise InputError(f"{path}: is a directory; name a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the directory {path.parent} is not writable; choose another place")


def _png(image: Image) -> bytes:
    from io import BytesIO

    room = BytesIO()
    image.save(room, "PNG", optimize=True)
    return room.getvalue()


def _write(path: Path, content: bytes) -> Path:
    """Writes beside and renames, so that the file is whole or not there."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as room:
            scratch = Path(room.name)
            try:
                room.write(content)
                room.close()
                scratch.chmod(0o666 & ~_umask())
                scratch.replace(path)
            except BaseException:
                scratch.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place"
        ) from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
