import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.atlas.charts import Charts
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.sight import padded, sampled_rows
from tests.atlas.oracle import dense, pooled, same_halves, tape

TAPE = tape(83, 101)
CHARTS = Charts(TAPE)
HEADS = [(0, 3), (1, 1), (2, 0), (3, 1), (4, 0), (5, 0)]
LENSES = [
    Lens(),
    Lens("weight", 5),
    Lens("weight", 5, True),
    Lens("enrichment"),
    Lens("enrichment", 4, True),
    Lens("relative"),
    Lens("relative", 3),
    Lens("score"),
    Lens("score", 2),
]
EVERY = slice(0, 83), slice(0, 101)


@pytest.mark.parametrize(("layer", "head"), HEADS)
def test_pixels_are_those_of_the_dense_map_under_every_lens(layer, head):
    for lens in LENSES:
        values = dense(TAPE.layers[layer], head, lens)
        for z in (0, 2, 5):
            found = CHARTS.sight(layer, head, lens).pixels(*EVERY, z, ("mean", "max", "sum"))
            for pool, one in found.items():
                expected = pooled(values, z, pool)
                np.testing.assert_allclose(
                    one, expected, rtol=2e-5, atol=2e-6 * (1 << z if pool == "sum" else 1)
                )


@given(st.integers(0, 6), st.data())
def test_any_region_that_begins_at_pixels_is_exact(z, data):
    side = 1 << z
    first = data.draw(st.integers(0, 82 // side)) * side, data.draw(st.integers(0, 100 // side)) * side
    last = data.draw(st.integers(first[0] + 1, 83)), data.draw(st.integers(first[1] + 1, 101))
    layer, head = data.draw(st.sampled_from(HEADS))
    found = CHARTS.sight(layer, head, Lens()).pixels(
        slice(first[0], last[0]), slice(first[1], last[1]), z, ("max",)
    )
    values = dense(TAPE.layers[layer], head, Lens())[first[0] : last[0], first[1] : last[1]]
    np.testing.assert_allclose(found["max"], pooled(values, z, "max"), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_of_the_tape_does_not_matter(dtype):
    some = tape(40, 40, dtype)
    charts = Charts(some)
    found = charts.sight(0, 0, Lens()).pixels(slice(0, 40), slice(0, 40), 1, ("mean",))["mean"]
    charts.close()
    same_halves(found, pooled(dense(some.layers[0], 0, Lens()), 1, "mean"))


@pytest.mark.parametrize(("layer", "head"), HEADS)
def test_a_sample_of_every_row_is_exact_and_of_one_row_is_that_row(layer, head):
    for lens in LENSES:
        sight = CHARTS.sight(layer, head, lens)
        values = dense(TAPE.layers[layer], head, lens)
        whole = sight.sample(*EVERY, 3, ("max",), most=10**9)["max"]
        if not (lens.of == "score" and layer == 3):  # a shift a row: one row each, whatever is asked
            same_halves(whole, pooled(values, 3, "max"))
        one = sight.sample(*EVERY, 3, ("max",), most=1)["max"]
        rows = sampled_rows(EVERY[0], 3, 1)
        # One row a pixel: pool columns alone.
        expected = np.stack([pooled(np.repeat(values[row : row + 1], 8, 0), 3, "max")[0] for row in rows])
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=2e-6)


def test_sampled_rows_lie_within_their_pixels():
    assert sampled_rows(slice(0, 20), 3, 2).tolist() == [2, 6, 10, 14, 18, 19]
    assert sampled_rows(slice(8, 16), 3, 1).tolist() == [12]


def test_counts_are_products():
    sight = CHARTS.sight(1, 0, Lens("weight", 5))
    shown = (~np.isnan(dense(TAPE.layers[1], 0, Lens("weight", 5)))).astype(float)
    expected = np.nan_to_num(pooled(np.where(shown > 0, 1.0, np.nan), 4, "sum"))
    assert (sight.counts(*EVERY, 4) == expected).all()


def test_cost_counts_products_and_rows_without_a_normaliser():
    charts = Charts(tape(64, 64))
    sight = charts.sight(0, 0, Lens())
    rows = np.arange(64)
    before = sight.cost(rows, slice(0, 32))
    products = sight.spans.region(keys=slice(0, 32)).count()
    assert before == products + 64 * 64 // 2
    sight.above(rows)
    assert sight.cost(rows, slice(0, 32)) == products
    assert charts.sight(0, 0, Lens("relative")).cost(rows, slice(0, 32)) > products
    charts.close()


def test_padding_is_nan():
    found = padded(np.ones((1, 2), np.float32), 2, 3)
    assert np.isnan(found).tolist() == [[False, False, True], [True, True, True]]
