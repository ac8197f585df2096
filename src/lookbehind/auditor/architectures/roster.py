"""Roster: the decoders that the installed transformers offers, by class name.

A name is a class (`Qwen3ForCausalLM`), or a class and a model type (`LlamaForCausalLM/internlm3`) where one
class serves several configurations that differ in more than their name.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from lookbehind.errors import InputError


class Unbuildable(InputError):  # noqa: N818 - it says what an architecture is, not what went wrong
    """No tiny model of this architecture can be made here; the message says why."""

    exit_code = 3


@cache
def names() -> tuple[str, ...]:
    """Every architecture, alphabetically."""
    classes = {class_name: model_type for model_type, class_name in reversed(_mapping().items())}
    variants = [
        f"{class_name}/{model_type}"
        for model_type, class_name in _mapping().items()
        if _differs(model_type, class_name)
    ]
    return tuple(sorted({*classes, *_unlisted(), *variants}, key=str.lower))


def classes_of(name: str) -> tuple[type[Any], type[Any]]:
    """The model class and the configuration class of an architecture.

    Raises:
        InputError: there is no architecture of this name.
        Unbuildable: its module cannot be imported here.
    """
    class_name, _, model_type = name.partition("/")
    model_class = _model_class(class_name)
    if model_type:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if _mapping().get(model_type) != class_name:
            raise InputError(f"{name}: transformers has no model type {model_type!r} of class {class_name}")
        return model_class, CONFIG_MAPPING[model_type]
    if model_class.config_class is None:
        raise Unbuildable(f"{name}: the class names no configuration class")
    return model_class, model_class.config_class


def _mapping() -> dict[str, str]:
    """Model type to class name."""
    from transformers.models.auto import modeling_auto

    listed: dict[str, Any] = dict(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    return {key: value if isinstance(value, str) else value[0] for key, value in listed.items()}


def _differs(model_type: str, class_name: str) -> bool:
    """Whether a model type brings a text configuration other than its class's own."""
    from transformers.models.auto import configuration_auto

    sharers = [other for other, name in _mapping().items() if name == class_name]
    if len(sharers) == 1:
        return False
    own = getattr(_model_class(class_name), "config_class", None)
    config_name = vars(configuration_auto)["CONFIG_MAPPING_NAMES"][model_type]
    if own is None or config_name == own.__name__:
        return False
    # A composite configuration holds the class's own as its text part: AutoModelForCausalLM unwraps it.
    return not any(
        f"{other}_text" in sharers or other == f"{model_type}_text" for other in (model_type, *sharers)
    )


def _model_class(class_name: str) -> type[Any]:
    import transformers

    try:
        found = getattr(transformers, class_name, None)
        if found is None and class_name in _unlisted():
            found = getattr(importlib.import_module(_unlisted()[class_name]), class_name)
    except (ImportError, RuntimeError) as error:
        raise Unbuildable(f"{class_name}: cannot be imported: {_first_line(error)}") from error
    if found is None:
        hint = f"; is {near} meant?" if (near := _nearest(class_name)) else ""
        raise InputError(
            f"{class_name}: no decoder of transformers {transformers.__version__} has this name{hint}"
        )
    if getattr(found, "is_dummy", False) or not hasattr(found, "config_class"):
        raise Unbuildable(f"{class_name}: needs a package that is not installed")
    return found


def _nearest(name: str) -> str | None:
    """The decoder that a wrong name means: the shortest that begins with it, or the one most alike."""
    known = sorted({*_mapping().values(), *_unlisted()}, key=len)
    begins = (one for one in known if name and one.lower().startswith(name.lower()))
    return next(begins, None) or next(iter(get_close_matches(name, known, n=1)), None)


@cache
def _unlisted() -> dict[str, str]:
    """`*ForCausalLM` classes that transformers' list leaves out, and their modules, read off the source."""
    listed = set(_mapping().values())
    return {name: module for name, module in _defined() if name not in listed}


def _defined() -> Iterator[tuple[str, str]]:
    import transformers

    root = Path(transformers.__file__).parent / "models"
    for path in sorted(root.glob("*/modeling_*.py")):
        text = path.read_text(encoding="utf-8")
        if (
            "ForCausalLM(" not in text
            or path.parent.name == "auto"
            or path.stem.startswith(("modeling_tf", "modeling_flax"))
        ):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("ForCausalLM"):
                yield node.name, f"transformers.models.{path.parent.name}.{path.stem}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
