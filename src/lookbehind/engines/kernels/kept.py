"""Kept: what was made of a span table, for the next call with the same one.

By identity first: hashing a long table takes as long as a small kernel. What is kept keeps the table too, so
that no other can take its place. An equal table that was made anew is found by comparing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

import torch

from lookbehind.spans import Spans

T = TypeVar("T")


def place(device: torch.device) -> tuple[object, ...]:
    """A device and the stream in use there: tensors made on one stream are kept for that stream alone.

    Another might read them before they have been made, or after they have been dropped and written over.
    """
    if device.type != "cuda":
        return (device,)
    return device, torch.cuda.current_stream(device).cuda_stream


class Kept(Generic[T]):
    """The latest `most` things made of span tables."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[tuple[object, ...], tuple[Spans, T]] = OrderedDict()
        self._lock = Lock()

    def get(self, spans: Spans, rest: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` gives for this table and what else it depends on."""
        name = (id(spans), *rest)
        with self._lock:
            if name in self._found:
                self._found.move_to_end(name)
                return self._found[name][1]
            alike = [made for name, (one, made) in self._found.items() if name[1:] == rest and one == spans]
        made = alike[0] if alike else make()
        with self._lock:
            self._found[name] = (spans, made)
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        return made
