"""The tap at transformers' attention interface.

Every attention module there asks `ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_function)` at each call,
eager included. While a tap is entered, what that returns is wrapped; for modules of other models the wrapper
only passes on. The function is called after rotary embedding and after the cache was extended, with key heads
un-repeated.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch

from lookbehind.errors import RecordError
from lookbehind.pattern import Causal, Full
from lookbehind.spans import Spans
from lookbehind.taps.call import Call, refuse_dropout
from lookbehind.taps.mask import (
    slopes_of,
    spans_of,
    spans_of_block_mask,
    spans_of_padding,
    spans_of_pattern,
)
from lookbehind.taps.stack import ModuleStack

Attention = Callable[..., Any]

# Arguments that change which products are computed, and in a way that spans of a mask do not show.
_UNKNOWN = {
    "indices": "selects keys per query by an index of its own",
    "block_indices": "selects blocks of keys by an index of its own",
    "cu_seq_lens_q": "packs sequences by cumulative lengths",
    "cu_seq_lens_k": "packs sequences by cumulative lengths",
    "cache": "keeps its keys in a paged cache",
    "block_table": "keeps its keys in a paged cache",
}

_taps: list[InterfaceTap] = []
_lock = threading.RLock()
_original: Any = None


class InterfaceTap:
    """Sees each call that a module of the recorded model makes through the interface, while entered.

    Args:
        stack: the recorded model's modules.
        take: called with each call and its output, [B, Hq, Lq, Dv].
    """

    def __init__(self, stack: ModuleStack, take: Callable[[Call, torch.Tensor], None]) -> None:
        self._stack, self._take = stack, take

    def __enter__(self) -> InterfaceTap:
        with _lock:
            if _original is None:
                _patch()
            _taps.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave, as far as it was entered."""
        with _lock:
            if self in _taps:
                _taps.remove(self)
            if not _taps:
                _restore()

    def owns(self, module: Any) -> bool:
        """Whether a call by this module is to be recorded."""
        return (
            isinstance(module, torch.nn.Module)
            and self._stack.top is not None
            and module in self._stack.names
        )

    def run(self, name: str, attention: Attention, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        """Let the kernel run, then take down what it was given."""
        path = self._stack.names[module]
        bound = _bound(attention, module, args, kwargs)
        _refuse(path, name, module, bound)
        self._stack.silent += 1  # the kernel may itself call scaled_dot_product_attention or softmax
        try:
            output = attention(module, *args, **kwargs)
        finally:
            self._stack.silent -= 1
        # The recorder's own arithmetic is no business of any function mode.
        with torch.no_grad(), torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
            call = _call(self._stack, path, name, module, bound).as_computed()
            values = output[0] if isinstance(output, tuple) else output
            if isinstance(values, torch.Tensor) and values.ndim == 3:
                values = values.unflatten(-1, (call.q.shape[1], -1))
            self._take(call, values.transpose(1, 2))
        return output


def _patch() -> None:
    global _original
    # A model that is an instance of transformers' classes has loaded them; otherwise there is nothing to tap.
    library = sys.modules.get("transformers.modeling_utils")
    if library is None:
        return
    interface = getattr(library, "AttentionInterface", None)
    _original = getattr(interface, "get_interface", None)
    if interface is None or _original is None:
        raise RecordError(
            "record: this version of transformers has no AttentionInterface.get_interface; install "
            "transformers >= 5.3"
        )
    original = _original

    @functools.wraps(original)
    def get_interface(self: Any, attn_implementation: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        attention = original(self, attn_implementation, default, *args, **kwargs)
        return _tapped(str(attn_implementation), attention)

    interface.get_interface = get_interface


def _restore() -> None:
    global _original
    if _original is not None:
        sys.modules["transformers.modeling_utils"].AttentionInterface.get_interface = _original
        _original = None


def _tapped(name: str, attention: Attention) -> Attention:
    @functools.wraps(attention)
    def tapped(module: Any, *args: Any, **kwargs: Any) -> Any:
        for tap in tuple(_taps):  # others may leave meanwhile, in threads of their own
            if tap.owns(module):
                return tap.run(name, attention, module, args, kwargs)
        return attention(module, *args, **kwargs)

    return tapped


@functools.lru_cache(maxsize=256)
def _signature(attention: Attention) -> inspect.Signature:
    return inspect.signature(attention)


def _bound(attention: Attention, module: Any, args: Any, kwargs: Any) -> Mapping[str, Any]:
    """The call's arguments by name, those of **kwargs among them."""
    arguments = _signature(attention).bind(module, *args, **kwargs).arguments
    named_ones: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = _signature(attention).parameters[name].kind
        named_ones.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
    return named_ones


def _refuse(path: str, name: str, module: torch.nn.Module, given: Mapping[str, Any]) -> None:
    if name.startswith("paged|"):
        raise RecordError(
            f"{path}: attention {name!r} keeps its keys in a paged cache, which cannot be recorded"
        )
    for argument, what in _UNKNOWN.items():
        if given.get(argument) is not None:
            raise RecordError(f"{path}: attention {what} ({argument}=), which cannot be recorded")
    if module.training or name != "eager":
        refuse_dropout(path, given.get("dropout") or 0.0)


def _call(
    stack: ModuleStack, path: str, name: str, module: torch.nn.Module, given: Mapping[str, Any]
) -> Call:
    q, k, v = (given[part].detach() for part in ("query", "key", "value"))
    spans, alibi = _spans(stack, path, name, module, given, q, k)
    scale = given.get("scaling")
    sinks = given.get("s_aux")
    if sinks is None:
        sinks = given.get("sinks")
    softcap = given.get("softcap")
    if isinstance(sinks, torch.Tensor):
        if sinks.numel() != q.shape[1]:
            raise RecordError(f"{path}: sinks of shape {list(sinks.shape)} are not one logit per head")
        sinks = sinks.detach().reshape(-1)
    return Call(
        module=path,
        q=q,
        k=k,
        v=v,
        spans=spans,
        scale=q.shape[-1] ** -0.5 if scale is None else float(scale),
        softcap=None if not softcap else float(softcap),
        sinks=sinks,
        alibi=alibi,
    )


def _spans(
    stack: ModuleStack,
    path: str,
    name: str,
    module: torch.nn.Module,
    given: Mapping[str, Any],
    q: torch.Tensor,
    k: torch.Tensor,
) -> tuple[list[Spans], torch.Tensor | None]:
    """Which products this implementation computes for this mask; each reads a missing mask in its own way."""
    mask, bias = given.get("attention_mask"), given.get("position_bias")
    batch, n_queries, n_keys = q.shape[0], q.shape[2], k.shape[2]
    causal = given.get("is_causal")
    causal = bool(getattr(module, "is_causal", True) if causal is None else causal)
    if "flash" in name and (mask is None or mask.ndim == 2):
        window = given.get("sliding_window")
        spans = spans_of_padding(path, mask, q, k, causal, None if window is None else int(window))
    elif mask is None and name == "sdpa" and n_queries > 1 and causal:
        # transformers drops the keys past n_queries here, and PyTorch aligns top-left: the queries come
        # first.
        spans = spans_of_pattern(Causal(), n_queries, n_keys, 0, batch)
    elif mask is None:
        spans = spans_of_pattern(Full(), n_queries, n_keys, n_keys - n_queries, batch)
    elif isinstance(mask, torch.Tensor):
        spans, alibi = stack.once(mask, q, k, lambda: spans_of(path, mask, q, k))
        if bias is None:
            return spans, alibi
        if alibi is not None:
            raise RecordError(f"{path}: its mask carries a bias beside position_bias; it cannot be recorded")
    else:
        spans = stack.once(mask, q, k, lambda: spans_of_block_mask(path, mask, q, k))
    if bias is None:
        return spans, None
    slopes = slopes_of(path, bias, spans, q.shape[1])
    if slopes is None:
        raise RecordError(
            f"{path}: its position_bias is not ALiBi (slope * (key - query) per head); an unknown additive "
            "bias cannot be recorded exactly"
        )
    return spans, slopes
