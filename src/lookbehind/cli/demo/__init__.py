"""`lookbehind demo`: a real decoder reads a real file, and you see what it looked at."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookbehind.cli.common import JsonOption, print_json, working
from lookbehind.cli.demo import words
from lookbehind.cli.demo.cost import Cost, compare_eager
from lookbehind.cli.demo.folder import TAPE, WRITTEN, fresh
from lookbehind.cli.demo.telling import TELLING, telling
from lookbehind.cli.models import load_both
from lookbehind.cli.record import record_run, run_model, tape_facts

if TYPE_CHECKING:
    from lookbehind.heads import HeadTable
    from lookbehind.tape import Tape

GENERATED = 20  # tokens that the built-in decoder writes after its demo text


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where tape and pictures go.")] = Path(
        "demo-output"
    ),
    as_json: JsonOption = False,
) -> None:
    """The built-in decoder reads a source file and writes on; see what it looked at.

    Takes less than a minute, offline. A second run replaces what the first one wrote, and nothing else.
    """
    with fresh(out) as place:
        with working("loading the built-in decoder"):
            model, tokenizer = load_both(None)
            from lookbehind.bench.clock import threads
            from lookbehind.heads import head_table
            from lookbehind.model import demo_text
            from lookbehind.predict import encode, next_tokens

            text = opening(demo_text())
        with threads(1):  # so small a model gains little from more, and on a busy machine waits for them
            with working("reading a source file"):
                upcoming = next_tokens(model, tokenizer, text, 5)
                ids = encode(model, tokenizer, text)
                started = time.perf_counter()
                plain = run_model(model, ids, GENERATED)
                run_seconds = time.perf_counter() - started
            with working("reading it again, under the recorder"):
                started = time.perf_counter()
                tape, continuation = record_run(model, tokenizer, text, place / TAPE, GENERATED)
                record_seconds = time.perf_counter() - started
            with working("observing every product"):
                started = time.perf_counter()
                table = head_table(tape)
                observe_seconds = time.perf_counter() - started
            facts = tape_facts(tape, place / TAPE)
            with working("the same the eager way, to compare"):
                eager_seconds, eager_bytes, difference = compare_eager(model, tape)
            cost = Cost(
                run_seconds=run_seconds,
                record_seconds=record_seconds,
                same_output=tokenizer.decode(plain[0, ids.shape[1] :]) == continuation,
                observe_seconds=observe_seconds,
                tape_bytes=facts["bytes"],
                eager_seconds=eager_seconds,
                eager_bytes=eager_bytes,
                largest_difference=difference,
            )
        with working("drawing"):
            draw(tape, table, place)
    written = [path for name in WRITTEN if (path := out / name).exists()]

    if as_json:
        print_json(
            {
                **facts,
                "next": upcoming.to_dict()["tokens"],
                "continuation": continuation,
                "telling": {name: asdict(head) for name, head in telling(table).items()},
                "cost": asdict(cost),
                "written": [str(path) for path in written],
            }
        )
        return
    words.show_products(tape, facts)
    words.show_next(tape, upcoming, text, continuation)
    words.show_heads(table)
    words.show_cost(cost, facts, tape)
    words.show_written(written, out)


def opening(text: str) -> str:
    """A file up to its last opening bracket: in the middle of things there is something to go on with."""
    return text[: text.rfind("(") + 1] or text


def draw(tape: Tape, table: HeadTable, out: Path) -> None:
    """The pictures, and the head table as CSV."""
    from lookbehind.atlas import export

    heads = telling(table)
    captions = {
        (heads[one.measure].layer, heads[one.measure].head): one.name
        + (f" {getattr(heads[one.measure], one.measure):.2f}" if one.is_share else "")
        for one in TELLING
        if one.measure in heads and not one.is_weak(heads[one.measure])
    }
    (out / "heads.csv").write_text(table.to_csv(), encoding="utf-8")
    export(tape, out / "all-heads.png", sheet=True, pool="max", captions=captions)
    for measure in ("previous", "induction"):
        head = heads.get(measure)
        if head is not None:
            export(tape, out / f"{measure}.png", head.layer, head.head, pool="max")
    last = heads.get("previous", table[0])
    export(
        tape, out / "last-tokens.png", last.layer, last.head, queries=slice(-40, None), keys=slice(-40, None)
    )
    export(tape, out / "atlas.html", title="lookbehind demo")
