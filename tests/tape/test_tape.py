"""What a tape answers: exact rows, regions and maps, and one clear line where it cannot."""

import pytest
import torch

import lookbehind as lb
from lookbehind.tape import Layer, Tape
from lookbehind.tape.tape import join
from tests.tapes import tape as random_tape

G = torch.Generator().manual_seed(0)


def layer(n=10, n_keys=None, pattern="causal & window(4)", dtype=torch.float32, **options):
    n_keys = n_keys or n
    q = (torch.randn(4, n, 8, generator=G) * 2).to(dtype)
    k = torch.randn(2, n_keys, 8, generator=G).to(dtype)
    return Layer("layers.0", q, k, lb.parse(pattern).spans(n, n_keys), 0.3, **options)


def plain(one):
    """Weights the plain way, in float64."""
    q, k = one.q.double(), one.k.double().repeat_interleave(2, 0)
    s = q @ k.mT * one.scale
    if one.softcap is not None:
        s = one.softcap * torch.tanh(s / one.softcap)
    if one.alibi is not None:
        i = torch.arange(q.shape[1])[:, None] + one.spans.offset
        s = s + one.alibi.double()[:, None, None] * (torch.arange(k.shape[1]) - i)
    s = s.masked_fill(~torch.from_numpy(one.spans.mask()), -torch.inf)
    if one.sinks is not None:
        s = torch.cat([s, one.sinks.double()[:, None, None].expand(-1, s.shape[1], 1)], 2)
        return s.softmax(-1)[..., :-1]
    return s.softmax(-1).nan_to_num(0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"softcap": 2.0},
        {"sinks": torch.tensor([0.0, 1.0, 2.0, -1.0])},
        {"alibi": torch.tensor([0.5, 0.25, 0.1, 0.0])},
        {"n_keys": 14},
        {"pattern": "causal & ~first(3)"},
    ],
    ids=lambda options: next(iter(options), "plain"),
)
def test_weights_scores_and_regions_are_exact(options, dtype):
    one = layer(dtype=dtype, **options)
    if one.sinks is not None:
        one.sinks = one.sinks.to(one.scores().dtype)
    tape, expected = Tape([one]), plain(one)
    for rows, columns in ((slice(None), slice(None)), (slice(2, 7), slice(1, 6)), (slice(3, 4), slice(None))):
        fresh = Tape(
            [Layer(**{**vars(one), "known_lse": None})]
        )  # a region alone, before any whole lse is known
        for head in range(4):
            region = expected[head, rows, columns]
            for each in (fresh, tape):
                found = each.weights(0, head, queries=rows, keys=columns)
                torch.testing.assert_close(found.double(), region, atol=1e-6, rtol=1e-5)
            scores = tape.scores(0, head, queries=rows, keys=columns)
            allowed = torch.from_numpy(one.spans.mask()[rows, columns])
            assert torch.equal(~scores.isnan(), allowed)
            lse = one.lse[head, rows, None]
            torch.testing.assert_close((scores - lse).exp()[allowed], found[allowed])
    torch.testing.assert_close(tape.weights(0, 1, 5), tape.weights(0, 1)[5])
    torch.testing.assert_close(tape.scores(0, 1, -1), tape.scores(0, 1)[-1], equal_nan=True)


def test_a_weight_that_is_no_number_is_not_taken_for_none():
    one = layer()
    one.q[0, 2] = torch.nan
    weights = Tape([one]).weights(0, 0)
    assert torch.equal(weights[2].isnan(), torch.from_numpy(one.spans.mask()[2]))
    assert weights[torch.arange(10) != 2].isfinite().all()


