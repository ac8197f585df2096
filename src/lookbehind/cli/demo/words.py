"""Words: what the demo says on the terminal."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lookbehind.cli.common import console, size
from lookbehind.cli.demo.cost import Cost, decoding_counts
from lookbehind.cli.demo.folder import TAPE, WRITTEN
from lookbehind.cli.demo.telling import TELLING, telling
from lookbehind.cli.next import next_table
from lookbehind.errors import harmless

if TYPE_CHECKING:
    from lookbehind.heads import HeadTable
    from lookbehind.predict import NextTokens
    from lookbehind.spans import Spans
    from lookbehind.tape import Tape

_CELLS = 16  # a triangle's side on the terminal


def _heading(text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _say(text: str) -> None:
    """A paragraph, indented, at a width that reads well."""
    for line in textwrap.wrap(text, min(console.width, 90) - 2):
        console.print(Text(f"  {line}"))


def _put(table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def show_products(tape: Tape, facts: dict[str, Any]) -> None:
    """The triangles and their counts."""
    _heading("Which products were computed")
    _say(
        f"The built-in decoder read {tape.steps[0]:,} tokens of a Python file and wrote {len(tape.steps)} "
        "more. Query i (down) is multiplied with key j (across) only where j <= i: the upper triangle was "
        "never computed. A sliding-window layer leaves out the far past as well."
    )
    console.print()
    kinds: dict[Spans, int] = {}
    for layer in tape.layers:
        kinds.setdefault(layer.spans, layer.q.shape[0])
    drawn = sorted(zip(kinds, facts["kinds"], strict=True), key=lambda pair: -pair[1]["products"])[:2]
    panels = [
        [
            *triangle(spans).split("\n"),
            "",
            f"{kind['layers']} layers: {kind['pattern']}",
            f"{kind['products']:,} products per head,",
            f"{kind['products'] / kind['of']:.1%} of {kind['of']:,}",
        ]
        for spans, kind in drawn
    ]
    for line in zip(*panels, strict=True):
        console.print(Text(("  " + "".join(part.ljust(2 * _CELLS + 6) for part in line)).rstrip()))
    side = -(-facts["tokens"] // _CELLS)
    console.print()
    _say(f"██ all, ▒▒ some, ·· none of {side} x {side} products computed")
    _say(f"All {facts['heads']} heads together: {facts['products']:,} products.")


def triangle(spans: Spans, cells: int = _CELLS) -> str:
    """Spans as tiles, two characters each, so that a square looks square."""
    side = max(1, -(-max(spans.n_queries, spans.n_keys) // cells))
    blocks = spans.blocks(side, side)
    some, whole = blocks.visited.mask(), blocks.full.mask()
    return "\n".join(
        "".join("██" if full else "▒▒" if part else "··" for full, part in zip(*rows, strict=True))
        for rows in zip(whole, some, strict=True)
    )


def show_next(tape: Tape, upcoming: NextTokens, text: str, continuation: str) -> None:
    """The distribution after the prompt, and what was written."""
    _heading("What comes next")
    _say("The last row of weights mixes the values it read into one vector, and that becomes a distribution:")
    console.print()
    _put(next_table(upcoming))
    console.print()
    _say(f"Taking the likeliest {len(tape.steps)} times, it went on:")
    console.print()
    last = textwrap.dedent("\n".join(text.split("\n")[-3:]))
    for line in (
        Text(harmless(last), style="dim").append(harmless(continuation), style="not dim bold").split("\n")
    ):
        console.print(Padding(line, (0, 0, 0, 4), expand=False))
    added, again = decoding_counts(tape)
    console.print()
    _say(
        f"Each token after the first is one more row: {added:,} products for all of them, because keys are "
        f"cached. Without a cache the triangle would be computed again each time: {again:,}."
    )


def show_heads(table: HeadTable) -> None:
    """The most telling heads, in words."""
    _heading("What the heads look at")
    grid = Table.grid(padding=(0, 3, 0, 0))
    found = telling(table)
    for one in TELLING:
        head = found.get(one.measure)
        if head is not None:
            value = getattr(head, one.measure)
            weak = "only " if one.is_weak(head) else ""
            grid.add_row(f"layer {head.layer} head {head.head}", one.name, weak + one.words.format(value))
    _put(grid)
    console.print()
    _say("Each is the head with the largest number of its kind, an exact mean over all queries that count.")


def show_cost(cost: Cost, facts: dict[str, Any], tape: Tape) -> None:
    """Time and memory, beside the eager way."""
    _heading("What it cost, on one core")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    table.add_column("")
    table.add_column("time", justify="right")
    table.add_column("memory", justify="right")
    table.add_column("grows with", style="dim")
    table.add_row(f"run, {len(tape.steps)} tokens written", _seconds(cost.run_seconds), "", "")
    table.add_row(
        "the same, recorded",
        _seconds(cost.record_seconds),
        size(cost.tape_bytes),
        "n",
    )
    table.add_row("observe every product", _seconds(cost.observe_seconds), "a few tiles", "–")
    table.add_row(
        "eager, output_attentions=True", _seconds(cost.eager_seconds), size(cost.eager_bytes), "n x n"
    )
    _put(table)
    console.print()
    ratio = cost.eager_bytes / max(cost.tape_bytes, 1)
    _say(
        f"The tape is {ratio:,.0f} times smaller than the eager weights, and gives them all back: over all "
        f"{facts['heads']} heads the largest difference is {cost.largest_difference:.1e}. "
        + (
            "Recorded or not, the model wrote the same."
            if cost.same_output
            else "But the outputs differ: a bug."
        )
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"


def show_written(written: list[Path], out: Path) -> None:
    """Where everything lies, and what to type next."""
    _heading("Where it is")
    grid = Table.grid(padding=(0, 3, 0, 0))
    for path in written:
        grid.add_row(Text(str(path)), Text(WRITTEN[path.name], style="dim"))
    _put(grid)
    console.print()
    for line in (
        f"Next: lookbehind view {out / TAPE}",
        f"      lookbehind heads {out / TAPE} --sort induction",
        '      lookbehind next "def parse(" --steps 10',
    ):
        console.print(Text(f"  {line}"), soft_wrap=True)
