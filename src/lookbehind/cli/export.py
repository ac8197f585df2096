"""`lookbehind export`: the atlas of a tape as one page, and maps as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookbehind import checks
from lookbehind.cli.common import JsonOption, console, print_json, working
from lookbehind.errors import InputError, harmless


def export(
    tape: Annotated[Path, typer.Argument(help="A recorded tape.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="map.png, map.html, ….", show_default=False)
    ] = None,
    layer: Annotated[int | None, typer.Option("--layer", help="Which layer (0).", show_default=False)] = None,
    head: Annotated[int | None, typer.Option("--head", help="Which head (0).", show_default=False)] = None,
    heads: Annotated[
        str | None,
        typer.Option("--heads", help="Which heads a page holds exactly, as in 1.0,3.4.", show_default=False),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(
            "--level",
            help="A page holds heads pooled over 2^n x 2^n products; 0 is exactly.",
            show_default=False,
        ),
    ] = None,
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
    """Write the atlas of a tape into one page (.html), or draw one head or all of them (.png).

    The page zooms through what it holds and needs no network. It stays below 10 MB: which heads it holds
    exactly is chosen by what they do, or by --layer, --head and --heads; what it leaves out is said.

    Query i reads, downwards; key j is read, across. What was never computed is hatched, which is not the
    same as a weight of zero.
    """
    if out is None:
        raise InputError("export: say where it goes, as in -o page.html or -o map.png")
    rows, columns = read_range("queries", queries), read_range("keys", keys)
    from lookbehind.atlas import check_writable
    from lookbehind.atlas import export as draw
    from lookbehind.tape import load

    check_writable(out)
    named = None if heads is None else read_heads(heads)
    with working("drawing"):
        written = draw(
            load(tape),
            out,
            layer,
            head,
            queries=rows,
            keys=columns,
            sheet=sheet,
            size=size,
            pool=pool,
            heads=named,
            level=level,
            title=tape.resolve().name,
        )
    if as_json:
        print_json({"out": str(out), "bytes": out.stat().st_size, "left_out": written.left_out})
        return
    console.print(harmless(f"wrote {out}, {out.stat().st_size / 1e3:,.0f} kB"), markup=False, soft_wrap=True)
    for one in written.left_out:
        console.print(f"left out: {one}", markup=False, soft_wrap=True)


def read_heads(text: str) -> list[tuple[int, int]]:
    """`1.0,3.4` as (layer, head) pairs."""
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        layer, dot, head = part.strip().partition(".")
        if not (dot and all(one.isascii() and one.isdecimal() and len(one) < 7 for one in (layer, head))):
            raise InputError(f"heads {checks.shown(text)}: give them as layer.head, as in 1.0,3.4")
        found.append((int(layer), int(head)))
    return found


def read_range(name: str, text: str | None) -> slice:
    """`100:140` as a slice of positions; either end may be left out, and None is everything."""
    if text is None:
        return slice(None)
    first, colon, last = text.partition(":")
    fits = (part == "" or (part.isascii() and part.isdecimal() and len(part) < 19) for part in (first, last))
    if not colon or not all(fits):
        raise InputError(
            f"{name} {checks.shown(text)}: give a range of positions as first:end, as in 100:140"
        )
    return slice(int(first) if first else None, int(last) if last else None)
