"""State: what an audit changes in a model, put back whatever happens."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lookbehind.errors import brief

# Parameters up to this many bytes are compared by value too: a model that writes to its own weights is rare.
_COPIED = 256 << 20
LIGHT = 10_000_000  # parameters of a model small enough to try more where more is cheap


@contextmanager
def preserved(model: Any, values: bool = False) -> Generator[None]:
    """Training flags, RNG, hooks, buffers, attributes, configs, weights and dtypes: as they were, on leaving.

    Inside, the model is in eval mode.

    Args:
        model: a module; of another callable only the RNG is put back.
        values: keep a copy of every weight, however large: for whoever writes to them.
    """
    with _random(), _globals():
        if not isinstance(model, torch.nn.Module):
            yield
            return
        restore = [_modules(model), _configs(model), _weights(model, values)]
        try:
            model.eval()
            yield
        finally:
            for put_back in restore:
                put_back()


@contextmanager
def forgotten(model: Any) -> Generator[None]:
    """What a call leaves on the model's modules for the next one is taken off; weights are not looked at."""
    put_back = _modules(model) if isinstance(model, torch.nn.Module) else None
    try:
        yield
    finally:
        if put_back is not None:
            put_back()


@contextmanager
def attention(subject: Any, implementation: str) -> Generator[None]:
    """Another attention implementation for a while.

    Raises:
        UncoveredError: the model has no such switch, or refuses this implementation.
    """
    from lookbehind.auditor.subject import UncoveredError

    model = subject.module
    switch = getattr(model, "set_attn_implementation", None)
    put_back = _configs(model) if model is not None else None
    try:
        if switch is not None:
            try:
                switch(implementation)
            except Exception as error:
                raise UncoveredError(f"{subject.name} refuses {implementation}: {brief(error)}") from error
        else:
            raise UncoveredError(f"{subject.name} has no attention implementation to switch")
        yield
    finally:
        if put_back is not None:
            put_back()


@contextmanager
def few_threads(model: Any) -> Generator[None]:
    """One thread for a light model.

    Others gain little (1.4 times with 3M parameters, on an idle machine), and where the machine is busy they
    wait for one another, spinning: the same audit then took 5 to 6 times as long with two threads as alone.
    """
    count = torch.get_num_threads()
    light = isinstance(model, torch.nn.Module) and sum(one.numel() for one in model.parameters()) <= LIGHT
    if not light:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


@contextmanager
def _random() -> Generator[None]:
    python, array = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


@contextmanager
def _globals() -> Generator[None]:
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)


def _modules(model: torch.nn.Module) -> Any:
    """Attributes, hooks and registries of every module; containers among them by content."""
    kept = [(module, dict(module.__dict__), _contents(module.__dict__)) for module in model.modules()]

    def put_back() -> None:
        for module, attributes, contents in kept:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for container, content in contents:
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(content)

    return put_back


def _contents(attributes: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(value, value.copy()) for value in attributes.values() if isinstance(value, (list, dict, set))]


def _configs(model: torch.nn.Module) -> Any:
    """Every config object that a module holds, and the configs inside them."""
    found: dict[int, Any] = {}

    def collect(config: Any) -> None:
        if config is None or id(config) in found or not hasattr(config, "__dict__"):
            return
        if isinstance(config, (torch.nn.Module, torch.Tensor, type)):
            return
        found[id(config)] = config
        for name, value in vars(config).items():
            if name.endswith("config"):
                collect(value)

    for module in model.modules():
        collect(module.__dict__.get("config"))
        collect(module.__dict__.get("generation_config"))
    kept = [(config, dict(vars(config))) for config in found.values()]

    def put_back() -> None:
        for config, attributes in kept:
            vars(config).clear()
            vars(config).update(attributes)

    return put_back


def _weights(model: torch.nn.Module, values: bool) -> Any:
    """Storage, dtype, requires_grad and gradient of every parameter; values of buffers, of small weights."""
    parameters = list(model.parameters())
    small = values or sum(one.numel() * one.element_size() for one in parameters) <= _COPIED
    kept = [
        (one, one.data, one.requires_grad, one.grad, _copied(one) if small else None) for one in parameters
    ]
    plain = [
        value
        for module in model.modules()
        for value in module.__dict__.values()
        if isinstance(value, torch.Tensor)
    ]
    buffers = [(one, _copied(one)) for one in (*model.buffers(), *plain)]

    def put_back() -> None:
        with torch.no_grad():
            for one, data, wanted, gradient, copy in kept:
                one.data = data
                one.requires_grad_(wanted)
                one.grad = gradient
                if copy is not None and not torch.equal(one, copy):
                    one.copy_(copy)
            for one, copy in buffers:
                if copy is not None and one.shape == copy.shape and not torch.equal(one, copy):
                    one.copy_(copy)

    return put_back


def _copied(tensor: torch.Tensor) -> torch.Tensor | None:
    """A copy of its values; None on the meta device, where there are none, and of quantised weights.

    Those are tensors of a class of their own, which need not compare or take numbers.
    """
    return None if tensor.is_meta or type(tensor.data) is not torch.Tensor else tensor.detach().clone()
