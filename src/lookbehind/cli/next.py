"""`lookbehind next`: the next-token distribution, and what each step of decoding costs."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lookbehind import checks
from lookbehind.cli.common import (
    ChatOption,
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
from lookbehind.cli.models import (
    AttentionOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    TrustOption,
    load_both,
    set_up,
)
from lookbehind.errors import harmless
from lookbehind.predict import Decoding, NextTokens, decode_steps, next_tokens

_BAR = 24


def next_(
    text: TextArgument = None,
    file: FileOption = None,
    model: ModelOption = None,
    trust_remote_code: TrustOption = False,
    k: Annotated[int, typer.Option("--k", "-k", help="How many candidates.")] = 10,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Decode so many tokens, counting products.", show_default=False),
    ] = None,
    chat: ChatOption = False,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    attn: AttentionOption = None,
    as_json: JsonOption = False,
) -> None:
    """What comes next: probabilities and logits; with --steps, token by token.

    With --steps each token stands beside the products its step added with a cache of keys and values, and
    those that a model without one would compute again.
    """
    prompt = read_text(text, file)
    checks.whole("k", k, 1)
    if steps is not None:
        checks.whole("steps", steps, 1)
    with working("loading the model"):
        loaded, tokenizer = load_both(model, trust_remote_code)
        set_up(loaded, device, attn, dtype)
    with working("reading"):
        if steps is None:
            found = next_tokens(loaded, tokenizer, prompt, k, chat)
        else:
            found = decode_steps(loaded, tokenizer, prompt, steps, k, chat)
    if as_json:
        print_json(found.to_dict())
    elif isinstance(found, Decoding):
        with at_least(80):  # numbers are not cut where a terminal is narrow: it wraps
            console.print(steps_table(found))
        for line in steps_words(found):
            console.print(Text(line))
        console.print()
        console.print(
            Text(harmless(found.text), style="dim").append(harmless(found.continuation), style="not dim bold")
        )
    else:
        with at_least(80):
            console.print(next_table(found))


def next_table(found: NextTokens) -> Table:
    """Candidates with their probabilities as bars."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("next token")
    table.add_column("probability", justify="right")
    table.add_column("")
    table.add_column("logit", justify="right")
    table.add_column("id", justify="right", style="dim")
    for token in found:
        table.add_row(
            shown(token.token),
            f"{token.probability:.4f}",
            bar(token.probability),
            f"{token.logit:.2f}",
            str(token.id),
        )
    return table


def steps_table(found: Decoding) -> Table:
    """A row a step: the token, and the products of the step with and without a cache."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, side in (("step", "right"), ("token", "left"), ("probability", "right")):
        table.add_column(name, justify=side)  # pyright: ignore[reportArgumentType]
    for kind in found.kinds:
        table.add_column(f"a head\n{kind.pattern}", justify="right", vertical="bottom")
    table.add_column("all heads\nwith a cache", justify="right")
    table.add_column("all heads\nwithout", justify="right")
    for number, step in enumerate(found.steps, start=1):
        table.add_row(
            str(number),
            shown(step.chosen.token),
            f"{step.chosen.probability:.4f}",
            *(f"+{count:,}" for count in step.added),
            f"+{step.added_total:,}",
            f"{step.recomputed_total:,}",
        )
    return table


def steps_words(found: Decoding) -> list[str]:
    """What the table says, in sentences."""
    first, *rest = found.steps
    queries = some(found.n_prompt, "query", "queries")
    lines = ["", f"Step 1 reads the prompt: {queries}, {first.added_total:,} products."]
    if rest:
        added = sum(step.added_total for step in rest)
        again = sum(step.recomputed_total for step in rest)
        times = again / added
        shown_times = f"{times:,.1f}" if times < 10 else f"{times:,.0f}"
        later, they = ("Step 2", "it") if len(rest) == 1 else (f"Steps 2 to {len(found.steps)}", "they")
        lines.append(
            f"Each later step is one query. {later} added {added:,} products; "
            f"without a cache {they} would compute {again:,}, {shown_times} times as many."
        )
    return lines


def shown(token: str) -> Text:
    """A token with its blanks visible, quoted as JSON so that nothing in it can act on the terminal."""
    return Text(json.dumps(token, ensure_ascii=not token.isprintable()))


def bar(share: float, width: int = _BAR) -> Text:
    """A share of 1 as a bar, to an eighth of a cell."""
    eighths = round(share * width * 8)
    partial = " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return Text("█" * (eighths // 8) + partial, style="cyan")
