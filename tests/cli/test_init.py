import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lookbehind import cli
from lookbehind.errors import EngineError, InputError
from tests.cli.verbs import refused, run

LAZY = """
import sys
sys.argv = ["lookbehind", {argument!r}]
from lookbehind.cli import main
try:
    main()
except SystemExit:
    pass
heavy = {{"torch", "transformers", "PIL", "starlette"}} & set(sys.modules)
print("heavy:", sorted(heavy))
"""


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_starts_without_torch_and_transformers(argument):
    assert python(LAZY.format(argument=argument)).endswith("heavy: []\n")


def test_importing_the_package_loads_neither():
    assert python("import sys, lookbehind; print({'torch', 'transformers'} & set(sys.modules))") == "set()\n"


def test_the_check_would_find_them():
    code = LAZY.format(argument="--help").replace("import sys\n", "import sys, torch\n", 1)
    assert python(code).endswith("heavy: ['torch']\n")


def test_help_names_every_verb_in_a_line():
    result = run("--help")
    assert result.exit_code == 0
    lines = result.stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    names = [line.split()[0] for line in lines]
    assert names == [
        "demo",
        "explain",
        "quiz",
        "next",
        "record",
        "heads",
        "view",
        "export",
        "audit",
        "bench",
        "doctor",
    ]
    assert all(len(line) <= 80 and "..." not in line for line in lines)


def test_no_verb_is_the_help_and_an_unknown_one_is_usage():
    assert "Commands:" in run().output
    result = run("explian")
    assert result.exit_code == 2
    assert "explian" in result.stderr


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert run("--version").stdout == f"lookbehind {version('lookbehind')}\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("text: it is empty"), 2, "text: it is empty"),
        (EngineError("engine native: not built"), 3, "engine native: not built"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "run.tape"), 3, "run.tape: No space left on device"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(monkeypatch, error, code, words):
    def fail():
        raise error

    monkeypatch.setattr(cli.doctor, "examine", fail)
    assert refused("doctor", code=code) == words


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(cli.doctor, "examine", fail)
    with pytest.raises(ZeroDivisionError):
        run("doctor")


@pytest.mark.parametrize("arguments", [["--n", "400", "--all"], ["--n", "400", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_error(arguments):
    code = "from lookbehind.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "explain", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert (process.wait(timeout=60), errors) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "-n", "4"]], ids=" ".join)
def test_where_nothing_can_be_printed_that_is_said(arguments):
    command = [sys.executable, "-m", "lookbehind", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "lookbehind: standard output: No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="a shell closes it")
def test_without_a_standard_output_it_runs():
    command = f"{sys.executable} -m lookbehind explain -n 4 >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="a shell closes it")
@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ("explain --file -", 2, "lookbehind: -: it is empty; give at least one token to read\n"),
        ("quiz", 0, ""),
    ],
)
def test_without_a_standard_input_it_is_empty(arguments, code, error):
    command = f"{sys.executable} -m lookbehind {arguments} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, error)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_locale_without_the_letters_of_a_triangle_gets_them_in_utf_8(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "lookbehind", "explain", "-n", "4"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "■" in done.stdout.decode("utf-8")


@pytest.mark.parametrize(
    "error", ["KeyboardInterrupt", "RuntimeError('of a class') from KeyboardInterrupt()"]
)
def test_ctrl_c_while_the_command_is_imported_ends_with_130_and_no_traceback(error):
    code = (
        "import builtins, sys\n"
        "before = builtins.__import__\n"
        "def stopped(name, *rest):\n"
        "    if name == 'typer': raise ERROR\n"
        "    return before(name, *rest)\n"
        "builtins.__import__ = stopped\n"
        "from lookbehind.__main__ import main\n"
        "main()\n"
    ).replace("ERROR", error)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "lookbehind: interrupted\n")


def test_names_do_not_act_on_the_terminal(tmp_path):
    assert "no\\x1b[31mpe: no such directory" in refused("heads", tmp_path / "no\x1b[31mpe")


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_with_130_and_no_traceback():
    code = (
        "import os, signal\n"
        "from lookbehind import cli\n"
        "def wait():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    import time; time.sleep(30)\n"
        "cli.doctor.examine = wait\n"
        "import sys; sys.argv = ['lookbehind', 'doctor']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "lookbehind: interrupted\n")
