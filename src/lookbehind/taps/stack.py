"""Which module of the recorded model is running, and where a forward begins and ends.

Forward hooks keep the stack; they are the one thing that is attached to the model, and they are taken off
again. A hook that an interrupt (Ctrl-C) leaves behind does nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any

import torch
from torch._C._dynamo import eval_frame

from lookbehind.errors import RecordError

Frames = list["Frame"]

# What compiles the Python that is run now, or None; where this PyTorch does not tell, nothing.
_compiler: Callable[[], Any] = getattr(eval_frame, "get_eval_frame_callback", lambda: None)

# Where a module keeps its hooks, and beside them how each is called.
_HOOKS = {
    "_forward_pre_hooks": ("_forward_pre_hooks_with_kwargs",),
    "_forward_hooks": ("_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
}


@dataclass(eq=False)
class Frame:
    """A module at work.

    Attributes:
        module: the module. name: its path within the recorded model.
        args, kwargs: what its forward was given.
        caller: the Python frame that calls it, in which it is at work.
        products: sizes (rows, columns) of products of activations computed in it, which a softmax may turn
            into weights.
        scratch: what a tap remembers between two operations of this module.
        masks: what masks were found to say, in the outermost frame: layers share them.
    """

    module: torch.nn.Module
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    caller: FrameType | None = None
    products: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    scratch: Any = None
    masks: dict[Any, tuple[Any, Any]] = field(default_factory=dict[Any, tuple[Any, Any]])


class ModuleStack:
    """The modules at work, outermost first, while entered.

    Attributes:
        active: whether hooks do anything.

    Args:
        model: the recorded model.
        begin: called with the outermost frame before a forward.
        enter: called with each frame, after `begin`.
        end: called with the outermost frame and what it returned, after a forward that came to its end.
        drop: called instead of `end` where it did not.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        begin: Callable[[Frame], None],
        enter: Callable[[Frame], None],
        end: Callable[[Frame, Any], None],
        drop: Callable[[], None],
    ) -> None:
        self.names: dict[torch.nn.Module, str] = {}
        for name, module in model.named_modules():
            self.names[module] = name or type(model).__name__
        self.frames: Frames = []
        self.silent = 0
        self.active = False
        self._begin, self._enter, self._end, self._drop = begin, enter, end, drop
        self._thread = 0

    @property
    def top(self) -> Frame | None:
        """The innermost module at work, None outside a forward and where a tap asked for silence."""
        return self.frames[-1] if self.frames and not self.silent and self._heeds else None

    @property
    def _heeds(self) -> bool:
        """Whether calls count. What gradient checkpointing runs again within backward (on a card, in a thread
        of its own) was recorded the first time.
        """
        return self.active and torch._C._current_graph_task_id() == -1  # pyright: ignore[reportPrivateUsage]

    def once(self, mask: Any, q: torch.Tensor, k: torch.Tensor, read: Callable[[], Any]) -> Any:
        """What `read` finds in a mask, asked once per forward though every layer is given the same one."""
        tensor = isinstance(mask, torch.Tensor) and not mask.is_inference()
        key = (id(mask), mask._version if tensor else 0, q.shape[:3], k.shape[2])
        masks = self.frames[0].masks
        if key not in masks:
            masks[key] = (mask, read())  # the mask is kept, so that no other takes its id
        return masks[key][1]

    def __enter__(self) -> ModuleStack:
        self._thread = threading.get_ident()
        for number, module in enumerate(self.names):
            if number and _is_plain_leaf(module):  # the first is the model itself, which is seen to run
                continue
            module.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True)
            module.register_forward_hook(self._after)
            module.register_forward_hook(self._leave, always_call=True)
        self.active = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave, as far as it was entered."""
        self.active = False
        for module in self.names:
            _take_off(module, self)
        self._reset()

    def __reduce__(self) -> tuple[Callable[[], ModuleStack], tuple[()]]:
        """A copy of the model, pickled or not, takes its hooks along: they do nothing there."""
        return _idle, ()

    def _before(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._heeds:
            return
        if threading.get_ident() != self._thread:
            raise RecordError(
                f"{self.names[module]}: the recorded model is called from another thread than the one that "
                "began recording; enter record() in the thread that runs the model"
            )
        # Where a compiled function could not be compiled whole, the rest of it runs as Python.
        if torch.compiler.is_compiling() or _compiler() is not None:
            raise RecordError(
                f"{self.names[module]}: is compiled or called by a compiled function (torch.compile), and "
                "inside a compiled graph no call can be seen; run it uncompiled (generate(..., "
                "disable_compile=True))"
            )
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        if self.frames and not _within(caller, self.frames[0].caller):
            self._reset()  # an interrupt (Ctrl-C) left the forward before without calling any hook
        frame = Frame(module, self.names[module], args, kwargs, caller)
        if not self.frames:
            self._begin(frame)
        self.frames.append(frame)
        self._enter(frame)

    def _after(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """Called only where the forward returned."""
        if self._heeds and len(self.frames) == 1 and self.frames[0].module is module:
            frame = self.frames.pop()
            self._end(frame, output)

    def _leave(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """Called in any case: what is still on the stack from this module on was left by an exception."""
        if not self._heeds:
            return
        # The innermost occurrence: a module may call itself.
        places = [n for n, frame in enumerate(self.frames) if frame.module is module]
        if not places:
            return
        if places[-1] == 0:
            self._reset()
        else:
            del self.frames[places[-1] :]

    def _reset(self) -> None:
        if self.frames:
            self.frames.clear()
            self._drop()


def _idle() -> ModuleStack:
    stack = object.__new__(ModuleStack)
    stack.active = False
    return stack


def _within(inner: FrameType | None, outer: FrameType | None) -> bool:
    while inner is not None and inner is not outer:
        inner = inner.f_back
    return inner is not None


def _take_off(module: torch.nn.Module, owner: ModuleStack) -> None:
    """Remove the owner's hooks from a module: by whose they are, because an interrupt may lose a handle."""
    for name, flags in _HOOKS.items():
        hooks = getattr(module, name)
        for key in [key for key, hook in hooks.items() if getattr(hook, "__self__", None) is owner]:
            for flag in flags:
                getattr(module, flag).pop(key, None)
            del hooks[key]


def _is_plain_leaf(module: torch.nn.Module) -> bool:
    """Linear layers, norms and the like: they call no attention, and what they do is their parent's."""
    return type(module).__module__.startswith("torch.nn.modules.") and not any(
        True for _ in module.children()
    )
