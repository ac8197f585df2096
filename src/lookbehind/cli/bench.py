"""`lookbehind bench`: time and memory of attention and observation on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lookbehind.cli.common import JsonOption, console, print_json, working

if TYPE_CHECKING:
    from lookbehind.bench import Row


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: that it runs, not how fast.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Time and memory of attend and observe here, beside the eager way.

    Takes a few minutes; what is compared is timed in turn, so that a busy machine slows both.
    """
    from lookbehind.bench import machine, run

    with working("measuring"):
        rows = run(device, quick)
    if as_json:
        print_json({"machine": machine(device), "quick": quick, "rows": [row.to_dict() for row in rows]})
        return
    console.print(machine(device), markup=False)
    if quick:
        console.print("--quick: sizes too small to judge by", style="dim")
    console.print()
    console.print(_figures([row for row in rows if row.must is None]))
    targets = [row for row in rows if row.must is not None]
    if targets:
        name = "triton" if device == "cuda" else "native"
        console.print(f"\nThe {name} engine, beside what it has to reach and what it is meant to\n")
        console.print(_targets(targets, on_threads=device == "cpu"))


def _figures(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(ratio=4)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=5, style="dim")
    for row in rows:
        table.add_row(row.name, _figure(row.value), row.unit, row.note)
    return table


def _targets(rows: list[Row], on_threads: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("one thread" if on_threads else "", ratio=4)
    for heading in ("read", "", "must", "aim", *(("2 threads",) if on_threads else ())):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    table.add_column(ratio=3, style="dim")
    for row in rows:
        read = f"{_figure(row.value)}{' !' if row.reached is False else ''}"
        figures = (row.must, row.aim, *((row.two,) if on_threads else ()))
        table.add_row(row.name, read, row.unit, *(_figure(one) for one in figures), row.note)
    return table


def _figure(value: float | None) -> str:
    """Three digits, and never an exponent for what is counted in thousands."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
