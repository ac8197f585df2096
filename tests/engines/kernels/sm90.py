"""`python sm90.py`: every launch of the triton engine compiled for compute capability 9.0, without a card.

The engine makes its launches on small CPU tensors; instead of running, each is compiled with the arguments
that it was launched with, by the compiler and the assembler that come with triton. Prints a JSON line for
each: what it is, registers, bytes of shared memory and of stack (spilled registers), and how many wgmma it
holds.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from lookbehind.engines.kernels import passes, reduce, tuning
from lookbehind.engines.observation import Wants
from lookbehind.engines.problem import Problem
from lookbehind.pattern import Causal, First, Window

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
HOPPER = GPUTarget("cuda", 90, 32)
KINDS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int32: "*i32"}
SIMPLE = Causal()
STREAMING = Causal() & (Window(1000) | First(4))
ALL = Wants(received=True, entropy=True, top=1, max_score=True)


class Launches:
    """Stands for a kernel: keeps what it is launched with."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.seen = kernel, []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *args, **options: self.seen.append((args, options))


def signature(kernel: Any, args: tuple, options: dict) -> tuple[dict, dict, dict]:
    """(types, constants, alignments) of a launch, as triton specialises it."""
    types, constants, aligned = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        value = args[place] if place < len(args) else options[name]
        parameter = kernel.params[place]
        if parameter.is_constexpr or (type(value) is int and value == 1 and not parameter.do_not_specialize):
            types[name], constants[name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            types[name], aligned[(place,)] = KINDS[value.dtype], [["tt.divisibility", 16]]
        elif isinstance(value, float):
            types[name] = "fp32"
        else:
            types[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0 and not parameter.do_not_specialize:
                aligned[(place,)] = [["tt.divisibility", 16]]
    return types, constants, aligned


def compiled(launches: Launches) -> Iterator[dict]:
    """What becomes of each launch, and forgets them."""
    for args, options in launches.seen:
        run = {name: options.pop(name) for name in ("num_warps", "num_stages")}
        if "TIES" in options:
            options["TIES"] = False  # as on a card
        made = compile(ASTSource(launches.kernel, *signature(launches.kernel, args, options)), HOPPER, run)
        sizes = {name: options[name] for name in ("BM", "BN", "B") if name in options}
        found = {"kernel": launches.kernel.__name__, "wgmma": made.asm["ptx"].count("wgmma.mma_async")}
        yield found | sizes | run | {"shared": made.metadata.shared} | usage(made.asm["cubin"])
    launches.seen.clear()


def usage(cubin: bytes) -> dict[str, int]:
    """Registers and stack of a binary, if there is a tool to ask."""
    tool = TOOLS / "cuobjdump"
    if not tool.exists():
        return {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    words = dict(word.split(":", 1) for word in said.replace("REG", "\nREG").split() if word.count(":") == 1)
    return {"registers": int(words["REG"]), "stack": int(words["STACK"])}


def problem(
    dtype=torch.bfloat16, n_queries=1024, n_keys=1024, width=128, pattern=SIMPLE, heads=(8, 2), **more
) -> Problem:
    q = torch.zeros(1, heads[0], n_queries, width, dtype=dtype)
    k = torch.zeros(1, heads[1], n_keys, width, dtype=dtype)
    return Problem(q, k, None, pattern.spans(n_queries, n_keys), 0.1, **more)


def cases() -> Iterator[tuple[str, Problem, Wants | None]]:
    """(what, problem, wants), wants None for the lse."""
    yield "lse", problem(), None
    yield "received, entropy, top weight, largest score", problem(), ALL
    yield "the same and a map", problem(), Wants(**vars(ALL) | {"map": (64, 64)})
    yield "received by the last queries", problem(n_queries=256, n_keys=4096), Wants(received=True)
    yield "several largest", problem(), Wants(top=8)
    yield "as many largest as there may be", problem(), Wants(top=512)
    yield "a map across tiles", problem(), Wants(map=(100, 90), map_reduces=("mean", "max"))
    yield "a mass", problem(), Wants(mass={"first": First(1).spans(1024)})
    yield "by distance", problem(), Wants(by_distance=True)
    bent = {"softcap": 5.0, "alibi": torch.ones(8)}
    yield "softcap and ALiBi", problem(pattern=STREAMING, **bent), ALL
    yield "float32", problem(torch.float32), ALL
    yield "float32 lse", problem(torch.float32), None
    yield "float32, wide", problem(torch.float32, width=256), ALL
    yield "float32, wide, rows alone", problem(torch.float32, width=256), Wants(entropy=True, top=2)
    yield "float16, ragged", problem(torch.float16, 1000, 1001, 80), Wants(**vars(ALL) | {"distance": True})
    one = problem(n_queries=1, n_keys=1, heads=(1, 1))  # every length is a constant then
    everything = Wants(**vars(ALL) | {"top": 2, "by_distance": True, "map": (1, 1)})
    yield "one of each, lse", one, None
    yield "one of each", one, everything
    yield "one of each, a map across tiles", one, Wants(map=(1, 1), map_reduces=("max",), map_of="score")
    yield "decoding", problem(n_queries=1, n_keys=4096), Wants(entropy=True, top=1)
    yield "wide", problem(width=256), ALL


def on_a_card(kind: str, one: Problem, turn: int) -> tuple:
    """What is tried there, from one number on; the first where there are not so many."""
    choice = tuning.of_cards(kind, one)
    return choice[turn:] or choice[:1]


def main() -> None:
    every = "--every" in sys.argv  # all sizes that are tried, not the first alone
    torch.set_num_threads(1)
    reduce._multiplied = lambda problem: problem
    kernels = {name: Launches(getattr(passes, name)) for name in ("_COLUMNS", "_ROWS", "_DIAGONALS")}
    for name, launches in kernels.items():
        setattr(passes, name, launches)
    for what, one, wants in cases():
        for turn in range(4 if every else 1):
            tuning.candidates = lambda kind, one, turn=turn: on_a_card(kind, one, turn)
            if wants is None:
                reduce.logsumexp(one)
            else:
                reduce.observe(one, torch.zeros(1, one.n_heads, one.n_queries), wants)
            for launches in kernels.values():
                for found in compiled(launches):
                    print(json.dumps({"what": what} | found), flush=True)


if __name__ == "__main__":
    main()
