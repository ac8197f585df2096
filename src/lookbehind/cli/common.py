"""Common: what every verb needs: printing, and reading text."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lookbehind import checks
from lookbehind.errors import InputError, harmless

_LONGEST = 1 << 28  # bytes of a text: more than any model reads, and an end to a device that has none


class _Console(Console):
    """A console that leaves a closed pipe to the caller, who knows the exit code."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


# Numbers stay in the text's colour: highlighting every digit would highlight nothing.
console = _Console(highlight=False)
_stderr = Console(stderr=True, highlight=False)

TextArgument = Annotated[str | None, typer.Argument(help="The text; or give --file.", show_default=False)]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="Read the text from a file; - is stdin.", show_default=False),
]
ChatOption = Annotated[
    bool,
    typer.Option("--chat", help="The text is a user's message: put it into the tokenizer's chat template."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def at_least(width: int) -> Generator[None]:
    """The console as if the terminal had so many columns, where it has fewer."""
    own = console.width
    console.width = max(own, width)
    try:
        yield
    finally:
        console.width = own


def say(message: str) -> None:
    """One line to stderr, in the command's name. It may quote a file's name, which may hold anything."""
    print(f"lookbehind: {harmless(message)}", file=sys.stderr)


def some(count: int, one: str, many: str | None = None) -> str:
    """So many of a thing, in words."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(n_bytes: int) -> str:
    """So many bytes, in words."""
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:,.0f} kB"


def print_json(data: Any) -> None:
    """Data as JSON on stdout. Numbers that JSON does not have become null."""
    print(json.dumps(_finite(data), indent=2, ensure_ascii=False, default=str))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float) and data - data != 0:
        return None
    return data


@contextmanager
def working(message: str) -> Generator[Any]:
    """A spinner on stderr while something takes its time; nothing where stderr is not a terminal."""
    with _stderr.status(message, spinner="dots") as status:
        yield status


def read_text(text: str | None, file: Path | None) -> str:
    """The text of a verb: its argument, or a file's content.

    Raises:
        InputError: both or neither is given, the file cannot be read as UTF-8 text or has no end, or the text
            is empty.
    """
    if (text is None) == (file is None):
        got = "neither" if text is None else "both"
        raise InputError(f"text: give a text or --file, one of the two; got {got}")
    if file is not None:
        try:
            with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as source:
                content = source.read(_LONGEST + 1)
            if len(content) > _LONGEST:
                raise InputError(f"{file}: holds more than {size(_LONGEST)}; give a shorter text")
            text = content.decode("utf-8")
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}); give a text file") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: is not UTF-8 text (byte {error.start}); give a text file") from error
    elif text is not None and os.path.isfile(text):  # noqa: PTH113 - no text is too long for it
        say(f"the text is {checks.shown(text)}, which is a file here too; --file reads what it holds")
    return checks.text(str(file or "text"), text)
