"""The triton engine: when it is chosen, what it says when it cannot; and its kernels, in another process."""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lookbehind import attention, engines
from lookbehind.engines import triton as engine
from lookbehind.engines.kernels import tuning
from lookbehind.engines.observation import Wants
from lookbehind.engines.problem import Problem
from lookbehind.errors import EngineError
from lookbehind.pattern import Causal, Full

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
NO_TRITON = find_spec("triton") is None
KERNELS = Path(__file__).parent / "kernels" / "interpreted.py"


@pytest.mark.skipif(NO_TRITON, reason="triton is not installed here, not even its interpreter")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", ["agree", "not agree"])
def test_the_kernels(which):
    """On the card where there is one; else in the interpreter, which must be on before triton is imported."""
    environment = os.environ | ({} if CUDA else {"TRITON_INTERPRET": "1"})
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-k", which, str(KERNELS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.fixture
def runs(monkeypatch):
    """As on a card, or with the interpreter on: the engine takes this machine's tensors."""
    if not CUDA:
        monkeypatch.setenv("TRITON_INTERPRET", "1")


def problem(n: int = 2, dtype: torch.dtype = torch.float32, width: int = 4, v: bool = False) -> Problem:
    q = torch.zeros(1, 1, n, width, device=DEVICE, dtype=dtype)
    return Problem(q, q, q if v else None, Causal().spans(n), 1.0)


def test_what_it_cannot_run_it_says(runs):
    assert engine.why_not(problem()) is None
    double = engine.why_not(problem(dtype=torch.float64))
    assert double == "it computes in float32; float64 is for the torch engine"
    assert engine.why_not(problem(width=300)) == "heads of 300 are wider than its tiles, which hold 256"
    for offset in (2**31 - 9, 2**40, 9 - 2**31):
        far = replace(problem(9), spans=Full().spans(9, 9, offset))
        assert engine.why_not(far) == "it counts positions in int32; these lie further than that from 0"
    assert engine.why_not(replace(problem(9), spans=Full().spans(9, 9, 2**31 - 19))) is None
    for name in ("scale", "softcap"):
        said = "it computes scores in bits; a scale or softcap above 2.4e+38 then is beyond float32"
        assert engine.why_not(replace(problem(), **{name: 3e38})) == said
    more, few = Wants(top=600), problem(9)
    assert engine.why_not(few, more) is None  # there are not so many
    said = "it keeps at most 512 of each query's largest weights; 600 are asked for"
    assert engine.why_not(problem(600), more) == said
    assert engines.choose(problem(600), wants=more).NAME != "triton"
    assert "may round float32 to TF32" in engine.why_not(problem(v=True))
    with pytest.raises(EngineError, match=r"^engine triton: fused kernels may round float32 to TF32"):
        attention.attend(*torch.zeros(3, 1, 1, 2, 4, device=DEVICE).unbind(), Causal(), engine="triton")


@pytest.mark.skipif(NO_TRITON, reason="triton is not installed here")
def test_an_older_triton_is_not_asked(runs, monkeypatch):
    assert engine._triton() >= (3, 4)
    monkeypatch.setattr(engine, "_triton", lambda: (3, 4))
    assert engine.why_not(problem()) is None
    monkeypatch.setattr(engine, "_triton", lambda: (3, 3))
    said = "its kernels need Triton 3.4 or later, which PyTorch 2.8 for CUDA brings"
    assert engine.why_not(problem()) == said


@pytest.mark.skipif(CUDA, reason="a card is here")
def test_without_a_card_it_says_so_and_auto_goes_on(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert engine.why_not(problem()) == "it runs on CUDA; these tensors are on cpu"
    assert engines.choose(problem()).NAME == "native"
    with pytest.raises(EngineError, match=r"^engine triton: it runs on CUDA; these tensors are on cpu"):
        engines.choose(problem(), "triton")


def test_without_triton_attend_may_run_and_observe_says_why_not(runs, monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert engine.why_not(problem()) == "Triton is not installed here; PyTorch for CUDA brings it"


@pytest.mark.skipif(not CUDA, reason="no card is here")
def test_auto_picks_it_on_a_card():
    assert engines.choose(problem()).NAME == "triton"
    assert engines.choose(problem(dtype=torch.bfloat16, width=64, v=True)).NAME == "triton"
    assert engines.choose(problem(v=True)).NAME == "torch"


def test_neither_the_package_nor_a_cpu_call_imports_triton():
    code = (
        "import torch, lookbehind as lb; q = torch.randn(1, 1, 4, 8, dtype=torch.float64)\n"
        "lb.observe(q, q, lb.attend(q, q, q, lb.Causal())[1], lb.Causal(), received=True)\n"
        "import sys; print('triton' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False"]


class DoesNotFitError(Exception):
    """As Triton's own: its errors are no RuntimeError."""


def test_sizes_are_tried_once_and_kept(monkeypatch):
    """What does not fit the card is passed over."""
    one, other = tuning.Sizes(16, 16), tuning.Sizes(32, 32)
    ran = []

    def run(sizes):
        ran.append(sizes)
        if sizes == one:
            raise DoesNotFitError("out of resource: shared memory")
        return sizes

    monkeypatch.setattr(tuning, "WORTH_TRYING", 0)
    monkeypatch.setattr(tuning, "_found", {})
    monkeypatch.setattr(tuning, "candidates", lambda kind, problem: (one, other))
    monkeypatch.setattr(tuning, "milliseconds", lambda call: call() and 1.0)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    assert tuning.best("rows", (), problem(), run) == other
    tried = len(ran)
    assert tuning.best("rows", (), problem(), run) == other and len(ran) == tried + 1
    monkeypatch.setattr(tuning, "_found", {})
    monkeypatch.setattr(tuning, "candidates", lambda kind, problem: (one, one))
    with pytest.raises(DoesNotFitError, match="shared memory"):
        tuning.best("rows", (), problem(), run)
