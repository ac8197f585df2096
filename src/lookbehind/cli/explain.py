"""`lookbehind explain`: the products a pattern computes, for each query, and the ones it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len, set_cell_size
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lookbehind.cli.common import (
    FileOption,
    JsonOption,
    TextArgument,
    at_least,
    console,
    print_json,
    read_text,
    some,
    working,
)
from lookbehind.cli.models import ModelOption, TrustOption, load_tokenizer
from lookbehind.errors import InputError
from lookbehind.lesson import SHORT, Lesson, Row
from lookbehind.lesson import explain as make_lesson
from lookbehind.tokens import token_strings

_EXAMPLE = 6  # tokens, where nothing was given to explain
_DRAWN = 64  # the widest triangle with a cell per product, as in print(spans)
_ENDS = 4  # queries shown at either end of a long lesson
_MOST = 200_000  # products that a terminal is asked to show
_HEAVIEST = 8  # products shown of a long recorded row
_TOKEN = 12


def explain(
    text: TextArgument = None,
    file: FileOption = None,
    n: Annotated[
        int | None,
        typer.Option("--n", "-n", help="A number of tokens instead of a text.", show_default=False),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", "-p", help='As in "causal & window(4)".', show_default="causal"),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries", help="Only the last so many are queries; 1 is a decode step.", show_default=False
        ),
    ] = None,
    query: Annotated[
        list[int] | None,
        typer.Option("--query", help="Show this query whole; repeatable.", show_default=False),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every query, every product by name.")] = False,
    tape: Annotated[
        Path | None,
        typer.Option("--tape", help="A recorded tape: its tokens, scores and weights.", show_default=False),
    ] = None,
    layer: Annotated[int | None, typer.Option("--layer", help="Of the tape.", show_default="0")] = None,
    head: Annotated[int | None, typer.Option("--head", help="Of the layer.", show_default="0")] = None,
    model: ModelOption = None,
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Which products does a pattern compute, for each query, and which not?

    A text is split by the tokenizer of the built-in decoder, or of --model. With --tape the products stand
    with the scores and the weights that a model gave them.
    """
    lesson = _lesson(text, file, n, pattern, queries, tape, layer, head, model, trust_remote_code)
    if as_json:
        print_json(lesson.to_dict(query))
        return
    if show_all and lesson.computed > _MOST:
        raise InputError(
            f"--all: {lesson.computed:,} products are more than the {_MOST:,} that a terminal is given; "
            "ask for some queries (--query), or for JSON"
        )
    rows = list(lesson.rows(query)) if query else None
    console.print(_heading(lesson))
    console.print()
    if rows is None:
        picture = _picture(lesson, console.width - 2)
        with at_least(_DRAWN + 8):  # nor does a triangle lose its right side
            console.print(Padding(picture, (0, 0, 0, 2), expand=False))
        console.print()
        console.print(Padding(_queries(lesson, show_all), (0, 0, 0, 2), expand=False))
    else:
        for row in rows:
            # Scores and weights are not cut where a terminal is narrow: it wraps.
            with at_least(80 if lesson.recorded else 0):
                console.print(Padding(_query(lesson, row), (0, 0, 0, 2), expand=False))
            console.print()
    if rows is None:
        console.print()
        console.print(Padding(_counts(lesson), (0, 0, 0, 2), expand=False))


def _lesson(
    text: str | None,
    file: Path | None,
    n: int | None,
    pattern: str | None,
    queries: int | None,
    tape: Path | None,
    layer: int | None,
    head: int | None,
    model: str | None,
    trust: bool,
) -> Lesson:
    sources = {"a text": text, "--file": file, "--n": n, "--tape": tape}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"explain: {' and '.join(given)} were given; one of them is enough")
    if model is not None and text is None and file is None:
        raise InputError("explain: --model splits a text into tokens; give a text or --file, or leave it out")
    if tape is not None:
        from lookbehind.tape import load

        return make_lesson(load(tape), pattern, queries=queries, layer=layer or 0, head=head or 0)
    if layer is not None or head is not None:
        raise InputError("explain: --layer and --head are of a tape; give it with --tape")
    if text is None and file is None:
        return make_lesson(_EXAMPLE if n is None else n, pattern, queries=queries)
    return make_lesson(_tokens(read_text(text, file), model, trust), pattern, queries=queries)


