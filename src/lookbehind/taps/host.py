"""Host: queries and keys copied into host memory, without stalling a card that computes them.

On a card the copy is made twice: at once on the card, because caches are written in place, and from there
into pinned memory on a stream of its own, while the model goes on. What has arrived is moved on into ordinary
memory, so that no more of it is pinned than is on its way. `arrived` waits for that.
"""

from __future__ import annotations

from threading import RLock
from typing import Any

import torch

# Bytes on their way from one card; with more, the model waits until they have arrived.
MOST = 2**30

_lanes: dict[torch.device, Lane] = {}
_lock = RLock()  # threads that record models on one card share its lane


def copied(tensor: torch.Tensor, wait: bool = False) -> torch.Tensor:
    """A copy in host memory, an ordinary tensor even if the model runs in inference mode.

    Args:
        tensor: on any device.
        wait: whether it is read at once. Otherwise what comes from a card must not be read before `arrived`.
    """
    with torch.inference_mode(False):
        tensor = tensor.detach()
        host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
        if tensor.device.type != "cuda" or wait or not tensor.numel():
            return host.copy_(tensor)
        with _lock:
            if tensor.device not in _lanes:
                _lanes[tensor.device] = Lane(tensor.device)
            _lanes[tensor.device].send(tensor, host)
        return host


def arrived() -> None:
    """Wait for every copy that is on its way."""
    with torch.inference_mode(False), _lock:
        for lane in _lanes.values():
            lane.settle()


class Lane:
    """What is on its way from one card."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []  # pinned, where it goes from there
        self._size = 0

    def send(self, tensor: torch.Tensor, host: torch.Tensor) -> None:
        """Start to copy; `host` must not be read before `settle`."""
        size = tensor.numel() * tensor.element_size()
        if self._size + size > MOST:
            self.settle()
        staged = tensor.clone(memory_format=torch.contiguous_format)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            pinned = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
            pinned.copy_(staged, non_blocking=True)
        staged.record_stream(self._stream)  # its memory is not used again before the copy is done
        self._waiting.append((pinned, host))
        self._size += size

    def settle(self) -> None:
        """Wait until all has arrived."""
        if self._waiting:
            self._stream.synchronize()
        for pinned, host in self._waiting:
            host.copy_(pinned)
        self._waiting.clear()
        self._size = 0
