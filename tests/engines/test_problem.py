"""What a problem knows about itself."""

import pytest
import torch

from lookbehind.engines.problem import Problem, keys_before_triangle
from lookbehind.pattern import Causal, First, Full, Window


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


@pytest.mark.parametrize(
    ("pattern", "queries", "keys", "before"),
    [
        (Causal(), 5, 5, 0),
        (Causal(), 5, 9, 4),
        (Causal(), 1, 9, 9),  # a single query reads every key
        (Full(), 5, 9, 9),
        (Causal(), 9, 5, None),
        (Causal() & Window(3), 5, 5, None),
        (Causal() & ~First(1), 5, 5, None),
        (Causal() | First(3), 5, 5, None),
    ],
    ids=str,
)
def test_what_fused_kernels_know_of_patterns(pattern, queries, keys, before):
    assert keys_before_triangle(pattern.spans(queries, keys)) == before
