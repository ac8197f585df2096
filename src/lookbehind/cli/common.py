"""Common: what every verb needs: printing, reading text, loading a model."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lookbehind import checks
from lookbehind.errors import InputError, LookbehindError

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
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A local directory, a hub id, or module:factory. The built-in decoder if left out.",
        show_default=False,
    ),
]
ChatOption = Annotated[
    bool,
    typer.Option("--chat", help="The text is a user's message: put it into the tokenizer's chat template."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", help="Where the model runs, as cuda or cuda:1; the CPU if left out.", show_default=False
    ),
]
AttentionOption = Annotated[
    str | None,
    typer.Option(
        "--attn",
        help="How transformers computes attention, as eager or sdpa; its own choice if left out.",
        show_default=False,
    ),
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


class CannotRunError(LookbehindError):
    """Asked for properly, but this machine cannot do it (no network, a model that fails to load)."""

    exit_code = 3


def say(message: str) -> None:
    """One line to stderr, in the command's name."""
    print(f"lookbehind: {message}", file=sys.stderr)


def some(count: int, one: str, many: str | None = None) -> str:
    """So many of a thing, in words."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(n_bytes: int) -> str:
    """So many bytes, in words."""
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:,.0f} kB"


def harmless(text: str) -> str:
    """Text whose control characters are written out: what a model says must not act on the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


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


def load_model(spec: str | None) -> tuple[Any, Any]:
    """The model and tokenizer that `--model` means.

    Args:
        spec: a local directory, a hub id, `module:factory`, or None for the built-in decoder. A factory
            returns a model or (model, tokenizer).

    Raises:
        InputError: it is none of these.
        CannotRunError: the hub cannot be reached, or the model does not load here.
    """
    if spec is None:
        quiet_libraries()
        from lookbehind.model import load

        return load()
    path = Path(spec)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(
                f"model {spec}: the directory has no config.json; give one written by save_pretrained"
            )
        return _pretrained(spec, local=True)
    if path.exists():
        raise InputError(
            f"model {spec}: is a file; give the directory that holds config.json and the weights"
        )
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", spec):
        return _from_factory(spec)
    if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", spec):
        return _from_hub(spec)
    raise InputError(
        f"model {spec}: there is no such directory; give a local directory, a hub id (owner/name) or "
        "module:factory"
    )


def set_up(model: Any, device: str | None, attn: str | None) -> None:
    """Moves a model to where it is to run, and switches how it computes attention; None changes nothing.

    Raises:
        InputError: there is no such device here, or none that computes, or the model has nothing to switch.
        CannotRunError: the device cannot hold the model, or the model does not take that implementation.
    """
    name = type(model).__name__
    if attn is not None:
        switch = getattr(model, "set_attn_implementation", None)
        if switch is None:
            raise InputError(
                f"attn: {name} is no model of transformers, which alone can be switched; got {attn}"
            )
        try:
            switch(attn)
        except Exception as error:  # each reason has a class of its own
            raise CannotRunError(f"attn: {name} does not take {attn} ({_brief(error)})") from error
    if device is not None:
        place = checks.device(device)
        if place.type == "meta":
            raise InputError("device: meta holds no numbers to compute with; choose another, or leave it out")
        try:
            model.to(place)
        except RuntimeError as error:  # out of memory, or weights that stay where they are
            raise CannotRunError(f"device: {name} cannot be moved to {device} ({_brief(error)})") from error


def need_tokenizer(spec: str | None, tokenizer: Any) -> Any:
    """The tokenizer, or an error where a factory gave none."""
    if tokenizer is None:
        raise InputError(
            f"model {spec}: it came without a tokenizer; let the factory return (model, tokenizer)"
        )
    return tokenizer


def quiet_libraries() -> None:
    """Silences transformers' progress bars and notices; its errors still arrive as exceptions."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _pretrained(spec: str, local: bool) -> tuple[Any, Any]:
    quiet_libraries()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        # Configs of old ask for tuples, on which the models of today fail.
        model = AutoModelForCausalLM.from_pretrained(spec, local_files_only=local, return_dict=True)
        tokenizer = AutoTokenizer.from_pretrained(spec, local_files_only=local)
    except Exception as error:  # whatever a damaged file, a missing package or a model's own code raises
        raise CannotRunError(
            f"model {spec}: does not load as a causal language model ({_brief(error)})"
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # made up for want of files
        raise CannotRunError(f"model {spec}: holds no tokenizer; save the tokenizer there too")
    return model.eval(), tokenizer


def _from_factory(spec: str) -> tuple[Any, Any]:
    module_name, _, name = spec.partition(":")
    here = os.fspath(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does: the factory is most often a file in this directory
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise CannotRunError(f"model {spec}: importing {module_name} fails ({_brief(error)})") from error
        raise InputError(
            f"model {spec}: there is no module {module_name} in {here} or on the Python path; "
            "check the name before the colon"
        ) from error
    except Exception as error:  # whatever the module does when it is imported
        raise CannotRunError(f"model {spec}: importing {module_name} fails ({_brief(error)})") from error
    factory: Any = module
    for part in name.split("."):
        factory = getattr(factory, part, None)
    if not callable(factory):
        raise InputError(
            f"model {spec}: module {module_name} has no function {name}; check the name after the colon"
        )
    try:
        made: Any = factory()
    except Exception as error:
        raise CannotRunError(f"model {spec}: {name}() fails ({_brief(error)})") from error
    model: Any = made
    tokenizer: Any = None
    if isinstance(made, tuple) and len(made) == 2:  # pyright: ignore[reportUnknownArgumentType]
        model, tokenizer = made  # pyright: ignore[reportUnknownVariableType]
    if not hasattr(model, "parameters"):
        raise InputError(
            f"model {spec}: {name}() returned {type(made).__name__}; "
            "return a torch module or (model, tokenizer)"
        )
    return model.eval(), tokenizer


def _from_hub(spec: str) -> tuple[Any, Any]:
    """A model of the hub: from the local cache if it is there, so that it works offline."""
    quiet_libraries()
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(try_to_load_from_cache(spec, "config.json"), str):
        return _pretrained(spec, local=True)
    nowhere = f"model {spec}: there is no such directory and no such model in the local cache"
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"{nowhere}, and HF_HUB_OFFLINE is set; give a local directory")
    # Asked once, briefly: from_pretrained would try again for minutes without a network.
    try:
        HfApi().model_info(spec, timeout=5)
    except GatedRepoError as error:
        raise InputError(
            f"model {spec}: the hub asks for permission; accept its terms and log in first"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{nowhere}, and the hub has none of that name; check the spelling") from error
    except Exception as error:  # the hub's client raises whatever its transport does
        raise InputError(
            f"{nowhere}, and the hub cannot be reached ({_brief(error)}); give a local directory"
        ) from error
    return _pretrained(spec, local=False)


def _brief(error: BaseException) -> str:
    """An error of another library in one short line."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else ""
    text = text if len(text) <= 160 else text[:159] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
