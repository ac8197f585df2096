"""`lookbehind doctor`: what is installed, which engines can run here, and which is chosen."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.table import Table

import lookbehind
from lookbehind.cli.common import JsonOption, console, print_json, working

_PACKAGES = ("triton", "transformers", "safetensors", "numpy", "pillow")


def doctor(as_json: JsonOption = False) -> None:
    """Versions, the engines that can run here, which one `auto` picks, and why not the others."""
    with working("looking"):
        facts = examine()
    if as_json:
        print_json(facts)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    for name, number in facts["versions"].items():
        table.add_row(name, number or "not installed")
    table.add_row("machine", facts["machine"])
    table.add_row("torch threads", str(facts["threads"]))
    table.add_row("instruction sets", _sets(facts["instruction_sets"]))
    table.add_row("CUDA", facts["cuda"] or "none")
    if facts["fused"]:
        table.add_row(
            "fused attention", "; ".join(f"{what}: {name}" for what, name in facts["fused"].items())
        )
    console.print(table)
    console.print()
    for engine in facts["engines"]:
        mark = "→" if engine["picked"] else " "
        state = "can run" if engine["can_run"] else "cannot run"
        console.print(
            f"{mark} {engine['name']} on {engine['device']}: {state}; {engine['reason']}", markup=False
        )


def examine() -> dict[str, Any]:
    """What `doctor` reports, as plain data."""
    import torch

    from lookbehind.engines import native, survey

    engines: list[dict[str, Any]] = []
    picked: set[str] = set()
    for found in survey():
        # They come in the order in which `auto` tries them.
        first = found.can_run and found.device not in picked
        if first:
            picked.add(found.device)
        engines.append({**asdict(found), "picked": first})
    return {
        "versions": {
            "python": platform.python_version(),
            "lookbehind": lookbehind.__version__,
            "torch": torch.__version__,  # with what it was built for
            **{name: _version(name) for name in _PACKAGES},
        },
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {_cpu()}",
        "threads": torch.get_num_threads(),
        "instruction_sets": dict(zip(("here", "compiled"), native.sets(), strict=True)),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "fused": _fused() if torch.cuda.is_available() else {},
        "engines": engines,
    }


def _fused(device: str = "cuda") -> dict[str, str]:
    """Which of PyTorch's fused kernels the triton engine's `attend` takes for usual calls, or why none."""
    import torch

    from lookbehind.engines.problem import Problem
    from lookbehind.engines.triton import route
    from lookbehind.pattern import Causal

    found: dict[str, str] = {}
    for what, n_queries in (("causal prefill", 128), ("decoding", 1)):
        q, k = (torch.zeros(1, 1, n, 128, device=device, dtype=torch.bfloat16) for n in (n_queries, 128))
        chosen = route(Problem(q, k, k, Causal().spans(n_queries, 128), 1.0))
        found[what] = chosen.name or f"none, {chosen.reason}"
    return found


def _sets(found: dict[str, list[str]]) -> str:
    """The native engine's: the one it runs on, and what else it could."""
    if not found["compiled"]:
        return "none; the native engine was not compiled"
    used, *others = found["here"]
    elsewhere = [name for name in found["compiled"] if name not in found["here"]]
    also = f"; also runs {', '.join(others)}" if others else ""
    return f"{used} is used{also}" + (f"; not on this machine: {', '.join(elsewhere)}" if elsewhere else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    import torch

    return f"{torch.backends.cpu.get_cpu_capability()} kernels"