def _tokens(text: str, model: str | None, trust: bool) -> list[str]:
    """The text as the model's tokenizer splits it; the built-in one needs no import of transformers."""
    if model is None:
        from tokenizers import Tokenizer

        from lookbehind.model import PATH

        tokenizer = Tokenizer.from_file(str(PATH / "tokenizer.json"))
        return token_strings(tokenizer, tokenizer.encode(text).ids)
    with working("loading the tokenizer"):
        tokenizer = load_tokenizer(model, trust)
    return token_strings(tokenizer, tokenizer(text)["input_ids"])


# -- the page ------------------------------------------------------------------------------------------------


def _heading(lesson: Lesson) -> Text:
    name = "no named pattern" if lesson.pattern is None else str(lesson.pattern)
    heading = Text(name, style="bold").append(f"\n{lesson.says()}", style="not bold")
    n_queries, n_keys = lesson.spans.n_queries, lesson.spans.n_keys
    size = some(n_keys, "token")
    if n_queries != n_keys:
        size = f"{some(n_queries, 'query', 'queries')} over {some(n_keys, 'key')}"
    heading.append(
        f"\n{size}: {lesson.computed:,} of {lesson.dense:,} products are computed.", style="not bold dim"
    )
    if lesson.recorded is not None:
        heading.append(f" Layer {lesson.recorded.layer}, head {lesson.recorded.head}.", style="not bold dim")
    return heading


def _picture(lesson: Lesson, width: int) -> RenderableType:
    """The triangle: by product with names where that fits, smaller without, by tile where it is long."""
    spans = lesson.spans
    if max(spans.n_queries, spans.n_keys) > _DRAWN:
        return Group(
            Text(str(spans), style="cyan", no_wrap=True), Text("█ all computed  ▒ some  · none", style="dim")
        )
    names = [f"k{key}" for key in range(spans.n_keys)]
    weighed = lesson.recorded is not None
    cell = max(len(names[-1]), 3 if weighed else 0) + 1
    labels = [_label(lesson, query) for query in lesson.queries]
    left = max(label.cell_len for label in labels) + 2
    named = left + cell * len(names) <= width
    if not named:
        labels = [Text(f"q{query}", style="bold") for query in lesson.queries]
        left = max(label.cell_len for label in labels) + 2
        cell = 2 if left + 2 * len(names) <= width else 1
    lines: list[Text] = []
    if named:
        lines.append(Text(" " * left + "".join(name.rjust(cell - 1) + " " for name in names), style="dim"))
    for label, row in zip(labels, lesson.rows(), strict=True):
        line = label.copy()
        line.pad_right(left - label.cell_len)
        weights = dict(zip(row.keys, row.weights or (), strict=False))
        for key, computed in enumerate(spans.mask()[row.query - spans.offset].tolist()):
            line.append_text(_cell(computed, weights.get(key), cell - 1 if named else 1, named))
            line.append(" " * (cell - 1 if cell <= 2 and not named else 1))
        line.rstrip()
        lines.append(line)
    legend = "■ computed  · never computed" if not weighed else "the weight of each product  · never computed"
    if weighed and not named:
        legend = "weights: ░ below .1  ▒ below .3  ▓ below .6  █ above  · never computed"
    lines.append(Text(" " * left + legend, style="dim"))
    return Text("\n").join(lines)


def _cell(computed: bool, weight: float | None, width: int, named: bool) -> Text:
    if not computed:
        return Text("·".rjust(width), style="dim")
    if weight is None:
        return Text("■".rjust(width), style="cyan")
    if not named:
        return Text("░▒▓█"[(weight >= 0.1) + (weight >= 0.3) + (weight >= 0.6)], style="cyan")
    text = "1.0" if weight >= 0.995 else f"{weight:.2f}"[1:]
    return Text(text.rjust(width), style="bold cyan" if weight >= 0.3 else "cyan" if weight >= 0.1 else "")


