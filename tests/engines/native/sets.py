"""The instruction sets that run here, and what the tests of the native engine share."""

from contextlib import contextmanager

import pytest
import torch

from lookbehind.engines import native
from lookbehind.pattern import Causal, First, Window

SETS = native.sets()[0]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Of lse and of weights. Products of half types are exact in float32, but bfloat16 has a coarser exponential.
FINE = {torch.float32: 1e-5, torch.float16: 1e-5, torch.bfloat16: 2e-4}
POOLS = ("mean", "max", "sum")
STREAMING = Causal() & (Window(90) | First(3))
each_set = pytest.mark.parametrize("instructions", SETS)


@contextmanager
def on(instructions: str, threads: int | None = None):
    """Calls run on this instruction set, and on so many threads."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "SET", instructions)
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
