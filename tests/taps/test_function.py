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
        lambda q, k: torch.mm(q[0, 0], k[0, 0].mT),
        lambda q, k: q[0, 0].mm(k[0, 0].mT),
        lambda q, k: torch.inner(q[0, 0], k[0, 0]),
        lambda q, k: torch.tensordot(q[0, 0], k[0, 0], ([1], [1])),
    ],
)
@pytest.mark.parametrize(
    "softmax",
    [
        lambda s: torch.softmax(s, -1),
        lambda s: nn.functional.log_softmax(s, -1).exp(),
        lambda s: s.log_softmax(-1).exp(),
        lambda s: (s - s.logsumexp(-1, keepdim=True)).exp(),
    ],
)
def test_attention_that_no_tap_explains_is_refused(scores, softmax):
    model = One(lambda q, k, v: softmax(scores(q, k)))
    with record(model), pytest.raises(RecordError, match="One: One multiplies queries and keys itself"):
        model(X)


def flex(q, k, v):
    from torch.nn.attention.flex_attention import flex_attention

    with torch.compiler.set_stance("force_eager"):
        return flex_attention(q, k, v)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (flex, "flex_attention"),
        (
            lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[0],
            "_scaled_dot_product_flash_attention_for_cpu",
        ),
        (
            lambda q, k, v: torch.ops.aten.scaled_dot_product_attention.default(q, k, v),
            r"scaled_dot_product_attention\.default",
        ),
    ],
)
def test_fused_attention_of_another_name_is_refused(call, name):
    model = One(call)
    model(X)
    with record(model), pytest.raises(RecordError, match=f"One: {name} computes attention in a way that"):
        model(X)