def _queries(lesson: Lesson, show_all: bool) -> Table:
    """Each query with its products, and under them what is missing and why."""
    table = _list(lesson)
    queries = lesson.queries
    shown = list(queries)
    if len(shown) > SHORT and not show_all:
        shown = [*queries[:_ENDS], *queries[-_ENDS:]]
    for number, row in enumerate(lesson.rows(shown)):
        if len(shown) < len(queries) and number == _ENDS:
            between = len(queries) - len(shown)
            middle = queries[len(queries) // 2]
            table.add_row(
                "…", Text(f"{between:,} more; --query {middle} shows one, --all every one", style="dim")
            )
        table.add_row(
            _label(lesson, row.query), _products(row, _MOST if show_all else SHORT), f"{row.count:,}"
        )
    return table


def _list(lesson: Lesson) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("query", no_wrap=True)
    table.add_column("products" if lesson.recorded is None else "products: score → weight")
    table.add_column("count", justify="right", no_wrap=True, style="dim")
    return table


def _label(lesson: Lesson, query: int) -> Text:
    return Text.assemble((f"q{query}", "bold"), " ", _token(lesson, query))


def _products(row: Row, short: int) -> RenderableType:
    named = Text(row.products(short).split("  (")[0])
    reasons = [Text(f"not: {reason}", style="dim") for reason in row.reasons]
    if row.scores is None or row.weights is None or not row.count:
        return Text("\n").join([named, *reasons])
    parts = list(zip(row.keys, row.scores, row.weights, strict=True))
    whole = row.count <= short
    kept = parts if whole else sorted(parts, key=lambda part: -part[2])[:_HEAVIEST]
    cells = [f"q{row.query}·k{key} {score:.2f} → {weight:.2f}" for key, score, weight in kept]
    listed = Columns(cells, padding=(0, 2), equal=True)
    return Group(*([] if whole else [named.append("; the heaviest:")]), listed, *reasons)


def _query(lesson: Lesson, row: Row) -> RenderableType:
    """One query whole: every product by name; with scores and weights where there are some."""
    if row.scores is None or row.weights is None:
        table = _list(lesson)
        table.add_row(_label(lesson, row.query), _products(row, _MOST), f"{row.count:,}")
        return table
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("product")
    table.add_column("key")
    table.add_column("score", justify="right")
    table.add_column("weight", justify="right")
    table.add_column("")
    for key, score, weight in zip(row.keys, row.scores, row.weights, strict=True):
        bar = Text("█" * round(weight * 24), style="cyan")
        table.add_row(f"q{row.query}·k{key}", _token(lesson, key), f"{score:.3f}", f"{weight:.4f}", bar)
    rest = [Text(f"not: {reason}", style="dim") for reason in row.reasons]
    title = _label(lesson, row.query).append(f"  {some(row.count, 'product')}", style="dim")
    return Group(title, table, *rest)


def _counts(lesson: Lesson) -> Table:
    costs = lesson.costs()
    tiles = costs["tiles"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("computed", lesson.sums())
    table.add_row("never", f"{lesson.dense:,} − {lesson.computed:,} = {lesson.forbidden:,}")
    table.add_row(
        "dense kernel", f"{some(lesson.dense, 'product')}, {costs['dense']['wasted']:.1%} of them wasted"
    )
    table.add_row(
        f"{tiles['side']} x {tiles['side']} tiles",
        f"visits {tiles['visited']:,} of {tiles['total']:,}: {some(tiles['products'], 'product')}, "
        f"{tiles['wasted']:.1%} of them wasted",
    )
    return table


def _token(lesson: Lesson, position: int) -> Text:
    """A token quoted as JSON, so that blanks are seen and nothing in it acts on the terminal."""
    if lesson.tokens is None or not 0 <= position < len(lesson.tokens):
        return Text("")
    token = lesson.tokens[position]
    quoted = json.dumps(token, ensure_ascii=not token.isprintable())
    return Text(
        quoted if cell_len(quoted) <= _TOKEN else set_cell_size(quoted, _TOKEN - 1) + "…", style="dim"
    )
