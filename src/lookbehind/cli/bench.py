"""`lookbehind bench`: time and memory of attention and observation on this machine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from lookbehind.cli.common import JsonOption, console, print_json, working


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
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(ratio=4)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=5, style="dim")
    for row in rows:
        table.add_row(row.name, _figure(row.value), row.unit, row.note)
    console.print(table)


def _figure(value: float) -> str:
    """Three digits, and never an exponent for what is counted in thousands."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
