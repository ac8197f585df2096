"""Runs the command line in this process, as a user would call it."""

from typing import Any

from typer.testing import CliRunner

from lookbehind.cli import app


def run(*arguments: object) -> Any:
    """The result of `lookbehind ARGUMENTS`: exit_code, stdout, stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is a bug, whatever the exit code
    return result


def refused(*arguments: object, code: int = 2) -> str:
    """What a call that has to fail says: one line on stderr, nothing on stdout."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("lookbehind: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("lookbehind: ").rstrip("\n")
