"""The example computes what the dense code computes, keeps the same keys, and runs as it says."""

import runpy
from pathlib import Path

import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "eviction_window.py"
example = runpy.run_path(str(EXAMPLE))


def test_the_three_lines_give_what_the_dense_computation_gives():
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 8, 32, 16, generator=generator)
    k = torch.randn(2, 2, 500, 16, generator=generator)
    usual, ours = example["dense"](q, k), example["received"](q, k)
    torch.testing.assert_close(ours, usual, rtol=1e-4, atol=1e-5)
    keys = example["kept"](ours, 2, 32, 100)
    assert torch.equal(keys, example["kept"](usual, 2, 32, 100))
    assert keys.shape == (2, 2, 100) and (keys.diff() > 0).all() and (keys[..., -32:] >= 500 - 32).all()


def test_it_runs_and_says_so(capsys):
    example["main"](window=16, n_keys=256)
    said = capsys.readouterr().out
    assert "256 keys, the mass of the last 16 queries" in said and "the same ones: True" in said
