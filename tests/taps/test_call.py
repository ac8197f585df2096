"""A call proves itself against the kernel's output, and notices whatever it does not know of."""

from dataclasses import replace

import pytest
import torch

from lookbehind.errors import RecordError
from lookbehind.pattern import Causal, Full, Window
from lookbehind.taps.call import Call

G = torch.Generator().manual_seed(0)


def call(n_queries=6, n_keys=6, pattern=None, dtype=torch.float32, **options):
    q = torch.randn(2, 4, n_queries, 8, generator=G).to(dtype)
    k, v = (torch.randn(2, 2, n_keys, size, generator=G).to(dtype) for size in (8, 5))
    spans = (pattern or Causal()).spans(n_queries, n_keys)
    return Call("layer", q, k, v, [spans] * 2, 0.3, **options)


def output(one):
    """The plain way, in float64."""
    q, k, v = (part.double() for part in (one.q, one.k, one.v))
    k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    s = q @ k.mT * one.scale
    if one.softcap is not None:
        s = one.softcap * torch.tanh(s / one.softcap)
    if one.alibi is not None:
        i = torch.arange(q.shape[2])[:, None] + k.shape[2] - q.shape[2]
        s = s + one.alibi.double()[:, None, None] * (torch.arange(k.shape[2]) - i)
    s = s.masked_fill(~torch.from_numpy(one.spans[0].mask()), -torch.inf)
    if one.sinks is not None:
        s = torch.cat([s, one.sinks.double()[:, None, None].expand(2, -1, s.shape[2], 1)], 3)
        return (s.softmax(-1)[..., :-1] @ v).to(one.q.dtype)
    return (s.softmax(-1) @ v).to(one.q.dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"softcap": 0.5},
        {"sinks": torch.tensor([0.0, 1.0, 2.0, -1.0])},
        {"alibi": torch.tensor([0.5, 0.25, 0.1, 0.0])},
        {"pattern": Window(2), "n_queries": 3, "n_keys": 7},
    ],
    ids=lambda options: next(iter(options), "plain"),
)
def test_what_was_understood_passes(options, dtype):
    one = call(dtype=dtype, **options)
    one.prove(output(one))


def test_a_model_whose_numbers_are_not_finite_is_told_so():
    one = call()
    for q in (one.q, torch.full_like(one.q, torch.nan)):
        with pytest.raises(RecordError, match="own output for query 1 of 6 is not finite, so that nothing"):
            replace(one, q=q).prove(torch.full_like(output(one), torch.nan))


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0.31},
        {"softcap": 1.0},
        {"sinks": torch.zeros(4)},
        {"alibi": torch.tensor([0.0, 0.0, 0.0, 0.01])},
        {"spans": [Full().spans(6)] * 2},
        {"spans": [(Causal() & Window(5)).spans(6)] * 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_misunderstood_is_refused(change):
    one = call()
    told = r"layer: query \d of 6 comes out [\d.e-]+ away from what its queries, keys and mask give"
    with pytest.raises(RecordError, match=told):
        replace(one, **change).prove(output(one))


HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0.33},
        {"softcap": 3.0},
        {"sinks": torch.zeros(4)},
        {"alibi": torch.tensor([0.0, 0.0, 0.0, 0.1])},
        {"spans": [Full().spans(24)] * 2},
        {"spans": [(Causal() & Window(20)).spans(24)] * 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_misunderstood_is_refused_in_half_precision_too(change, dtype):
    one = call(24, 24, dtype=dtype)
    one = replace(one, q=2 * one.q)
    one.prove(output(one))
    with pytest.raises(RecordError, match=r"layer: query \d+ of 24 comes out"):
        replace(one, **change).prove(output(one))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", [1.0, 10.0, 100.0, 3000.0])
def test_however_large_scores_are_another_mask_is_refused(size, dtype):
    one = call(24, 24, dtype=dtype)
    one = replace(one, q=size * one.q)
    one.prove(output(one))
    with pytest.raises(RecordError, match=r"layer: query \d+ of 24 comes out"):
        replace(one, spans=[Full().spans(24)] * 2).prove(output(one))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_kernels_that_round_scores_and_weights_pass(size, dtype):
    one = call(200, 200, dtype=dtype)
    one = replace(one, q=size * one.q)
    k, v = (part.repeat_interleave(2, 1) for part in (one.k, one.v))
    s = (one.q @ k.mT) * one.scale
    for softcap in (None, 5.0):
        capped = s if softcap is None else softcap * torch.tanh(s / softcap)
        capped = capped.masked_fill(~torch.from_numpy(one.spans[0].mask()), -torch.inf)
        replace(one, softcap=softcap).prove(capped.softmax(-1) @ v)


def test_uniform_weights_below_what_float16_holds_exactly_pass():
    n = 90_000
    q, k, v = torch.zeros(1, 1, 1, 8).half(), torch.zeros(1, 1, n, 8).half(), torch.ones(1, 1, n, 2).half()
    one = Call("layer", q, k, v, [Causal().spans(1, n)], 1.0)
    weights = torch.full((n,), 1 / n).half()
    assert abs(float(weights[0]) * n - 1) > 1e-3
    one.prove((weights.float() @ v[0, 0].float()).half()[None, None, None])


def test_nan_is_refused_and_a_row_without_keys_is_not_looked_at():
    one = call(n_queries=6, n_keys=4)  # the first two queries precede every key
    found = output(one)
    assert found[:, :, :2].isnan().all()
    one.prove(found)
    with pytest.raises(RecordError, match="output for query 3 of 6 is not finite"):
        one.prove(torch.full_like(found, torch.nan))


def test_layouts_that_are_none_are_refused():
    one = call()
    with pytest.raises(RecordError, match=r"layer: attention gave an output of shape \[2, 4, 6, 4\]"):
        one.prove(output(one)[..., :4])
    with pytest.raises(RecordError, match=r"layer: 2 kv heads cannot serve 3 query heads"):
        replace(one, q=one.q[:, :3])
    with pytest.raises(RecordError, match=r"are not \[batch, heads, length, dim\] of one batch"):
        replace(one, q=one.q[0])
