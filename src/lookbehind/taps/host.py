"""Host: queries and keys copied into host memory, without stalling a card that computes them.

On a card the copy is made twice: at once on the card, because caches are written in place, and from there
into pinned memory on a stream of its own, while the model goes on. `arrived` waits for what is on its way.
"""

from __future__ import annotations

from typing import Any

import torch

# Bytes on their way from one card; with more, the model waits until they have arrived.
MOST = 2**30

_streams: dict[torch.device, Any] = {}
_on_the_way: dict[torch.device, int] = {}


def copied(tensor: torch.Tensor, wait: bool = False) -> torch.Tensor:
    """A copy in host memory, an ordinary tensor even if the model runs in inference mode.

    Args:
        tensor: on any device.
        wait: whether it is read at once. Otherwise what comes from a card must not be read before `arrived`.
    """
    with torch.inference_mode(False):
        tensor = tensor.detach()
        if tensor.device.type != "cuda" or wait or not tensor.numel():
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").copy_(tensor)
        return _sent(tensor, tensor.device)


def arrived() -> None:
    """Wait for every copy that is on its way."""
    for device in [device for device, size in _on_the_way.items() if size]:
        _streams[device].synchronize()
        _on_the_way[device] = 0


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    size = tensor.numel() * tensor.element_size()
    if device not in _streams:
        _streams[device], _on_the_way[device] = torch.cuda.Stream(device), 0
    stream = _streams[device]
    if _on_the_way[device] + size > MOST:
        stream.synchronize()
        _on_the_way[device] = 0
    staged = tensor.clone(memory_format=torch.contiguous_format)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        host.copy_(staged, non_blocking=True)
    staged.record_stream(stream)  # its memory is not used again before the copy is done
    _on_the_way[device] += size
    return host
