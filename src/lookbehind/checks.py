"""Checks: whether an argument is what was asked for, in the same words everywhere.

Each gives back the argument as the package goes on with it, or raises the one line that says what was asked
and what arrived.
"""

from __future__ import annotations

import os
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookbehind.errors import InputError

if TYPE_CHECKING:
    import torch

_SHOWN = 80


def shown(value: object) -> str:
    """An argument as a message quotes it: on one line, and short."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no number of thousands of digits
        text = "a huge number"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def integer(value: object) -> int | None:
    """The whole number that `value` is, numpy's and torch's too; None if it is none. A bool is none."""
    if isinstance(value, bool):
        return None
    try:
        return index(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, RuntimeError):  # the latter two of tensors
        return None


def whole(
    name: str,
    value: object,
    least: int | None = None,
    most: int | None = None,
    kind: type[InputError] = InputError,
) -> int:
    """A whole number, from `least` to `most`."""
    number, bound = integer(value), ""
    if number is not None and least is not None and number < least:
        bound = f" of at least {least}"
    elif number is not None and most is not None and number > most:
        bound = f" of at most {most}"
    if number is None or bound:
        raise kind(f"{name}: a whole number{bound} is needed; got {shown(value)}")
    return number


def one_of(what: str, value: object, count: int, from_last: bool = False) -> int:
    """The number of one of `count` things, from 0; negative ones count from the last where that is meant."""
    number = whole(what, value)
    if not (-count if from_last else 0) <= number < count:
        last = f", 0 to {count - 1}" if count else ""
        raise InputError(f"{what} {shown(number)}: there are {count}{last}")
    return number % count


def part(name: str, value: object, length: int) -> tuple[int, int]:
    """Where a slice of so many places begins and ends, 0 to `length`; None is all of them."""
    value = slice(None) if value is None else value
    try:
        first, last, step = value.indices(length)  # pyright: ignore[reportAttributeAccessIssue]
    except (AttributeError, TypeError, ValueError):
        first = last = step = 0
    if step != 1:
        raise InputError(f"{name}: a slice of whole numbers with a step of 1 is needed; got {shown(value)}")
    return first, max(first, last)


def array(name: str, values: Any) -> NDArray[Any]:
    """A numpy array, of a tensor on any device, or of nested lists."""
    try:
        if hasattr(values, "detach"):  # a torch tensor, told without importing torch
            values = values.detach().cpu()
            values = (
                values.double() if values.is_floating_point() else values
            ).numpy()  # numpy has no bfloat16
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: rows of one length are needed to make an array; {reason}") from None


def text(name: str, value: object) -> str:
    """A text of at least one character, each of which UTF-8 has."""
    if not isinstance(value, str):
        raise InputError(f"{name}: one text is needed; got {type(value).__name__}")
    if not value:
        raise InputError(f"{name}: it is empty; give at least one token to read")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair; so does Python read a byte that is no letter
        odd = f"{value[error.start]!r} at {error.start}"
        raise InputError(f"{name}: {odd} is no character; give text in UTF-8") from None
    return value


def path(name: str, value: object) -> Path:
    """A path, of text or of what stands for a path."""
    if not isinstance(value, (str, os.PathLike)) or "\0" in str(value):
        raise InputError(f"{name}: a path is needed; got {shown(value)}")
    return Path(value)


def device(value: object) -> torch.device:
    """A device that this machine has."""
    import torch

    try:
        found = torch.device(value)  # pyright: ignore[reportArgumentType]
        torch.empty(0, device=found)
        return found
    # The last two of builds without CUDA, and without what a device of another maker needs.
    except (TypeError, ValueError, RuntimeError, AssertionError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [""])[0].split(". ")[0]
        raise InputError(f"device: {shown(value)} is none here ({reason})") from None


def module(name: str, value: object) -> torch.nn.Module:
    """A module of PyTorch."""
    import torch

    if not isinstance(value, torch.nn.Module):
        raise InputError(f"{name}: a torch.nn.Module is needed; got {type(value).__name__}")
    return value
