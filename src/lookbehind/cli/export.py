"""`lookbehind export`: maps of a tape as pictures and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookbehind.cli.common import JsonOption, console, print_json, working
from lookbehind.errors import InputError


def export(
    tape: Annotated[Path, typer.Argument(help="A recorded tape.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="map.png, map.html, ….", show_default=False)
    ] = None,
    layer: Annotated[int | None, typer.Option("--layer", help="Which layer (0).", show_default=False)] = None,
    head: Annotated[int | None, typer.Option("--head", help="Which head (0).", show_default=False)] = None,
    queries: Annotated[
        str | None, typer.Option("--queries", help="Only these rows, as in 100:140.", show_default=False)
    ] = None,
    keys: Annotated[
        str | None, typer.Option("--keys", help="Only these keys, as in 0:40.", show_default=False)
    ] = None,
    sheet: Annotated[
        bool, typer.Option("--sheet", help="All layers and heads as small maps (.png).")
    ] = False,
    size: Annotated[int, typer.Option("--size", help="Pool to at most so many pixels a side.")] = 512,
    pool: Annotated[str, typer.Option("--pool", help="What a pixel keeps: mean, max or sum.")] = "mean",
    as_json: JsonOption = False,
) -> None:
    """Draw one head's map, or all heads on a contact sheet.

    Query i reads, downwards; key j is read, across. What was never computed is hatched, which is not the
    same as a weight of zero.
    """
    if out is None:
        raise InputError("export: say where the picture goes, as in -o map.png or -o map.html")
    rows, columns = read_range("queries", queries), read_range("keys", keys)
    from lookbehind.atlas import check_writable
    from lookbehind.atlas import export as draw
    from lookbehind.tape import load

    check_writable(out)
    with working("drawing"):
        draw(load(tape), out, layer, head, queries=rows, keys=columns, sheet=sheet, size=size, pool=pool)
    if as_json:
        print_json({"out": str(out), "bytes": out.stat().st_size})
    else:
        console.print(f"wrote {out}, {out.stat().st_size / 1e3:,.0f} kB", markup=False, soft_wrap=True)


def read_range(name: str, text: str | None) -> slice:
    """`100:140` as a slice of positions; either end may be left out, and None is everything."""
    if text is None:
        return slice(None)
    first, colon, last = text.partition(":")
    if not colon or not all(part == "" or (part.isascii() and part.isdecimal()) for part in (first, last)):
        raise InputError(f"{name} {text!r}: give a range of positions as first:end, as in 100:140")
    return slice(int(first) if first else None, int(last) if last else None)
