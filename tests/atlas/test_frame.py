import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lookbehind.atlas.frame import ERROR, EXACT, HEADER, SAMPLED, Frame
from tests.atlas.oracle import same_halves

finite = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False) | st.just(float("nan"))


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=finite))
def test_values_survive_to_float16(values):
    frame = Frame.of(values, signed=True)
    with np.errstate(over="ignore"):
        same_halves(frame.values().astype(np.float64), values.astype(np.float64), steps=0.5001)
    assert np.log2(frame.multiplier) % 1 == 0


def test_small_weights_survive_beside_one_another():
    values = np.array([[3e-12, 1e-9, 2e-20, np.nan]], np.float32)
    frame = Frame.of(values)
    np.testing.assert_allclose(frame.values()[0, :2], values[0, :2], rtol=2**-11)
    assert np.isnan(frame.values()[0, 3])
    assert frame.low == np.float32(2e-20) and frame.high == np.float32(1e-9)


def test_the_range_is_of_what_is_shown():
    values = np.array([[0.0, 0.25, np.nan, 0.5]], np.float32)
    assert (Frame.of(values).low, Frame.of(values).high) == (0.25, 0.5)
    scores = np.array([[-3.0, 0.0, 2.0]], np.float32)
    assert (Frame.of(scores, signed=True).low, Frame.of(scores, signed=True).high) == (-3.0, 2.0)
    nothing = Frame.of(np.full((2, 2), np.nan, np.float32))
    assert (nothing.low, nothing.high, nothing.multiplier) == (0.0, 0.0, 1.0)
    assert np.isnan(nothing.values()).all()


def test_frames_follow_one_another_as_the_contract_says():
    first = Frame.of(np.array([[1.0, 0.5]], np.float32)).sampled()
    data = first.sent(7) + Frame.error("no such tile: é").sent(1)
    assert HEADER.size == 32
    assert HEADER.unpack_from(data) == (7, SAMPLED, 1, 2, 2.0**-14, 0.5, 1.0, 4)
    index, frame, rest = Frame.read(data)
    assert (index, frame) == (7, first)
    assert frame.values().tolist() == [[1.0, 0.5]]
    index, frame, rest = Frame.read(rest)
    assert (index, frame.state, frame.payload.decode(), rest) == (1, ERROR, "no such tile: é", b"")
    assert Frame.of(np.ones((1, 1), np.float32)).state == EXACT
