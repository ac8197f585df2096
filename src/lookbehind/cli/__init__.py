"""The command line: one file a verb.

What a person did wrong ends in one line on stderr and an exit code: 0 done, 1 findings, 2 usage or bad input,
3 could not run. A traceback means a bug in lookbehind. Verbs import torch and transformers when they
run, so that `lookbehind --help` and the verbs that only count products start at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import lookbehind
from lookbehind.cli import audit, bench, demo, doctor, explain, export, heads, next, quiz, record, view
from lookbehind.cli.common import say
from lookbehind.errors import LookbehindError

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_PIPE_CLOSED = 141  # 128 + SIGPIPE


class Verbs(TyperGroup):
    """The verbs, and the one place where errors become words and exit codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order they are registered, which is the order in which one meets them."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Reads the command line and runs the verb; printing may fail before there is one."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            say(_failure(error))
            sys.exit(3)

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            result = super().invoke(ctx)
            _flush()  # a closed pipe shows here, not while Python shuts down
            return result
        except LookbehindError as error:
            say(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            say(": ".join(["interrupted", *map(str, error.args)]))
            raise typer.Exit(_INTERRUPTED) from error
        except BrokenPipeError as error:
            # The reader has seen enough (`lookbehind heads run.tape | head`): say no more, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_PIPE_CLOSED) from error
        except OSError as error:
            say(_failure(error))
            raise typer.Exit(3) from error


def _flush() -> None:
    stdout: Any = sys.stdout  # None where it was closed from the start
    if stdout is not None:
        stdout.flush()


def _failure(error: OSError) -> str:
    # Files are named by their errors; where nothing is, and the disk is full, it is what is printed.
    name = error.filename or ("standard output" if error.errno == errno.ENOSPC else None)
    return f"{name}: {error.strerror or error}" if name else str(error.strerror or error)


app = typer.Typer(
    cls=Verbs,
    name="lookbehind",
    help="Which query-key products does a decoder compute, and what do they weigh?",
    epilog="Start with `lookbehind demo`. Each verb explains itself: `lookbehind explain --help`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"lookbehind {lookbehind.__version__}", flush=True)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


_VERBS: list[tuple[str, Callable[..., None], str]] = [
    ("demo", demo.demo, "A real decoder reads a real file; see what it looked at."),
    ("explain", explain.explain, "Which products a pattern computes, query by query."),
    ("quiz", quiz.quiz, "Questions on that, graded, with reasons."),
    ("next", next.next_, "Next-token probabilities, step by step."),
    ("record", record.record, "Record what a model looks at while it reads a text."),
    ("heads", heads.heads, "What each recorded head does, in numbers."),
    ("view", view.view, "Look at a tape in the browser, at any zoom."),
    ("export", export.export, "The atlas of a tape as one page, or heads as pictures."),
    ("audit", audit.audit, "Prove that a decoder never looks ahead, or name what does."),
    ("bench", bench.bench, "Time and memory here, beside the eager way."),
    ("doctor", doctor.doctor, "Versions and engines; what runs here, and why not."),
]
for _name, _verb, _short in _VERBS:
    app.command(_name, short_help=_short)(_verb)


def main() -> None:
    """The `lookbehind` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A locale without the letters of a triangle would end it in a traceback, a pipe's as well.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    if sys.stdin is None:  # closed from the start: there is nothing to read, as in an empty file
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    app()
