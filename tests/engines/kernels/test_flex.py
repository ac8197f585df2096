"""FlexAttention's block mask and score function, made of spans: what they say, without a card."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lookbehind.engines.kernels import flex
from lookbehind.engines.problem import Problem
from lookbehind.pattern import Causal, Documents, First, Full, Window
from tests.engines.cases import PATTERNS

CPU = torch.device("cpu")
LONG = [
    Causal(),
    Full(),
    Causal() & (Window(300) | First(3)),
    Documents([200, 90, 500]),
    Causal() & Window(129),
]


@pytest.mark.parametrize("pattern", [*PATTERNS, *LONG], ids=str)
@pytest.mark.parametrize("lengths", [(300, 400, None), (130, 130, 0), (1, 257, None)], ids=str)
def test_the_block_mask_holds_the_tiles_and_its_function_the_products(pattern, lengths):
    spans = pattern.spans(*lengths)
    mask = flex.block_mask(spans, CPU)
    i, j = torch.arange(spans.n_queries)[:, None], torch.arange(spans.n_keys)[None, :]
    assert np.array_equal(mask.mask_mod(0, 0, i, j).numpy(), spans.mask())
    blocks = spans.blocks(flex.TILE, flex.TILE)
    assert np.array_equal(mask.to_dense()[0, 0].numpy() != 0, blocks.visited.mask())
    partial = {
        (row, int(mask.kv_indices[0, 0, row, at]))
        for row in range(mask.kv_num_blocks.shape[2])
        for at in range(mask.kv_num_blocks[0, 0, row])
    }
    for row, column in blocks.partial.pairs():
        assert (row, column) in partial
    assert mask.seq_lengths == (spans.n_queries, spans.n_keys)


def test_the_score_function_bends_as_the_definition_says():
    q = torch.randn(1, 2, 4, 16)
    slopes = torch.tensor([0.5, 0.25])
    plain = Problem(q, q, q, Causal().spans(4), 0.1)
    assert flex.score_mod(plain) is None
    bent = flex.score_mod(Problem(q, q, q, Causal().spans(4, 9), 0.1, softcap=3.0, alibi=slopes))
    found = bent(torch.tensor(6.0), 0, torch.tensor(1), torch.tensor(2), torch.tensor(3))
    torch.testing.assert_close(found, 3.0 * torch.tensor(2.0).tanh() + 0.25 * (3 - (2 + 5)))


def test_the_cap_is_not_rounded_to_the_default_dtype():
    q = torch.randn(1, 2, 4, 16)
    torch.set_default_dtype(torch.bfloat16)
    try:
        bent = flex.score_mod(Problem(q, q, q, Causal().spans(4), 0.1, softcap=30.1))
    finally:
        torch.set_default_dtype(torch.float32)
    found = bent(torch.tensor(1e4), 0, torch.tensor(1), torch.tensor(2), torch.tensor(1))
    torch.testing.assert_close(found, torch.tensor(30.1))


def test_a_mask_is_made_once_for_a_table():
    spans = Causal().spans(200)
    assert flex.block_mask(spans, CPU) is flex.block_mask(spans, CPU)


def test_few_queries_of_many_heads_are_not_the_decoding_kernels(monkeypatch):
    """It launches one direction of at most 65,535 programs over kv heads times the batch."""
    from torch.nn.attention import flex_attention as module

    seen: list[dict] = []

    def noted(q, k, v, **options):
        seen.append(options)
        return q, SimpleNamespace(lse=q[..., 0])

    monkeypatch.setattr(module, "flex_attention", noted)
    for heads in (255, 256):
        q = torch.zeros(1, 1, 1, 16).expand(257, heads, -1, -1)
        flex.run(Problem(q, q, q, Causal().spans(1), 0.1))
    assert [bool(one.get("kernel_options")) for one in seen] == [False, True]


@pytest.mark.parametrize(
    ("n_queries", "group", "forced"),
    [(37, 1, False), (37, 2, False), (37, 4, True), (100, 2, True), (64, 2, False), (128, 8, False)],
)
def test_few_queries_of_large_groups_are_not_the_decoding_kernels(monkeypatch, n_queries, group, forced):
    """PyTorch's kernel for few queries has no size for more than 128, all heads of a group together."""
    from torch.nn.attention import flex_attention as module

    seen: list[dict] = []

    def noted(q, k, v, **options):
        seen.append(options)
        return q, SimpleNamespace(lse=q[..., 0])

    monkeypatch.setattr(module, "flex_attention", noted)
    q, k = torch.randn(1, 2 * group, n_queries, 16), torch.randn(1, 2, 150, 16)
    flex.run(Problem(q, k, k, Causal().spans(n_queries, 150), 0.1))
    asked = seen[0].get("kernel_options") or {}
    assert asked.get("FORCE_USE_FLEX_ATTENTION", False) == forced
