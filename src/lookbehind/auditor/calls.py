"""Calls: what goes into and comes out of each module in a run, and where a module is written."""

from __future__ import annotations

import inspect
import os
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lookbehind.auditor.report import Culprit
from lookbehind.auditor.subject import Subject


@dataclass
class Call:
    """One call of one module: what went in and what came out, tensor by tensor."""

    path: str
    module: torch.nn.Module
    inputs: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    outputs: list[torch.Tensor] = field(default_factory=list[torch.Tensor])


def trace(subject: Subject, run: Callable[[], Any]) -> list[Call]:
    """Every module call of a run, in the order in which they begin."""
    calls: list[Call] = []
    open_calls: list[int] = []

    def enter(path: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            calls.append(Call(path, module, _tensors((args, kwargs))))
            open_calls.append(len(calls) - 1)

        return hook

    def leave(module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if open_calls:
            calls[open_calls.pop()].outputs = _tensors(output)

    hooks: list[Any] = []
    try:
        for path, module in subject.module.named_modules() if subject.module is not None else ():
            hooks.append(module.register_forward_pre_hook(enter(path), with_kwargs=True))
            hooks.append(module.register_forward_hook(leave, with_kwargs=True))
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def where(path: str, module: torch.nn.Module) -> Culprit:
    """A module, and the line of its forward."""
    kind = type(module)
    # An inherited forward is written elsewhere; what makes this class differ stands in the class.
    place = inspect.unwrap(kind.forward) if "forward" in vars(kind) else kind
    try:
        file = inspect.getsourcefile(place)
        line = inspect.getsourcelines(place)[1]
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        # Made by exec or in a notebook: the file it names is missing, or is no Python.
        return Culprit(path, kind.__name__)
    return Culprit(path, kind.__name__, None if file is None else _short(file), line)


def _short(file: str) -> str:
    """From the package on, or from here on: the same on every machine."""
    for mark in ("site-packages" + os.sep, "dist-packages" + os.sep):
        if mark in file:
            return file.rpartition(mark)[2]
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except ValueError:
        return file


def _tensors(value: Any) -> list[torch.Tensor]:
    """Copies of the tensors in a nest of containers: a model may write into the originals later."""
    if isinstance(value, torch.Tensor):
        return [value.detach().clone()]
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in _tensors(part)]
    if isinstance(value, dict):
        return [one for part in value.values() for one in _tensors(part)]
    if hasattr(value, "__dataclass_fields__"):
        return [one for name in value.__dataclass_fields__ for one in _tensors(getattr(value, name))]
    return []
