"""What is asked and what is found; where pixels lie, and how many products each holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.engines import observation
from lookbehind.engines.observation import Observation, Wants, pixel_counts, pixel_edges
from lookbehind.pattern import Causal, Diagonal, First
from lookbehind.spans import Spans
from tests.dense import masks


@given(st.integers(1, 200), st.integers(1, 200))
def test_pixels_part_the_axis_evenly(length, pixels):
    pixels = min(length, pixels)
    edges = pixel_edges(length, pixels)
    assert edges[0] == 0 and edges[-1] == length
    assert set(np.diff(edges)) <= {length // pixels, -(-length // pixels)}


@given(masks(), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 12, 1 << 18]))
def test_counts_are_the_sums_of_the_mask(mask, rows, columns, at_once):
    rows, columns = min(rows, mask.shape[0]), min(columns, mask.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation, "_COUNTED", at_once)  # a row of pixels at a time, or several
        counts = pixel_counts(Spans.from_mask(mask), rows, columns)
    down, across = pixel_edges(mask.shape[0], rows), pixel_edges(mask.shape[1], columns)
    for r in range(rows):
        for c in range(columns):
            assert counts[r, c] == mask[down[r] : down[r + 1], across[c] : across[c + 1]].sum()


def test_counts_of_a_long_triangle():
    counts = pixel_counts(Causal().spans(10**6), 512, 512)
    assert counts.sum() == 10**6 * (10**6 + 1) // 2
    assert (np.triu(counts, 1) == 0).all()


def test_an_observation_says_what_is_in_it():
    zeros = torch.zeros(1, 2, 3)
    seen = Observation(entropy=zeros, mass={"sink": zeros})
    assert repr(seen) == "<Observation: entropy [1, 2, 3]; mass of sink>"
    assert seen.map is None
    maps = Observation(maps={"max": zeros, "mean": zeros + 1})
    assert maps.map is zeros and repr(maps) == "<Observation: maps of max, mean>"
    assert repr(Observation()) == "<Observation: nothing was asked>"


def test_only_a_mass_can_leave_other_products_alone():
    every = Causal().spans(4)
    sink, own = First(1).spans(4) & every, Diagonal(0).spans(4)
    alone = Wants(mass={"sink": sink, "own": own})
    assert alone.walked(every) == sink | own
    for more in ({"map": (2, 2)}, {"top": 1}, {"entropy": True}):
        assert replace(alone, **more).walked(every) is every
    assert Wants().walked(every) is every
