"""`lookbehind audit`: prove that a decoder never looks ahead, or name the module and the pair that does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum
from typing import Annotated, Any

import typer
from rich.text import Text

from lookbehind import checks
from lookbehind.cli.common import console, print_json, say, working
from lookbehind.cli.models import (
    MODEL_HELP,
    AttentionOption,
    CannotRunError,
    DeviceOption,
    DtypeOption,
    TrustOption,
    load_model,
    quiet_libraries,
    set_up,
)
from lookbehind.errors import InputError, LookbehindError

_FINDINGS, _COULD_NOT = 1, 3
_MOST_SEEDS = 1000


class Format(str, Enum):
    """How the report is written."""

    text = "text"
    json = "json"
    junit = "junit"
    sarif = "sarif"


def audit(
    model: Annotated[
        str | None,
        typer.Argument(help=MODEL_HELP, show_default=False),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            "-a",
            help="A transformers class, as Qwen3ForCausalLM: a tiny random one is made.",
            show_default=False,
        ),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect", "-e", help="Who may influence whom; causal if left out.", show_default=False
        ),
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", "-n", help="Tokens in a test sequence.", show_default=False)
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select", "-s", help="Only this rule, or all that begin so (LB2).", show_default=False
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", "-i", help="Not this rule.", show_default=False)
    ] = None,
    trust_remote_code: TrustOption = False,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    attn: AttentionOption = None,
    batch: Annotated[
        int, typer.Option("--batch", "-b", help="Most rows in one call: bounds the memory.")
    ] = 64,
    seeds: Annotated[int, typer.Option("--seeds", help="How many test sequences.")] = 3,
    thorough: Annotated[bool, typer.Option("--thorough", help="Leave nothing out for time.")] = False,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw the weights again: for random-initialised models.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write the report.")] = Format.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", help="Explain a rule and exit.", show_default=False)
    ] = None,
) -> None:
    """Does any output depend on a later token, on the length, a cache, padding or a neighbour?

    Exit code 0: nothing found. 1: a rule failed or stayed undecided. 2: usage. 3: no rule could be decided.
    130: interrupted (Ctrl-C); what was found by then is printed, and is no pass.
    """
    from lookbehind.auditor import rules

    if explain is not None:
        console.print(Text(rules.explain(explain).rstrip()))
        return
    if model is not None and arch is not None:
        raise InputError("audit: a model and --arch are two models; give one of them")
    if as_json and form not in (Format.text, Format.json):
        raise InputError(f"audit: --json and --format {form.value} are two formats; choose one")
    form = Format.json if as_json else form
    codes = rules.chosen(_split(select), _split(ignore))
    pattern = None
    if expect is not None:
        from lookbehind.grammar import parse

        pattern = parse(expect)
    checks.whole("seeds", seeds, 1, _MOST_SEEDS)
    with working("loading the model"):
        loaded, origin = _made(model, trust_remote_code, arch, device, attn, dtype)
    from lookbehind.auditor import Interrupted
    from lookbehind.auditor import audit as run

    try:
        with _progress() as progress:
            report = run(
                loaded,
                expect=pattern,
                length=length,
                seeds=tuple(range(seeds)),
                select=codes,
                batch=batch,
                progress=progress,
                thorough=thorough,
                redraw=redraw,
                origin=origin,
            )
    except Interrupted as stopped:
        _print(stopped.report, form)
        raise KeyboardInterrupt from stopped
    _print(report, form)
    _leave(report)


def _leave(report: Any) -> None:
    """The exit code."""
    if report.verdict in ("fail", "undecided"):
        raise typer.Exit(_FINDINGS)
    if report.verdict in ("not covered", "not applicable"):
        say(f"audit: no rule could be decided: {report.outcomes[0].reason}")
        raise typer.Exit(_COULD_NOT)


def _split(codes: list[str] | None) -> list[str] | None:
    """`--select LB1,LB303` is two codes."""
    return None if not codes else [code for one in codes for code in one.split(",") if code.strip()]


def _made(
    spec: str | None, trust: bool, arch: str | None, device: str | None, attn: str | None, dtype: str | None
) -> tuple[Any, str | None]:
    """The model as it is to be audited, and the line of Python that makes it so."""
    model, origin = _model(spec, trust, arch)
    set_up(model, device, attn, dtype)
    if attn is not None:
        origin = f"{origin}; model.set_attn_implementation({attn!r})"
    if device is not None:
        origin = f"{origin}; model.to({device!r})"
    if dtype is not None:
        origin = f"{origin}; model.to(torch.{dtype})"
    return model, origin


def _model(spec: str | None, trust: bool, arch: str | None) -> tuple[Any, str | None]:
    """The model, and the line of Python that makes it."""
    if arch is not None:
        quiet_libraries()
        from lookbehind.auditor.architectures import tiny

        try:
            made = tiny(arch)
        except LookbehindError:
            raise
        except Exception as error:  # whatever a class does with a config that is not its usual one
            raise CannotRunError(f"arch {arch}: a tiny model of it cannot be built: {error}") from error
        return made, f"from lookbehind.auditor.architectures import tiny; model = tiny({arch!r})"
    loaded = load_model(spec, trust)
    if spec is None:
        return loaded, "from lookbehind.model import load; model = load()[0]"
    if ":" in spec:
        module, _, name = spec.partition(":")
        taken = f"made = {name}(); model = (made[0] if type(made) is tuple else made).eval()"
        return loaded, f"from {module} import {name}; {taken}"
    words = f"{spec!r}, trust_remote_code=True" if trust else repr(spec)
    return loaded, f"from transformers import AutoModelForCausalLM as M; model = M.from_pretrained({words})"


@contextmanager
def _progress() -> Generator[Callable[[str, int, int], None]]:
    """What is being tried, on stderr: since when, how much of it, and how long it may yet take."""
    with working("auditing") as status:
        began = since = heard = time.perf_counter()
        step = ""

        def tell(what: str, done: int, total: int) -> None:
            nonlocal step, since, heard
            if what != step:
                step, since = what, heard
            heard = time.perf_counter()
            left = (heard - since) / done * (total - done) if done else 0.0
            more = f", about {left:.0f} s more" if left >= 1 else ""
            status.update(f"auditing, {heard - began:.0f} s: {what}, {done} of {total}{more}")

        yield tell


def _print(report: Any, form: Format) -> None:
    if form is Format.json:
        print_json(report.to_dict())
    elif form is Format.sarif:
        from lookbehind.auditor.sarif import sarif

        print_json(sarif(report))
    elif form is Format.junit:
        from lookbehind.auditor.junit import junit

        sys.stdout.write(junit(report))
    else:
        from lookbehind.auditor.report_text import lines

        for line in lines(report, console.width):
            console.print(Text.assemble(*line), soft_wrap=True)
