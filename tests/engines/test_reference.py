"""The reference against things that do not share its code: Python loops, and PyTorch's own attention."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.nn import functional

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.engines import reference
from lookbehind.engines.problem import Problem
from lookbehind.errors import EngineError
from lookbehind.pattern import Causal, Diagonal, First, Pattern, Window
from lookbehind.spans import Spans
from tests.engines.cases import Case, cases

SMALL = settings(max_examples=25)


def spans_of(case: Case) -> Spans:
    if isinstance(case.pattern, Pattern):
        return case.pattern.spans(case.q.shape[2], case.k.shape[2], case.options.get("offset"))
    return case.pattern


def by_hand(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (-inf where forbidden), lse and weights by plain loops over b, h, i, j."""
    q, k = case.q.double().numpy(), case.k.double().numpy()
    spans, options = spans_of(case), case.options
    group = q.shape[1] // k.shape[1]
    scores = np.full((*q.shape[:3], k.shape[2]), -np.inf)
    lse, weights = np.full(q.shape[:3], -np.inf), np.zeros(scores.shape)
    for b, h, r in np.ndindex(*q.shape[:3]):
        for j in spans.keys(r):
            s = float(q[b, h, r] @ k[b, h // group, j]) * options.get("scale", q.shape[3] ** -0.5)
            if "softcap" in options:
                s = options["softcap"] * math.tanh(s / options["softcap"])
            if "alibi" in options:
                s += float(options["alibi"][h]) * (j - (spans.offset + r))
            scores[b, h, r, j] = s
        if spans.keys(r):
            terms = [math.exp(scores[b, h, r, j]) for j in spans.keys(r)]
            sink = [math.exp(float(options["sinks"][h]))] if "sinks" in options else []
            lse[b, h, r] = math.log(math.fsum(terms + sink))
            weights[b, h, r] = np.exp(scores[b, h, r] - lse[b, h, r])
    return scores, lse, weights


@SMALL
@given(cases(dtypes=(torch.float64,), longest=9))
def test_attend_is_what_loops_give(case):
    _, lse, weights = by_hand(case)
    v = case.v.repeat_interleave(case.q.shape[1] // case.k.shape[1], 1).numpy()
    out, found = attend(case.q, case.k, case.v, case.pattern, **case.options, engine="reference")
    np.testing.assert_allclose(out.numpy(), weights @ v, atol=1e-10)
    np.testing.assert_allclose(found.numpy(), lse, atol=1e-10)
    alone = logsumexp(case.q, case.k, case.pattern, **case.options, engine="reference")
    assert torch.equal(alone, found)


@SMALL
@given(cases(dtypes=(torch.float64,), longest=9))
def test_every_reduction_is_what_loops_give(case):
    scores, lse, weights = by_hand(case)
    spans = spans_of(case)
    seen = observe(
        case.q,
        case.k,
        torch.from_numpy(lse),
        case.pattern,
        **case.options,
        received=True,
        entropy=True,
        top=3,
        max_score=True,
        distance=True,
        by_distance=True,
        mass={"sink": First(1), "previous": Diagonal(1), "near": Window(3)},
        map=(4, 3),
        map_reduce=("sum", "max", "mean"),
        engine="reference",
    )
    pooled = {"weight": seen.maps, "score": scores_pooled(case, torch.from_numpy(lse))}

    def same(found, expected):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)

    n_queries, n_keys = spans.n_queries, spans.n_keys
    i, j = np.arange(n_queries)[:, None] + spans.offset, np.arange(n_keys)[None, :]
    same(seen.received, weights.sum(2))
    assert seen.visible.tolist() == [
        sum(spans.allows(r, key) for r in range(n_queries)) for key in range(n_keys)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        same(seen.entropy, -np.where(weights > 0, weights * np.log(weights), 0).sum(3))
    same(seen.max_score, scores.max((2, 3)))
    same(seen.distance, (weights * abs(i - j)).sum(3))
    for d in range(seen.by_distance.shape[2]):
        same(seen.by_distance[..., d], (weights * (abs(i - j) == d)).sum((2, 3)))
    assert abs(i - j).max() < seen.by_distance.shape[2]
    for name, pattern in {"sink": j < 1, "previous": j == i - 1, "near": abs(i - j) < 3}.items():
        same(seen.mass[name], (weights * pattern).sum(3))
    rows, columns = min(4, n_queries), min(3, n_keys)
    for r in range(rows):
        for c in range(columns):
            cells = [
                (a, b)
                for a in range(r * n_queries // rows, (r + 1) * n_queries // rows)
                for b in range(c * n_keys // columns, (c + 1) * n_keys // columns)
                if spans.allows(a, b)
            ]
            for of, values in (("weight", weights), ("score", scores)):
                inside = [values[:, :, a, b] for a, b in cells] or [np.full(seen.map.shape[:2], math.nan)]
                for how, total in (
                    ("sum", sum(inside)),
                    ("max", np.max(inside, 0)),
                    ("mean", np.mean(inside, 0)),
                ):
                    same(pooled[of][how][..., r, c], total)
    assert seen.map is seen.maps["sum"]
    for b, h, r in np.ndindex(*weights.shape[:3]):
        ranked = sorted(((weights[b, h, r, key], -key) for key in spans.keys(r)), reverse=True)[:3]
        same(seen.top_weights[b, h, r], [w for w, _ in ranked] + [0.0] * (3 - len(ranked)))
        keys = seen.top_keys[b, h, r].tolist()
        assert keys[len(ranked) :] == [-1] * (3 - len(ranked))
        same(seen.top_weights[b, h, r, : len(ranked)], [weights[b, h, r, key] for key in keys[: len(ranked)]])


@pytest.mark.parametrize(
    ("wants", "brings"),
    [
        ({"received": True}, ["received", "visible"]),
        ({"entropy": True}, ["entropy"]),
        ({"top": 1}, ["top_weights", "top_keys"]),
        ({"max_score": True}, ["max_score"]),
        ({"distance": True}, ["distance"]),
        ({"by_distance": True}, ["by_distance"]),
        ({"mass": {"sink": First(1)}}, ["mass"]),
        ({"map": (2, 2)}, ["maps"]),
    ],
    ids=str,
)
def test_what_was_not_asked_for_does_not_come(wants, brings):
    q = torch.randn(1, 1, 5, 4)
    seen = observe(q, q, torch.zeros(1, 1, 5), Causal(), **wants, engine="reference")
    assert {name for name, value in vars(seen).items() if value is not None} == set(brings)


def scores_pooled(case: Case, lse: torch.Tensor) -> dict[str, torch.Tensor]:
    pools = {"map": (4, 3), "map_reduce": ["sum", "max", "mean"], "map_of": "score"}
    return observe(case.q, case.k, lse, case.pattern, **case.options, **pools, engine="reference").maps


def test_attend_is_scaled_dot_product_attention():
    q, k, v = torch.randn(2, 4, 33, 16), torch.randn(2, 2, 50, 16), torch.randn(2, 2, 50, 8)
    pattern = Causal() & Window(20)
    out, _ = attend(q, k, v, pattern, engine="reference")
    mask = pattern.to_sdpa_mask(33, 50)
    expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(out, expected)


def test_means_and_maxima_divide_by_the_computed_products_only():
    q, k = torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2)
    lse = logsumexp(q, k, Causal(), engine="reference")
    maps = observe(q, k, lse, Causal(), map=(2, 2), map_reduce=("mean", "max"), engine="reference").maps
    mean, largest = (one[0, 0] for one in maps.values())
    # Weights: 1; 1/2 1/2; 1/3 x 3; 1/4 x 4. The first pixel holds three products, the second none.
    torch.testing.assert_close(mean, torch.tensor([[2 / 3, math.nan], [7 / 24, 5 / 18]]), equal_nan=True)
    torch.testing.assert_close(largest, torch.tensor([[1.0, math.nan], [1 / 3, 1 / 3]]), equal_nan=True)


def test_what_a_row_does_not_read_does_not_reach_it():
    """Not even as 0 * NaN."""
    q, v = torch.randn(1, 2, 6, 4), torch.randn(1, 1, 6, 3)
    k = torch.randn(1, 1, 6, 4)
    out, _ = attend(q, k, v, Causal() & Window(2), engine="reference")
    v[:, :, 3] = math.nan
    found, _ = attend(q, k, v, Causal() & Window(2), engine="reference")
    reads = torch.tensor([False, False, False, True, True, False])
    assert found[:, :, reads].isnan().all()
    torch.testing.assert_close(found[:, :, ~reads], out[:, :, ~reads])


def test_it_refuses_what_it_would_have_to_store():
    q = torch.zeros(1, 1, 1, 4).expand(1, 1, 20_000, 4)
    with pytest.raises(EngineError, match="engine reference: it stores all 400,000,000 weights in float64"):
        logsumexp(q, q, Causal(), engine="reference")


def test_a_meta_tensor_holds_nothing_to_compute():
    q = torch.zeros(1, 1, 2, 4, device="meta")
    assert "meta" in reference.why_not(Problem(q, q, None, Causal().spans(2), 1.0))
