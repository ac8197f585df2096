"""What a problem knows about itself."""

import pytest
import torch

from lookbehind.engines.problem import Problem
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
