"""The same bits, however many threads compute them and whatever else is in the call."""

import pytest
import torch

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.pattern import First
from tests.engines.cases import EVERYTHING, TOLERANCE, error, tensors
from tests.engines.native.sets import DTYPES, POOLS, STREAMING, each_set, on


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


@each_set
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("n_queries", [1, 3, 500])
def test_results_do_not_depend_on_the_number_of_threads(instructions, dtype, n_queries):
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(2, 4, n_queries, 64, generator=generator).to(dtype)
    k, v = torch.randn(2, 2, 2, 900, 64, generator=generator).to(dtype).unbind()
    wants = EVERYTHING | {"map": (50, 60), "map_reduce": POOLS}
    results = []
    for threads in (1, 2, 5):
        with on(instructions, threads):
            out, lse = attend(q, k, v, STREAMING | First(600), engine="native")
            alone = logsumexp(q, k, STREAMING, engine="native")
            seen = observe(q, k, lse, STREAMING, **wants, engine="native")
            results.append([out, lse, alone, *tensors(seen).values(), seen.top_keys])
    for other in results[1:]:
        assert all(same(a, b) for a, b in zip(results[0], other, strict=True))


@each_set
@pytest.mark.parametrize("n_queries", [1, 40, 1100])
def test_many_heads_pass_through_the_memory_of_a_few(instructions, n_queries):
    """While one thread is busy with a head's last unit, others are up to two heads ahead."""
    generator = torch.Generator().manual_seed(5)
    n_heads = 40 if n_queries < 1000 else 12
    q = torch.randn(1, n_heads, n_queries, 16, generator=generator)
    k, v = torch.randn(2, 1, n_heads, 1100, 16, generator=generator).unbind()
    results = []
    for threads in (1, 3, 3, 16):
        with on(instructions, threads):
            out, lse = attend(q, k, v, STREAMING, engine="native")
            seen = observe(q, k, lse, STREAMING, received=True, map=(7, 9), engine="native")
            results.append([out, lse, seen.received, seen.map])
    for other in results[1:]:
        assert all(same(a, b) for a, b in zip(results[0], other, strict=True))


@each_set
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_a_head_alone_gives_the_bits_it_gives_in_company(instructions, dtype):
    generator = torch.Generator().manual_seed(4)
    q, k, v = torch.randn(3, 2, 4, 300, 48, generator=generator).to(dtype).unbind()
    k, v = k[:, :2], v[:, :2]
    with on(instructions):
        out, lse = attend(q, k, v, STREAMING, engine="native")
        for b, h in ((0, 0), (1, 3)):
            kv = slice(h // 2, h // 2 + 1)
            alone = attend(
                q[b : b + 1, h : h + 1], k[b : b + 1, kv], v[b : b + 1, kv], STREAMING, engine="native"
            )
            assert torch.equal(alone[0][0, 0], out[b, h]) and torch.equal(alone[1][0, 0], lse[b, h])


@each_set
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("width", [48, 64])
def test_a_query_gives_the_same_bits_in_any_company(instructions, dtype, width):
    """Of more than 8 queries, or of at most 8: those are decoded, which joins the keys in another order."""
    generator = torch.Generator().manual_seed(5)
    q, k, v = torch.randn(3, 1, 2, 300, width, generator=generator).to(dtype).unbind()
    spans = STREAMING.spans(300)

    def part(first: int, last: int) -> list[torch.Tensor]:
        rows = spans.region(slice(first, last))
        out, lse = attend(q[:, :, first:last], k, v, rows, engine="native")
        return [out, lse, logsumexp(q[:, :, first:last], k, rows, engine="native")]

    with on(instructions):
        whole, few = part(0, 300), part(140, 148)
        for first, last in ((5, 300), (37, 101), (140, 149)):
            assert all(map(torch.equal, part(first, last), [x[:, :, first:last] for x in whole])), (
                first,
                last,
            )
        for first, last in ((140, 141), (142, 148), (147, 148)):
            found = part(first, last)
            assert all(map(torch.equal, found, [x[:, :, first - 140 : last - 140] for x in few])), (
                first,
                last,
            )
            for one, other in zip(found, whole, strict=True):
                assert error(one, other[:, :, first:last]) < TOLERANCE[dtype]
