"""What a problem knows about itself."""

import pytest
import torch

from lookbehind.engines.problem import Problem, aligned
from lookbehind.pattern import Full


def test_sizes_and_dtypes():
    q, k = torch.zeros(2, 6, 3, 8, dtype=torch.bfloat16), torch.zeros(2, 2, 5, 8, dtype=torch.bfloat16)
    problem = Problem(q, k, None, Full().spans(3, 5), 1.0)
    assert (problem.batch, problem.n_heads, problem.n_kv_heads, problem.group) == (2, 6, 2, 3)
    assert (problem.n_queries, problem.n_keys) == (3, 5)
    assert problem.dtype == torch.float32
    assert Problem(q.double(), k.double(), None, problem.spans, 1.0).dtype == torch.float64


@pytest.mark.parametrize("offset", [-7, -1, 0, 2, 4, 30])
def test_every_distance_that_can_occur_has_a_place(offset):
    q, k = torch.zeros(1, 1, 3, 1), torch.zeros(1, 1, 5, 1)
    problem = Problem(q, k, None, Full().spans(3, 5, offset), 1.0)
    furthest = max(abs(offset + r - j) for r in range(3) for j in range(5))
    assert problem.n_distances > furthest


def test_fused_kernels_are_handed_what_they_read():
    """Adjacent numbers at addresses and steps of 16 bytes, copied only where they are not so."""
    x = torch.randn(2, 3, 5, 64).bfloat16()
    one = torch.randn(2, 3, 65).bfloat16().as_strided((2, 3, 1, 64), (192, 64, 65, 1))
    for kept in (x, x.transpose(1, 2), x[:, :, :3, 8:24], one):
        found = aligned(kept)
        assert torch.equal(found, kept) and found.data_ptr() == kept.data_ptr()
        assert all(step * 2 % 16 == 0 for step in found.stride()[:3]) and found.stride(3) == 1
    for copied in (x[..., 1:17], x[..., ::2], torch.randn(2, 3, 5, 65).bfloat16()[..., :64]):
        found = aligned(copied)
        assert torch.equal(found, copied) and found.is_contiguous() and found.data_ptr() % 16 == 0
