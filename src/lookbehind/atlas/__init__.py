"""The atlas: maps of what was read, as pictures and as pages.

A tape's map becomes a `Plate` (values and words), and plates become pictures. The page that zooms is served
from an opened tape, or written into one file with a choice of what is on the tape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lookbehind import checks, disk
from lookbehind.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from lookbehind.tape import Tape

SHEET_SIZE = 200


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        left_out: what a page does not hold of the tape, a sentence each.
    """

    path: Path
    left_out: tuple[str, ...] = ()


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
    heads: Sequence[tuple[int, int]] | None = None,
    level: int | None = None,
    title: str | None = None,
) -> Exported:
    """Draws one head's map, or all heads, into a picture; or writes the whole atlas into one page.

    A page (.html) needs neither a server nor a network and stays below 10 MB, so that it chooses what it
    holds; `Exported.left_out` says what it does not, and so does the page.

    Args:
        tape: what was recorded.
        path: where to; the ending says what: .png or .html.
        layer: which layer; the first unless given; negative numbers count from the last. In a page: only the
            heads of this layer exactly.
        head: which head of it, likewise. In a page: only this one exactly.
        queries, keys: draw only this region of rows and keys (.png).
        sheet: draw a contact sheet of all layers and heads instead (.png).
        size: pixels a side that the map is pooled to, before it is enlarged (.png).
        pool: "mean", "max" or "sum" of the products in a pixel (.png).
        captions: words under heads of the sheet, by (layer, head).
        heads: (layer, head) of those that a page is to hold exactly (.html); chosen unless given.
        level: a page holds heads pooled over 2**level x 2**level products (.html); 0 is exactly.
        title: what a page is called (.html).

    Raises:
        InputError: the ending, layer, head, size, pool or level is none, what was asked for does not fit into
            a page, or there is no such place.
        StorageError: the file cannot be written.
    """
    path = checks.path("export", path)
    ending = path.suffix.lower()
    if ending not in (".png", ".html") or (sheet and ending != ".png"):
        choices = ".png" if sheet else ".png or .html"
        raise InputError(
            f"{path}: the name of {'a contact sheet' if sheet else 'a map'} must end in {choices}"
        )
    check_writable(path)
    if ending == ".html":
        if (queries, keys, size, pool) != (slice(None), slice(None), 512, "mean"):
            raise InputError(
                f"{path}: a page zooms by itself; leave --queries, --keys, --size and --pool out, or write "
                "a .png"
            )
        return _page(tape, path, layer, head, heads, level, title)
    if heads is not None or level is not None:
        raise InputError(
            f"{path}: --heads and --level choose what a page holds; write a .html, or leave them out"
        )
    size = checks.whole("size", size, 1)
    if not sheet:
        return Exported(_write(path, _png(_map(tape, layer or 0, head or 0, size, pool, queries, keys))))
    if layer is not None or head is not None:
        raise InputError("contact sheet: it shows every layer and head; leave --layer and --head out")
    return Exported(_write(path, _png(_sheet(tape, size, pool, queries, keys, captions))))


def _map(tape: Tape, layer: int, head: int, size: int, pool: str, queries: slice, keys: slice) -> Image:
    from lookbehind.atlas.picture import draw
    from lookbehind.atlas.plate import Plate

    return draw(Plate.of(tape, layer, head, size, pool, queries, keys))


def _sheet(
    tape: Tape,
    size: int,
    pool: str,
    queries: slice,
    keys: slice,
    captions: Mapping[tuple[int, int], str] | None,
) -> Image:
    from lookbehind.atlas.plate import Plate
    from lookbehind.atlas.sheet import draw

    size = min(size, SHEET_SIZE)
    rows = [
        [Plate.of(tape, at, head, size, pool, queries, keys) for head in range(layer.n_heads)]
        for at, layer in enumerate(tape.layers)
    ]
    layers = "1 layer" if len(rows) == 1 else f"{len(rows)} layers"
    return draw(rows, f"All heads: {layers}, what each query reads", captions)


def _page(
    tape: Tape,
    path: Path,
    layer: int | None,
    head: int | None,
    heads: Sequence[tuple[int, int]] | None,
    level: int | None,
    title: str | None,
) -> Exported:
    from lookbehind.atlas.onefile import render
    from lookbehind.atlas.plate import check_head

    if heads is not None and (layer, head) != (None, None):
        raise InputError("heads: give --heads, or --layer and --head; not both")
    if (layer, head) != (None, None):
        at, one = check_head(tape, layer or 0, head or 0, from_last=True)
        heads = [(at, one)] if head is not None else [(at, one) for one in range(tape.layers[at].n_heads)]
    page = render(tape, title or path.stem, heads, level)
    return Exported(_write(path, page.html.encode()), page.left_out)


def check_writable(path: Path) -> None:
    """Refuses a place that no file can be written to, before any work is done for it."""
    with disk.writing(path):  # a name may be too long even to look for
        if path.is_dir():
            raise InputError(f"{path}: is a directory; name a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no file that could be replaced; name another")
        disk.check_parent(path)


def _png(image: Image) -> bytes:
    from io import BytesIO

    room = BytesIO()
    image.save(room, "PNG", optimize=True)
    return room.getvalue()


def _write(path: Path, content: bytes) -> Path:
    with disk.whole(path) as beside:
        beside.write_bytes(content)
    return path
