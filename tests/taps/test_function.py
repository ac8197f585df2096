"""Attention is seen however PyTorch's function was imported, and in every form that it takes."""

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as imported_by_name

import lookbehind as lb
from lookbehind.errors import RecordError
from lookbehind.recorder import record

X = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))


class One(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x, 0.5 * x, 2 * x)


def tapes(call):
    model = One(call)
    plain = model(X)
    with record(model) as recorder:
        assert torch.equal(model(X), plain)
    return recorder.tapes()


@pytest.mark.parametrize(
    ("call", "pattern", "kv_heads"),
    [
        (lambda q, k, v: imported_by_name(q, k, v, is_causal=True), "causal", 4),
        (
            lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(query=q, key=k, value=v),
            "full",
            4,
        ),
        (
            lambda q, k, v: imported_by_name(q, k[:, :2], v[:, :2], is_causal=True, enable_gqa=True),
            "causal",
            2,
        ),
        (lambda q, k, v: imported_by_name(q, k, v, lb.parse("causal & window(3)").to_sdpa_mask(6)), None, 4),
        (lambda q, k, v: imported_by_name(q, k, v, lb.Causal().to_sdpa_mask(6).log()), "causal", 4),
        (lambda q, k, v: imported_by_name(q, k, v, scale=0.1), "full", 4),
    ],
)
def test_forms_of_the_call(call, pattern, kv_heads):
    one, two = tapes(call)
    assert one.layer(0).name == "One" and one.layer(0).n_kv_heads == kv_heads
    assert one.layer(0).spans == lb.parse(pattern or "causal & window(3)").spans(6)
    assert torch.equal(two.layer(0).q, X[1])


def test_scores_that_are_no_attention_pass():
    class Router(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.randn(8, 6))

        def forward(self, x):
            logits = x @ self.gate  # a product with a parameter, and as large as scores
            return logits.softmax(-1), imported_by_name(x, x, x, is_causal=True), x.softmax(-1)

    model = Router()
    with record(model) as recorder:
        model(X)
    assert len(recorder.tapes()) == 2


def test_a_mode_left_out_of_order_is_said():
    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    mode, model = Mode(), One(imported_by_name)
    mode.__enter__()
    with record(model):
        mode.__exit__(None, None, None)
        with pytest.raises(
            RecordError, match=r"One: a torch function mode .* leave them in the reverse order"
        ):
            model(X)
        torch.overrides._pop_mode()
    with record(model):
        mode.__enter__()
    model(X)
    assert torch.overrides._get_current_function_mode_stack() == [mode]
    mode.__exit__(None, None, None)


@pytest.mark.parametrize(
    "scores",
    [
        lambda q, k: torch.matmul(q, k.mT),
        lambda q, k: q.matmul(k.mT),
        lambda q, k: torch.bmm(q.flatten(0, 1), k.flatten(0, 1).mT),
        lambda q, k: torch.baddbmm(torch.zeros(8, 6, 6), q.flatten(0, 1), k.flatten(0, 1).mT).view(
            2, 4, 6, 6
        ),
        lambda q, k: torch.cat([q @ k.mT, torch.zeros(2, 4, 6, 1)], -1),  # with a sink
    ],
)
def test_attention_that_no_tap_explains_is_refused(scores):
    model = One(lambda q, k, v: torch.softmax(scores(q, k), -1))
    with record(model), pytest.raises(RecordError, match="One: One multiplies queries and keys itself"):
        model(X)
