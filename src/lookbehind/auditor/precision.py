"""Precision: the same model computed so that rounding can be told from what it computes.

Two instruments. `wide` runs the model in float64 and lets it believe that it runs in its own dtype: weights
and buffers are widened, casts that its code writes go to float64, and `tensor.dtype` answers as before, so
that a branch taken only in bfloat16 is still taken. Rounding shrinks by nine orders of magnitude, whatever
else changes an output stays. `steady` serves where float64 cannot run: every dtype stays, and each product,
sum and transcendental is computed in float64 before it is rounded as the model would, so that the order of
summation no longer shows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lookbehind.auditor.subject import Subject, UncoveredError

_NARROW = (torch.float32, torch.bfloat16, torch.float16)
_CASTS = {"float", "half", "bfloat16"}
_TO = {"to", "type", *_CASTS}
_ITEMSIZE = torch.Tensor.itemsize.__get__  # pyright: ignore
_DTYPE = torch.Tensor.dtype.__get__  # pyright: ignore


@contextmanager
def wide(subject: Subject) -> Generator[None]:
    """The model in float64, original tensors put back on leaving.

    Raises:
        UncoveredError: it is no module, so that there are no weights to widen, or they cannot be widened.
    """
    module = subject.module
    if module is None:
        raise UncoveredError(f"{subject.name} is a plain callable; its weights cannot be run in float64")
    own = subject.dtype
    kept: list[tuple[Any, torch.Tensor]] = []
    plain: list[tuple[dict[str, Any], str, torch.Tensor]] = []
    default = torch.get_default_dtype()
    with ExitStack() as opened:
        try:
            with torch.no_grad():
                for one in (*module.parameters(), *module.buffers()):
                    if one.dtype in _NARROW:
                        kept.append((one, one.data))
                        _widen(one)
                for part in module.modules():
                    for name, value in part.__dict__.items():
                        if isinstance(value, torch.Tensor) and value.dtype in _NARROW:
                            plain.append((part.__dict__, name, value))
                for attributes, name, value in plain:
                    attributes[name] = value.double()
            torch.set_default_dtype(torch.float64)
            opened.enter_context(_eager_experts(module))
            opened.enter_context(_WideCasts(own))
            yield
        finally:
            torch.set_default_dtype(default)
            for one, data in kept:
                one.data = data
            for attributes, name, value in plain:
                attributes[name] = value


def _widen(weight: torch.Tensor) -> None:
    try:
        weight.data = weight.data.double()
    except Exception as error:  # quantised weights are of a class of their own, which refuses as it likes
        raise UncoveredError(f"{type(weight.data).__name__} has no float64") from error


@contextmanager
def steady() -> Generator[None]:
    """Every contraction, sum and transcendental in float64, then rounded to the dtype the model asked for."""
    with _Steady():
        yield


@contextmanager
def jitter(subject: Subject, seed: int) -> Generator[None]:
    """Every embedded number moved by one unit of rounding, up or down at random.

    What this does to the output is what rounding can do in this model: a router near a tie makes much of it.
    """
    table = subject.embedding
    if table is None:
        raise UncoveredError(f"{subject.name} has no embedding to move")
    generator = torch.Generator().manual_seed(seed)
    eps = torch.finfo(subject.dtype).eps

    def move(module: torch.nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return output
        signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
        return output * (1 + eps * signs)

    hook = table.register_forward_hook(move)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _eager_experts(module: torch.nn.Module) -> Generator[None]:
    """Grouped expert kernels refuse float64; the loop over experts computes the same products."""
    switch = getattr(module, "set_experts_implementation", None)
    if switch is None:
        yield
        return
    held = [one for part in module.modules() if (one := part.__dict__.get("config")) is not None]
    kept = [(one, dict(vars(one))) for one in held if hasattr(one, "__dict__")]
    try:
        with suppress(ValueError, AttributeError, NotImplementedError):  # it has no experts
            switch("eager")
        yield
    finally:
        for config, attributes in kept:
            vars(config).clear()
            vars(config).update(attributes)


class _WideCasts(TorchFunctionMode):
    """Casts to a narrow dtype, as norms and softmax write them, go to float64; `.dtype` answers `own`.

    Whole numbers are rounded as the dtype rounds them first.
    """

    def __init__(self, own: torch.dtype) -> None:
        super().__init__()
        self.own = own

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func == _DTYPE:  # a new wrapper each time: equal, not identical
            found = func(*args)
            return self.own if found == torch.float64 else found
        if func == torch.Tensor.element_size or func == _ITEMSIZE:
            return self.own.itemsize if torch.Tensor.is_floating_point(args[0]) else func(*args)
        name = getattr(func, "__name__", "")
        if name in _TO and args and isinstance(args[0], torch.Tensor) and not _real(args[0]):
            # A position that the dtype cannot hold is another position, however precise what follows is.
            found = func(*args, **kwargs)
            return found.double() if _real(found) else found
        if name in _CASTS and args and isinstance(args[0], torch.Tensor):
            return args[0].double()
        if any(one in _NARROW for one in (*args, *kwargs.values()) if isinstance(one, torch.dtype)):
            args = tuple(_widened(one) for one in args)
            kwargs = {key: _widened(value) for key, value in kwargs.items()}
        if name in ("_grouped_mm", "grouped_mm"):
            return _grouped(*args, **kwargs)
        return func(*args, **kwargs)


def _real(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and torch.Tensor.is_floating_point(value)


def _widened(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in _NARROW else value


_STEADIED = {
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "mv",
    "addmv",
    "dot",
    "linear",
    "convolution",
    "_grouped_mm",
    "sum",
    "mean",
    "cumsum",
    "cumprod",
    "prod",
    "var",
    "var_mean",
    "std",
    "std_mean",
    "linalg_vector_norm",
    "norm",
    "logsumexp",
    "logcumsumexp",
    "_softmax",
    "_log_softmax",
    "native_layer_norm",
    "native_group_norm",
    "_fused_rms_norm",
    "_native_batch_norm_legit_no_training",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "sigmoid",
    "tanh",
    "silu",
    "gelu",
    "erf",
    "erfc",
    "rsqrt",
    "sqrt",
    "pow",
    "sin",
    "cos",
    "softplus",
    "elu",
    "mish",
    "log_sigmoid_forward",
    "hardswish",
    "reciprocal",
    "div",
    "atan2",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_fused_attention_overrideable",
}


class _Steady(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else ""
        if name not in _STEADIED or getattr(func, "_schema", None) is None or func._schema.is_mutable:
            return func(*args, **kwargs)
        inputs = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)]
        narrow = [one for one in inputs if one.dtype in _NARROW]
        if not narrow or len(narrow) != sum(one.is_floating_point() for one in inputs):
            return func(*args, **kwargs)
        # The dtype that the operator itself would give: its own computation is what is replaced.
        wanted = kwargs.get("dtype")
        if not isinstance(wanted, torch.dtype):
            shaped = [one for one in narrow if one.ndim] or narrow
            wanted = shaped[0].dtype
            for one in shaped[1:]:
                wanted = torch.promote_types(wanted, one.dtype)
        if wanted not in _NARROW:
            return func(*args, **kwargs)
        if "dtype" in kwargs and kwargs["dtype"] is not None:
            kwargs["dtype"] = torch.float64
        run: Callable[..., Any] = _grouped if name == "_grouped_mm" else func
        result = run(*(_up(one) for one in args), **{key: _up(value) for key, value in kwargs.items()})
        if isinstance(result, torch.Tensor):
            return _down(result, wanted)
        return type(result)(_down(one, wanted) for one in result)


def _up(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.dtype in _NARROW else value


def _down(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, torch.Tensor) and value.dtype == torch.float64 else value


def _grouped(
    a: torch.Tensor,
    b: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: Any = None,
    out_dtype: Any = None,
) -> torch.Tensor:
    """Rows of `a` up to each offset times their own matrix of `b`: what a grouped kernel computes."""
    if offs is None or a.ndim != 2 or b.ndim != 3:
        raise UncoveredError("a grouped product of another form than rows by experts")
    result = a.new_zeros(a.shape[0], b.shape[-1])
    start = 0
    for expert, stop in enumerate(offs.tolist()):
        result[start:stop] = a[start:stop] @ b[expert]
        start = stop
    return result if bias is None else result + bias
