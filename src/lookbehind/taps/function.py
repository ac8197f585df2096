"""The tap at PyTorch's functions: `scaled_dot_product_attention`, and the watch for what no tap explains.

A function mode sees each call of a PyTorch function by name, however it was imported, and changes none of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import overrides
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lookbehind.errors import RecordError
from lookbehind.pattern import Causal, Full
from lookbehind.taps.call import Call, refuse_dropout
from lookbehind.taps.mask import spans_of, spans_of_pattern
from lookbehind.taps.own import Own, own_attention
from lookbehind.taps.stack import Frame, ModuleStack

_SOFTMAXES: set[Any] = {
    F.softmax,
    torch.softmax,
    torch.Tensor.softmax,
    torch.special.softmax,
    F.log_softmax,
    torch.log_softmax,
    torch.Tensor.log_softmax,
    torch.special.log_softmax,
    torch.logsumexp,
    torch.Tensor.logsumexp,
    torch.special.logsumexp,
}
_PRODUCTS: set[Any] = {
    torch.matmul,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.bmm,
    torch.Tensor.bmm,
    torch.baddbmm,
    torch.Tensor.baddbmm,
    torch.einsum,
    torch.mm,
    torch.Tensor.mm,
    torch.inner,
    torch.Tensor.inner,
    torch.tensordot,
}
_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


class FunctionTap(TorchFunctionMode):
    """Sees each attention call that a module of the recorded model makes through PyTorch, while entered.

    Args:
        stack: the recorded model's modules.
        take: called with each call and its output, [B, Hq, Lq, Dv].
    """

    def __init__(self, stack: ModuleStack, take: Callable[[Call, torch.Tensor], None]) -> None:
        super().__init__()
        self._stack, self._take = stack, take

    @property
    def sees(self) -> bool:
        """Whether calls reach this tap: a mode left in another order than entered removes another."""
        modes = overrides._get_current_function_mode_stack()  # pyright: ignore[reportPrivateUsage]
        return any(mode is self for mode in modes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave, as far as it was entered and whatever was entered since."""
        above: list[Any] = []
        while self.sees:
            mode = overrides._pop_mode()  # pyright: ignore[reportPrivateUsage]
            if mode is not self:
                above.append(mode)
        for mode in reversed(above):
            overrides._push_mode(mode)  # pyright: ignore[reportPrivateUsage]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let the function run; take down what it was given if it is attention."""
        kwargs = kwargs or {}
        # What a compiler traces (FlexAttention's mask, say) is no call yet.
        if torch.compiler.is_compiling():
            return func(*args, **kwargs)
        frame = self._stack.top
        if frame is None:
            return func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attention(frame, args, kwargs)
        if func in _PRODUCTS:
            result = func(*args, **kwargs)
            self._product(frame, args, kwargs, result)
            return result
        if func in _SOFTMAXES:
            self._softmax(frame, args, kwargs)
        elif func is F.multi_head_attention_forward:
            # Within this function no mode sees a call; and a mode keeps PyTorch from its fused variants.
            raise RecordError(
                f"{frame.name}: torch.nn.MultiheadAttention computes attention inside one function, which "
                "cannot be recorded; use torch.nn.functional.scaled_dot_product_attention in its place"
            )
        elif _is_fused(func):
            raise RecordError(
                f"{frame.name}: {func.__name__} computes attention in a way that recording does not know; "
                "use torch.nn.functional.scaled_dot_product_attention in its place"
            )
        return func(*args, **kwargs)

    def _attention(self, frame: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        given = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        refuse_dropout(frame.name, given.get("dropout_p") or 0.0)
        output = F.scaled_dot_product_attention(*args, **kwargs)
        with torch.no_grad():
            call = _sdpa(self._stack, frame.name, given).as_computed()
            self._take(call, output.detach())
        return output

    def _product(self, frame: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        if not isinstance(result, torch.Tensor) or result.ndim < 2:
            return
        if _has_weight(args) or _has_weight(tuple(kwargs.values())):
            return
        own = self._own(frame)
        if own is not None:
            with torch.no_grad():
                for call, output in own.product(args, kwargs, result):
                    self._take(call, output)
        # Seen from the outermost module on: a softmax may be a module of its own.
        self._stack.frames[0].products.add(_size(result))

    def _softmax(self, frame: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        scores = args[0] if args else kwargs.get("input")
        if not isinstance(scores, torch.Tensor) or scores.ndim < 2:
            return
        own = self._own(frame)
        if own is not None and own.pending:
            return
        rows, columns = _size(scores)
        # A sink is one more column beside the products.
        if {(rows, columns), (rows, columns - 1)} & self._stack.frames[0].products:
            raise RecordError(
                f"{frame.name}: {type(frame.module).__name__} multiplies queries and keys itself and takes a "
                f"softmax over scores of shape {list(scores.shape)}, where recording cannot see them; select "
                "another attn_implementation if the model has one, or use "
                "torch.nn.functional.scaled_dot_product_attention"
            )

    def _own(self, frame: Frame) -> Own | None:
        if frame.scratch is None:
            frame.scratch = own_attention(self._stack, frame) or False
        return frame.scratch or None


def _is_fused(func: Any) -> bool:
    """Whether an operator's name says that it is attention: FlexAttention, ATen's kernels, others' own."""
    name = getattr(func, "__name__", "")
    return "attention" in name or "attn" in name


def _sdpa(stack: ModuleStack, name: str, given: Mapping[str, Any]) -> Call:
    q, k, v = (given[part].detach() for part in ("query", "key", "value"))
    if q.ndim != 4 or k.ndim != 4 or v.ndim != 4:
        raise RecordError(
            f"{name}: attention over queries of shape {list(q.shape)} does not tell batch from heads; give "
            "scaled_dot_product_attention [batch, heads, length, dim]"
        )
    k, v = (part.expand(q.shape[0], -1, -1, -1) if part.shape[0] == 1 else part for part in (k, v))
    mask, scale, batch = given.get("attn_mask"), given.get("scale"), q.shape[0]
    alibi = None
    if mask is not None:
        spans, alibi = stack.once(mask, q, k, lambda: spans_of(name, mask, q, k))
    elif given.get("is_causal"):
        # PyTorch aligns top-left: query row r reads keys 0 to r, however many keys there are.
        spans = spans_of_pattern(Causal(), q.shape[2], k.shape[2], 0, batch)
    else:
        spans = spans_of_pattern(Full(), q.shape[2], k.shape[2], k.shape[2] - q.shape[2], batch)
    return Call(name, q, k, v, spans, q.shape[-1] ** -0.5 if scale is None else float(scale), alibi=alibi)


def _size(tensor: torch.Tensor) -> tuple[int, int]:
    columns = tensor.shape[-1]
    return (tensor.numel() // columns if columns else 0), columns


def _has_weight(operands: tuple[Any, ...]) -> bool:
    """Whether a product is with a parameter or a view of one: a projection, not queries with keys."""
    for one in operands:
        if isinstance(one, torch.nn.Parameter):
            return True
        if isinstance(one, torch.Tensor) and isinstance(one._base, torch.nn.Parameter):
            return True
    return False
