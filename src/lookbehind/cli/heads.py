"""`lookbehind heads`: what each head of a tape does, in numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lookbehind import checks
from lookbehind.cli.common import JsonOption, at_least, console, print_json, working
from lookbehind.errors import InputError
from lookbehind.heads import COLUMNS, HeadTable, cell

_SHORT = {"relative_entropy": "of even", "max_score": "max score"}


def heads(
    tape: Annotated[Path, typer.Argument(help="A recorded tape.", show_default=False)],
    sort: Annotated[
        str | None, typer.Option("--sort", "-s", help="A column, largest first.", show_default=False)
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", "-n", help="Only so many heads.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """What each head does: entropy, distance, and its weight on telling keys.

    Entropy in nats and as a share of an even look ("of even"); distance looked back; mean weight on key 0
    (sink), on the previous token, on earlier equal tokens (duplicate) and right after them (induction); the
    largest score.
    """
    if as_json and as_csv:
        raise InputError("heads: --json and --csv are two formats; choose one")
    if sort is not None and sort not in COLUMNS:
        raise InputError(f"heads: there is no column {sort!r}; sort by one of {', '.join(COLUMNS)}")
    if top is not None:
        checks.whole("top", top, 1)
    from lookbehind.tape import load

    with working("observing every product"):
        table = load(tape).heads()
    if sort is not None:
        table = table.sorted(sort, descending=sort not in ("layer", "head", "pattern"))
    if top is not None:
        table = table.top(top)
    if as_json:
        print_json(table.to_dict())
    elif as_csv:
        sys.stdout.write(table.to_csv())
    else:
        with at_least(80):  # numbers are not cut where a terminal is narrow: it wraps
            console.print(heads_table(table))
        console.print()
        for line in patterns_words(table):
            console.print(line, markup=False)


def heads_table(table: HeadTable) -> Table:
    """The numbers as a table of 80 columns; weights that stand out are bold."""
    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    # The pattern is said once below: it would take a quarter of a line.
    shown = [name for name in COLUMNS if name != "pattern"]
    for name in shown:
        drawn.add_column(_SHORT.get(name, name), justify="right", no_wrap=True)
    for head in table:
        drawn.add_row(*(_styled(name, getattr(head, name)) for name in shown))
    return drawn


def patterns_words(table: HeadTable) -> list[str]:
    """Which layers compute which pattern."""
    found: dict[str, set[int]] = {}
    for head in table:
        found.setdefault(head.pattern, set()).add(head.layer)
    return [
        f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, sorted(layers)))}: {pattern}"
        for pattern, layers in found.items()
    ]


def _styled(name: str, value: object) -> str:
    text = cell(value)
    if isinstance(value, float) and name in ("entropy", "distance", "max_score"):
        text = f"{value:.1f}" if name != "entropy" else f"{value:.2f}"
    elif isinstance(value, float):
        text = f"{value:.2f}"
        if name in ("sink", "previous", "duplicate", "induction") and value >= 0.3:
            return f"[bold]{text}[/bold]"
    return text
