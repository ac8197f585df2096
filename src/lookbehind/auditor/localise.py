"""Localise: the innermost module whose inputs are clean at the protected positions, its output not."""

from __future__ import annotations

import inspect
import os
import tokenize
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
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
    parent: int
    inputs: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    outputs: list[torch.Tensor] = field(default_factory=list[torch.Tensor])


def trace(subject: Subject, run: Callable[[], Any]) -> list[Call]:
    """Every module call of a run, in the order in which they begin."""
    calls: list[Call] = []
    open_calls: list[int] = []

    def enter(path: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            calls.append(Call(path, module, open_calls[-1] if open_calls else -1, _tensors((args, kwargs))))
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


def culprit(
    subject: Subject,
    base: Callable[[], Any],
    other: Callable[[], Any],
    rows: Sequence[int],
    n: int,
    precision: AbstractContextManager[None],
    shorter: int | None = None,
    floor: float = 0.0,
) -> Culprit | None:
    """Which module lets the change through.

    Args:
        subject: the model.
        base: one run of it.
        other: another run, which should be equal at the protected positions.
        rows: the protected positions.
        n: length of the sequence of `base`: how the axis of positions is known.
        precision: the context to run in (float64 where it decides).
        shorter: length of the sequence of `other`, if it is another.
        floor: how far apart, as a share of a tensor's largest number, is still equal.
    """
    if subject.module is None:
        return None
    with precision:
        before, after = trace(subject, base), trace(subject, other)
    if [call.path for call in before] != [call.path for call in after]:
        return None  # the change took another way through the model
    at = torch.as_tensor(list(rows))
    m = n if shorter is None else shorter

    def dirty(mine: list[torch.Tensor], theirs: list[torch.Tensor], strict: bool) -> bool:
        if len(mine) != len(theirs):
            return True
        return any(_apart(a, b, at, n, m, strict) > floor for a, b in zip(mine, theirs, strict=True))

    suspects = [
        not dirty(a.inputs, b.inputs, False) and dirty(a.outputs, b.outputs, True)
        for a, b in zip(before, after, strict=True)
    ]
    covering = set[int]()
    for index, suspect in enumerate(suspects):
        parent = before[index].parent
        while suspect and parent >= 0:
            covering.add(parent)
            parent = before[parent].parent
    for index, call in enumerate(before):
        if suspects[index] and index not in covering:
            return where(call.path, call.module)
    return None


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


def _apart(a: torch.Tensor, b: torch.Tensor, rows: torch.Tensor, n: int, m: int, strict: bool) -> float:
    """Greatest difference at the protected rows, as a share of the largest number.

    A tensor without an axis of positions is compared whole where it goes in; where it comes out it protects
    nothing.
    """
    axis = _axis(a.shape, n)
    if axis is None or (m != n and axis >= b.ndim):
        if strict or a.shape != b.shape:
            return 0.0
    else:
        if m != n and b.shape[axis] == m:
            for other in range(a.ndim):  # a mask has two axes of positions
                if a.shape[other] == n and b.ndim == a.ndim and b.shape[other] == m:
                    a = a.narrow(other, 0, m)
        if a.shape != b.shape:
            return float("inf")
        kept = rows[rows < a.shape[axis]].to(a.device)
        a, b = a.index_select(axis, kept), b.index_select(axis, kept)
    if a.numel() == 0:
        return 0.0
    if not (a.is_floating_point() or a.is_complex()):
        return float(not torch.equal(a, b))
    differs = (a != b) & ~(a.isnan() & b.isnan())
    if not bool(differs.any()):
        return 0.0
    apart = torch.where(differs, (a - b).abs(), 0.0).nan_to_num(nan=torch.inf, posinf=torch.inf)
    finite = a[torch.isfinite(a)].abs()
    return float(apart.max()) / max(float(finite.max()) if finite.numel() else 1.0, 1e-30)


def _axis(shape: torch.Size, n: int) -> int | None:
    """Which axis holds positions: [B, n, ...], [B, h, n, d], masks [B, 1, n, n] (queries), [B * n, ...]."""
    if len(shape) == 2 and shape[0] == shape[1] == n:
        return 0
    order = {1: (0,), 2: (1, 0), 3: (1, 0, 2), 4: (2, 1)}.get(len(shape), tuple(range(1, len(shape))))
    return next((axis for axis in order if shape[axis] == n), None)
