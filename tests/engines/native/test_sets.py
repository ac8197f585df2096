"""Whether the engine is here, on which instruction sets, and what it says where it cannot run."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lookbehind.attention import attend
from lookbehind.engines import choose, native
from lookbehind.engines.problem import Problem
from lookbehind.errors import EngineError
from lookbehind.pattern import Causal
from tests.engines.native.sets import SETS


def test_it_is_loaded_here():
    """A build that failed installs without it, in silence: that must not pass for a tested engine."""
    assert native.loaded() is None
    assert choose(Problem(*torch.zeros(3, 1, 1, 2, 4), Causal().spans(2), 1.0)).NAME == "native"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags below are x86's")
def test_every_set_that_this_machine_has_is_found():
    info = Path("/proc/cpuinfo")
    if not info.exists():
        pytest.skip("no /proc/cpuinfo here to compare with")
    flags = set(info.read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "f16c"}
    needed = {
        "amx": wide | {"avx512_bf16", "amx_tile", "amx_bf16"}
        if sys.platform == "linux"
        else {"no other system"},
        "avx512bf16": wide | {"avx512_bf16"},
        "avx512": wide,
        "avx2": {"avx2", "fma", "f16c"},
        "portable": set(),
    }
    assert [name for name in needed if needed[name] <= flags] == SETS
    assert native.sets()[1] == list(needed)


def test_what_it_cannot_run_it_says():
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(
        EngineError, match=r"^engine native: it computes in float32; float64 is for the torch engine"
    ):
        attend(*[q.double()] * 3, Causal(), engine="native")
    with pytest.raises(EngineError, match=r"^engine native: it runs on the CPU; these tensors are on meta;"):
        attend(*[q.to("meta")] * 3, Causal(), engine="native")
    with pytest.raises(EngineError, match=r"^engine native: it takes no values of width 0"):
        attend(q, q, q[..., :0], Causal(), engine="native")
    assert attend(q, q, q[..., :0], Causal())[0].shape == (1, 1, 2, 0)
    with pytest.raises(EngineError, match=r"^engine native: it counts fewer than 2,147,483,648 positions"):
        attend(q, q, q, Causal(), offset=2**31 - 2, engine="native")
    assert attend(q, q, q, Causal(), offset=2**31 - 2)[1].isfinite().all()


WITHOUT = """
import sys, types
import lookbehind, torch
{how}
q = torch.zeros(1, 1, 2, 4)
print(lookbehind.attend(q, q, q, "causal")[1].isfinite().all().item())
from lookbehind.engines import native
print(native.sets())
try:
    lookbehind.attend(q, q, q, "causal", engine="native")
except lookbehind.EngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            "sys.modules['lookbehind._native'] = None",  # importing it is now a ModuleNotFoundError
            "it was not compiled when lookbehind was installed; where a C++20 compiler is, install again",
        ),
        (
            "from importlib.machinery import ModuleSpec\n"
            "class Broken:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'lookbehind._native': raise ImportError('undefined symbol: attend')\n"
            "sys.meta_path.insert(0, Broken())",
            "what was compiled of it does not load (undefined symbol: attend); install it again",
        ),
    ],
    ids=["absent", "broken"],
)
def test_without_the_compiled_part_it_says_how_to_get_it(how, words):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(how=how)], capture_output=True, text=True, check=True
    )
    works, sets, said = done.stdout.splitlines()
    assert works == "True" and sets == "([], [])"
    assert said == f"engine native: {words}; engine='auto' picks one that can"
