"""Transformers models that multiply queries and keys themselves, outside the attention interface.

Each is understood by name: the first product of activations in its attention module is the scores, the next
is the weights with the values. Its ALiBi bias and its mask are what its forward was given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from lookbehind.errors import RecordError
from lookbehind.pattern import Full
from lookbehind.taps.call import Call, refuse_dropout
from lookbehind.taps.mask import slopes_of, spans_of, spans_of_pattern
from lookbehind.taps.stack import Frame, ModuleStack


class Own(ABC):
    """One attention module at work: `product` is told of each product of activations in it."""

    def __init__(self, stack: ModuleStack, frame: Frame) -> None:
        self._stack, self._frame = stack, frame
        self._call: Call | None = None

    @property
    def pending(self) -> bool:
        """Whether scores were computed whose weights have not yet met the values."""
        return self._call is not None

    def product(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor
    ) -> Iterator[tuple[Call, torch.Tensor]]:
        """The call and its output, once the second product came out."""
        if self._call is None:
            if self._frame.module.training:
                refuse_dropout(self._frame.name, self._dropout())
            self._call = self._scores(args, kwargs)
            return
        call, self._call = self._call, None
        values = args[1].detach()
        full = Call(
            call.module,
            call.q,
            call.k,
            values.reshape(*call.k.shape[:3], -1),
            call.spans,
            call.scale,
            alibi=call.alibi,
        )
        yield full, result.detach().reshape(*call.q.shape[:3], -1)

    @abstractmethod
    def _scores(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """What the first product was given; the values are not known yet, so the keys stand in for them."""

    @abstractmethod
    def _dropout(self) -> float: ...

    def _attribute(self, name: str) -> Any:
        return getattr(self._frame.module, name)

    def _make(
        self, q: torch.Tensor, k: torch.Tensor, scale: float, bias: Any, mask: Any, blocking: bool = False
    ) -> Call:
        """A call from queries and keys [B, H, L, D], a bias [B or 1, H, 1, Lk] or None, and a mask or None.

        A `blocking` mask is True where a key is not read.
        """
        name = self._frame.name
        q, k = q.detach(), k.detach()
        if mask is None:
            offset = k.shape[2] - q.shape[2]
            spans, odd = spans_of_pattern(Full(), q.shape[2], k.shape[2], offset, q.shape[0]), None
        else:
            spans, odd = self._stack.once(
                mask, q, k, lambda: spans_of(name, ~mask if blocking else mask, q, k)
            )
        if odd is not None:
            raise RecordError(f"{name}: its mask carries a bias of its own, which cannot be recorded")
        slopes = None if bias is None else slopes_of(name, bias, spans, q.shape[1])
        if bias is not None and slopes is None:
            raise RecordError(
                f"{name}: its bias is not slope * key to within float32 rounding; to record it exactly, load "
                "the model in float32, and pad on the left"
            )
        return Call(name, q, k, k, spans, scale, alibi=slopes)


class Bloom(Own):
    """alibi.baddbmm(q, k^T), plus an additive mask."""

    def _dropout(self) -> float:
        return float(getattr(self._frame.module.attention_dropout, "p", 0.0))

    def _scores(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        given = {**dict(zip(("input", "batch1", "batch2"), args, strict=False)), **kwargs}
        if given.get("beta", 1) != 1:
            raise RecordError(f"{self._frame.name}: a bias scaled by beta {given['beta']} cannot be recorded")
        heads = self._attribute("num_heads")
        q, k = (part.unflatten(0, (-1, heads)) for part in (given["batch1"], given["batch2"]))
        bias = given["input"].detach().unflatten(0, (-1, heads))
        mask = self._frame.kwargs.get("attention_mask")
        return self._make(q, k.transpose(-1, -2), float(given.get("alpha", 1)), bias, mask)


class Mpt(Own):
    """matmul(q, k^T) * scale, plus the last columns of a bias, filled where a mask is True."""

    def _dropout(self) -> float:
        return self._attribute("attn_dropout_p")

    def _scores(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        q, k = args[0], args[1].transpose(-1, -2)
        bias = self._frame.kwargs.get("position_bias")
        blocked = self._frame.kwargs.get("attention_mask")
        if bias is not None:
            bias = bias.detach()[None, :, :, -k.shape[2] :]
        return self._make(q, k, self._attribute("softmax_scale"), bias, blocked, blocking=True)


_KNOWN: dict[tuple[str, str], type[Own]] = {
    ("transformers.models.bloom.modeling_bloom", "BloomAttention"): Bloom,
    ("transformers.models.mpt.modeling_mpt", "MptAttention"): Mpt,
}


def own_attention(stack: ModuleStack, frame: Frame) -> Own | None:
    """The tap for a module that is known to compute its own attention, or None."""
    kind = type(frame.module)
    tap = _KNOWN.get((kind.__module__, kind.__name__))
    return None if tap is None else tap(stack, frame)
