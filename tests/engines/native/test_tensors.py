"""Tensors as they may lie in memory, and where those that come out are made."""

import math

import pytest
import torch

from lookbehind.attention import attend, observe
from lookbehind.engines import native
from lookbehind.pattern import Causal
from tests.engines.cases import error


def test_tensors_are_read_where_they_lie():
    x = torch.randn(2, 30, 4, 2 * 16)
    rows_first = x[..., :16].transpose(1, 2)
    assert native._readable(rows_first) is rows_first
    assert native._readable(x[:1, :, :1].expand(2, 30, 4, 32)).stride() == (0, 128, 0, 1)
    every_second = x.transpose(1, 2)[..., ::2]
    assert native._readable(every_second).is_contiguous()
    out, lse = attend(every_second, every_second, rows_first, Causal(), engine="native")
    copied = attend(
        every_second.clone(), every_second.clone(), rows_first.contiguous(), Causal(), engine="native"
    )
    assert torch.equal(out, copied[0]) and torch.equal(lse, copied[1])


@pytest.mark.parametrize("shape", [(0, 2, 5, 5), (1, 2, 0, 5), (1, 2, 5, 0)], ids=str)
def test_nothing_may_lie_anyhow(shape):
    """An empty tensor is contiguous to PyTorch, whatever its strides are."""
    batch, heads, n_queries, n_keys = shape
    q, k = torch.randn(batch, heads, n_queries, 16)[..., ::2], torch.randn(batch, 1, n_keys, 16)[..., ::2]
    out, lse = attend(q, k, k, Causal(), engine="native")
    assert out.shape == q.shape and (lse == -math.inf).all()
    strided = torch.zeros(*lse.shape, 2)[..., 0]
    seen = observe(q, k, strided, Causal(), received=True, entropy=True, engine="native")
    assert (seen.received == 0).all() and (seen.entropy == 0).all()


def test_a_sign_that_pytorch_puts_off_is_seen():
    """Tensors with the negative bit: their memory holds the opposite of what they are."""
    x = torch.randn(1, 1, 9, 1)
    seen = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert seen.is_neg() and torch.equal(seen, x)
    sinks = torch.complex(torch.zeros(1), torch.tensor([3.0])).conj().imag
    out, lse = attend(seen, seen, seen, Causal(), sinks=sinks, engine="native")
    expected = attend(x, x, x, Causal(), sinks=torch.tensor([-3.0]), engine="native")
    assert torch.equal(out, expected[0]) and torch.equal(lse, expected[1])
    negated = torch.complex(torch.zeros_like(lse), -lse).conj().imag
    received = [observe(x, x, one, Causal(), received=True).received for one in (lse, negated)]
    assert torch.equal(*received)


def test_parameters_that_require_grad_are_read():
    q = torch.randn(1, 2, 5, 8, requires_grad=True)
    per_head = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    found = attend(q, q, q, Causal(), sinks=per_head, alibi=per_head, engine="native")
    expected = attend(q, q, q, Causal(), sinks=per_head, alibi=per_head, engine="reference")
    assert error(found[0], expected[0]) < 1e-5 and error(found[1], expected[1]) < 1e-5


def test_places_beyond_32_bits_are_found():
    """Rows 2**31 numbers apart: 4 GB of address space, of which a few pages are ever touched."""
    memory = torch.empty(2**31 + 64, dtype=torch.bfloat16)
    far = memory.as_strided((1, 1, 2, 16), (0, 0, 2**31, 1))
    far.copy_(torch.randn(1, 1, 2, 16))
    found = attend(far, far, far, Causal(), engine="native")
    expected = attend(*[far.double()] * 3, Causal(), engine="reference")
    assert error(found[0], expected[0]) < 2e-2 and error(found[1], expected[1]) < 2e-4


def test_tensors_are_made_where_the_problem_is():
    """Whatever device PyTorch makes tensors on where none is named."""
    q = torch.randn(1, 2, 40, 8)
    with torch.device("meta"):
        for engine in ("native", "torch"):
            out, lse = attend(q, q, q, Causal(), engine=engine)
            seen = observe(
                q, q, lse, Causal(), received=True, map=(7, 9), map_reduce=("max", "mean"), engine=engine
            )
            assert {x.device.type for x in (out, lse, seen.received, *seen.maps.values())} == {"cpu"}