def test_weights_are_exact_whatever_pytorch_rounds_elsewhere():
    one = layer()
    one.q.requires_grad_()
    expected = plain(one)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            weights = one.weights()
    finally:
        torch.set_float32_matmul_precision(before)
    assert not weights.requires_grad and not one.scores().requires_grad
    torch.testing.assert_close(weights.double(), expected.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("reduce", ["mean", "max", "sum"])
def test_a_map_pools_the_products_of_its_region(reduce):
    one = layer(12)
    tape = Tape([one])
    rows, columns = slice(3, 11), slice(2, 10)
    found = tape.map(0, 2, (4, 2), reduce, queries=rows, keys=columns)
    weights = plain(one)[2, rows, columns]
    allowed = torch.from_numpy(one.spans.mask()[rows, columns])
    for r in range(4):
        for c in range(2):
            pixel = (slice(2 * r, 2 * r + 2), slice(4 * c, 4 * c + 4))
            inside = weights[pixel][allowed[pixel]]
            if len(inside) == 0:
                assert found[r, c].isnan()
            else:
                expected = {"mean": inside.mean(), "max": inside.max(), "sum": inside.sum()}[reduce]
                assert float(found[r, c]) == pytest.approx(float(expected), rel=1e-5)
    scores = tape.map(0, 2, (8, 8), reduce, of="score", queries=rows, keys=columns)
    torch.testing.assert_close(scores, tape.scores(0, 2, queries=rows, keys=columns), equal_nan=True)
    torch.testing.assert_close(
        tape.map(0, -2, (4, 2), reduce, queries=rows, keys=columns), found, equal_nan=True
    )
    assert tape.map(0, 0, 512).shape == (12, 12)
    assert tape.map(0, 0, 5).shape == (5, 5)


def test_observe_gives_results_without_the_batch_axis():
    tape = random_tape(12)
    seen = tape.observe(1, received=True, top=2, mass={"sink": lb.First(1)})
    assert (seen.received.shape, seen.visible.shape, seen.top_keys.shape) == ((2, 12), (12,), (2, 12, 2))
    assert seen.mass["sink"].shape == (2, 12) and seen.entropy is None
    maps = tape.observe(1, map=(3, 4), map_reduce=("max", "mean"), map_of="score").maps
    assert {name: one.shape for name, one in maps.items()} == {"max": (2, 3, 4), "mean": (2, 3, 4)}
    torch.testing.assert_close(seen.received[0], tape.weights(1, 0).sum(0))


def test_one_clear_line_where_there_is_nothing():
    tape = random_tape(12)
    for call, said in [
        (lambda: tape.layer(2), "layer 2: there are 2, 0 to 1"),
        (lambda: tape.weights(0, 2, 0), "head 2: there are 2, 0 to 1"),
        (lambda: tape.weights(0, 0, 12), "query 12: there are 12, 0 to 11"),
        (lambda: tape.weights(0, 0, -13), "query -13: there are 12, 0 to 11"),
        (lambda: tape.weights(0, "a", 0), "head: a whole number is needed; got 'a'"),
        (lambda: tape.map(0, 5), "head 5: there are 2, 0 to 1"),
        (lambda: tape.observe(-3), "layer -3: there are 2, 0 to 1"),
        (lambda: tape.weights(0, 0, 1, queries=slice(2)), "give one query or a slice of queries, not both"),
        (
            lambda: tape.weights(0, 0, keys=slice(0, 9, 2)),
            "keys: a slice of whole numbers with a step of 1 is",
        ),
        (
            lambda: tape.weights(0, 0, queries=3),
            "queries: a slice of whole numbers with a step of 1 is needed; got 3",
        ),
        (lambda: tape.weights(0, 0, int), "query: a whole number is needed; got <class 'int'>"),
        (lambda: tape.map(0, 0, None), "map: .*got .None, None."),
        (lambda: tape.to("nowhere"), "device: 'nowhere' is none here"),
        (lambda: tape.save(5), "save: a path is needed; got 5"),
        (lambda: tape.export(None), "export: a path is needed; got None"),
        (lambda: lb.load(5), "load: a path is needed; got 5"),
        (lambda: lb.load("a\0b"), r"load: a path is needed; got 'a\\x00b'"),
        (lambda: tape.heads().top(1.5), "top: a whole number is needed; got 1.5"),
        (lambda: Tape([]).layer(0), "layer 0: there are 0$"),
        (lambda: tape.map(0, 0, 0), "map: .*got .0, 0."),
        (lambda: tape.map(0, 0, 4, "median"), "median"),
        (lambda: tape.map(0, 0, 4, of="logits"), "map_of: 'logits' is none of weight, score"),
    ]:
        with pytest.raises(lb.InputError, match=said):
            call()


def test_too_many_dense_weights_are_refused():
    n = 20_000
    one = Layer("a", torch.zeros(1, n, 1), torch.zeros(1, n, 1), lb.Causal().spans(n), 1.0)
    with pytest.raises(lb.InputError, match=r"20,000 x 20,000 dense weights are too many to hold; narrow"):
        Tape([one]).weights(0, 0)
    assert float(Tape([one]).weights(0, 0, n - 1)[0]) == pytest.approx(1 / n)


def test_reprs_say_what_there_is():
    tape = random_tape(12)
    for steps, said in (([10, 1, 1], "10 + 2 steps"), ([11, 1], "11 + 1 steps"), ([12], "one forward")):
        tape.steps = steps
        assert repr(tape) == f"<Tape: 2 layers x 2 heads, 12 queries x 12 keys ({said}), random>"
    assert repr(tape.layer(1)) == (
        "<Layer layers.1: 2 heads on 1 kv heads, 12 queries x 12 keys, causal & window(4)>"
    )
    assert repr(Tape([])) == "<Tape: 0 layers x 0 heads, 0 queries x 0 keys (one forward)>"


def test_to_moves_every_tensor():
    tape = Tape([layer(sinks=torch.zeros(4), alibi=torch.ones(4))])
    _ = tape.layer(0).lse
    moved = tape.to("meta").layer(0)
    assert all(getattr(moved, name).is_meta for name in ("q", "k", "sinks", "alibi", "known_lse"))


def test_join_numbers_keys_absolutely():
    whole = layer(6, pattern="causal")
    pieces = [
        [
            Layer(
                "layers.0",
                whole.q[:, first:last],
                whole.k[:, first:last],
                lb.Causal().spans(last - first, last),
                0.3,
            )
        ]
        for first, last in ((0, 3), (3, 4), (4, 6))
    ]
    (joined,) = join(pieces)
    assert joined.spans == whole.spans
    assert torch.equal(joined.q, whole.q) and torch.equal(joined.k, whole.k)
