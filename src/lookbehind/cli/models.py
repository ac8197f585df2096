"""Models: what a verb's options name: a directory, a model of the hub, a factory, or the built-in decoder."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lookbehind import checks
from lookbehind.errors import InputError, LookbehindError, brief

_DTYPES = ("float32", "bfloat16", "float16", "float64")
_ONE_OF = f"{', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}"
MODEL_HELP = "A local directory, a hub id, or module:factory. The built-in decoder if left out."


def _known_dtype(dtype: str | None) -> str | None:
    """Refuses what is no dtype of a model, before one is loaded."""
    if dtype is not None and dtype not in _DTYPES:
        raise InputError(f"dtype: {_ONE_OF}; got {dtype!r}")
    return dtype


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help=MODEL_HELP,
        show_default=False,
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code", help="Run the code that the model's directory or hub repository brings."
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", help="Where the model runs, as cuda or cuda:1; the CPU if left out.", show_default=False
    ),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype", callback=_known_dtype, help=f"{_ONE_OF}; its own if left out.", show_default=False
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


class CannotRunError(LookbehindError):
    """Asked for properly, but this machine cannot do it (no network, a model that fails to load)."""

    exit_code = 3


def load_both(spec: str | None, trust: bool = False) -> tuple[Any, Any]:
    """The model and tokenizer that `--model` means.

    Args:
        spec: a local directory, a hub id, `module:factory`, or None for the built-in decoder. A factory
            returns a model or (model, tokenizer).
        trust: whether code that comes with a model may run.

    Raises:
        InputError: it is none of these, brings code that is not trusted, or a factory gives no tokenizer.
        CannotRunError: the hub cannot be reached, or the model or tokenizer does not load here.
    """
    if spec is None:
        return _built_in()
    if _is_factory(spec):
        model, tokenizer = _from_factory(spec)
        return model, _needed(spec, tokenizer)
    tokenizer = _tokenizer(spec, trust)
    return _model(spec, trust), tokenizer


def load_model(spec: str | None, trust: bool = False) -> Any:
    """The model alone: one saved without a tokenizer will do."""
    if spec is None:
        return _built_in()[0]
    if _is_factory(spec):
        return _from_factory(spec)[0]
    return _model(spec, trust)


def load_tokenizer(spec: str, trust: bool = False) -> Any:
    """The tokenizer alone: of a directory or of the hub no weights are read."""
    if _is_factory(spec):
        return _needed(spec, _from_factory(spec)[1])
    return _tokenizer(spec, trust)


def set_up(model: Any, device: str | None, attn: str | None, dtype: str | None = None) -> None:
    """Moves a model to where it is to run, and switches its dtype and attention; None changes nothing.

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
            raise CannotRunError(f"attn: {name} does not take {attn} ({brief(error)})") from error
    if dtype is not None:
        import torch

        model.to(getattr(torch, dtype))
    if device is not None:
        place = checks.device(device)
        if place.type == "meta":
            raise InputError("device: meta holds no numbers to compute with; choose another, or leave it out")
        try:
            model.to(place)
        except RuntimeError as error:  # out of memory, or weights that stay where they are
            raise CannotRunError(f"device: {name} cannot be moved to {device} ({brief(error)})") from error


def quiet_libraries() -> None:
    """Silences transformers' progress bars and notices; its errors still arrive as exceptions."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _built_in() -> tuple[Any, Any]:
    quiet_libraries()
    from lookbehind.model import load

    return load()


def _is_factory(spec: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", spec) is not None and not Path(spec).exists()


def _needed(spec: str, tokenizer: Any) -> Any:
    if tokenizer is None:
        raise InputError(
            f"model {spec}: it came without a tokenizer; let the factory return (model, tokenizer)"
        )
    return tokenizer


def _on_hub(spec: str) -> bool:
    """Whether a model that no factory makes is one of the hub, rather than a directory."""
    path = Path(spec)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(
                f"model {spec}: the directory has no config.json; give one written by save_pretrained"
            )
        return False
    if path.exists():
        raise InputError(
            f"model {spec}: is a file; give the directory that holds config.json and the weights"
        )
    if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", spec):
        return True
    raise InputError(
        f"model {spec}: there is no such directory; give a local directory, a hub id (owner/name) or "
        "module:factory"
    )


def _model(spec: str, trust: bool) -> Any:
    def load(local: bool) -> Any:
        from transformers import AutoModelForCausalLM

        # Configs of old ask for tuples, on which the models of today fail.
        return AutoModelForCausalLM.from_pretrained(
            spec, local_files_only=local, trust_remote_code=trust, return_dict=True
        ).eval()

    return _read(spec, load, "does not load as a causal language model")


def _tokenizer(spec: str, trust: bool) -> Any:
    def load(local: bool) -> Any:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(spec, local_files_only=local, trust_remote_code=trust)
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise FileNotFoundError("it was made up for want of files")
        return tokenizer

    return _read(spec, load, "has no tokenizer that loads; save the tokenizer there too")


def _read(spec: str, load: Callable[[bool], Any], fails: str) -> Any:
    """What `load(local)` gives. The hub is asked for what the local cache lacks alone: it works offline."""
    quiet_libraries()
    from huggingface_hub import try_to_load_from_cache

    on_hub = _on_hub(spec)
    if on_hub and not isinstance(try_to_load_from_cache(spec, "config.json"), str):
        _ask_hub(spec, "there is no such directory and no such model in the local cache")
    else:
        try:
            return load(True)
        except Exception as error:  # whatever a damaged file, a missing package or a model's own code raises
            told = _not_loaded(spec, error, fails)
            if not on_hub or isinstance(told, InputError):
                raise told from error
            _ask_hub(spec, f"does not load from the local cache ({brief(error)})")
    try:
        return load(False)
    except Exception as error:
        raise _not_loaded(spec, error, fails) from error


def _not_loaded(spec: str, error: Exception, what: str) -> LookbehindError:
    if "trust_remote_code" in str(error):
        return InputError(
            f"model {spec}: brings code of its own; read it first, and give --trust-remote-code to run it"
        )
    return CannotRunError(f"model {spec}: {what} ({brief(error)})")


def _from_factory(spec: str) -> tuple[Any, Any]:
    module_name, _, name = spec.partition(":")
    here = os.fspath(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does: the factory is most often a file in this directory
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise CannotRunError(f"model {spec}: importing {module_name} fails ({brief(error)})") from error
        raise InputError(
            f"model {spec}: there is no module {module_name} in {here} or on the Python path; "
            "check the name before the colon"
        ) from error
    except Exception as error:  # whatever the module does when it is imported
        raise CannotRunError(f"model {spec}: importing {module_name} fails ({brief(error)})") from error
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
        raise CannotRunError(f"model {spec}: {name}() fails ({brief(error)})") from error
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


def _ask_hub(spec: str, why: str) -> None:
    """Asks whether the hub has a model, once, briefly: without a network from_pretrained tries for minutes.

    Raises:
        InputError: it has none, gives none, or cannot be asked; `why` says why it is.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise InputError(f"model {spec}: {why}, and HF_HUB_OFFLINE is set; give a local directory")
    try:
        HfApi().model_info(spec, timeout=5)
    except GatedRepoError as error:
        raise InputError(
            f"model {spec}: the hub asks for permission; accept its terms and log in first"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"model {spec}: {why}, and the hub has none of that name; check the spelling"
        ) from error
    except Exception as error:  # the hub's client raises whatever its transport does
        raise InputError(
            f"model {spec}: {why}, and the hub cannot be reached ({brief(error)}); give a local directory"
        ) from error
