"""The compiled functions, called past all checks: what is wrong is refused, and no memory touched."""

import math

import numpy as np
import pytest
import torch

from lookbehind.attention import attend
from lookbehind.engines import native
from lookbehind.pattern import Causal
from tests.engines.cases import error


def arguments() -> dict:
    """A right call of _native.attend; the tests below break one thing each."""
    q = torch.randn(1, 4, 6, 8)
    k, v = torch.randn(2, 1, 2, 7, 8).unbind()
    spans = Causal().spans(6, 7)
    return {
        "q": q,
        "k": k,
        "v": v,
        "out": torch.full((1, 4, 6, 8), 7.0),
        "lse": torch.full((1, 4, 6), 7.0),
        "spans": (spans.row_ptr, spans.starts, spans.stops, spans.offset),
        "scale": 1.0,
        "softcap": 0.0,
        "sinks": None,
        "alibi": None,
        "threads": 2,
        "set": "",
    }


def spans(row_ptr, starts, stops, offset=1):
    return (*(np.array(one, dtype=np.int64) for one in (row_ptr, starts, stops)), offset)


ONES = [0, 1, 2, 3, 4, 5, 6]  # one interval a row
WRONG = {
    "q of float64": {"q": torch.zeros(1, 4, 6, 8, dtype=torch.float64)},
    "q of integers": {"q": torch.zeros(1, 4, 6, 8, dtype=torch.int32)},
    "k of another type": {"k": torch.zeros(1, 2, 7, 8, dtype=torch.bfloat16)},
    "q of three axes": {"q": torch.zeros(4, 6, 8)},
    "a stride of 2": {"k": torch.zeros(1, 2, 7, 16)[..., ::2]},
    "kv heads that do not divide": {"k": torch.zeros(1, 3, 7, 8), "v": torch.zeros(1, 3, 7, 8)},
    "no kv heads": {"k": torch.zeros(1, 0, 7, 8), "v": torch.zeros(1, 0, 7, 8)},
    "another batch": {"k": torch.zeros(2, 2, 7, 8)},
    "k of another width": {"k": torch.zeros(1, 2, 7, 9)},
    "v of another length": {"v": torch.zeros(1, 2, 6, 8)},
    "v of other heads": {"v": torch.zeros(1, 1, 7, 8)},
    "out too small": {"out": torch.zeros(1, 4, 5, 8)},
    "out of another type": {"out": torch.zeros(1, 4, 6, 8, dtype=torch.bfloat16)},
    "out whose rows lie on one another": {"out": torch.zeros(1, 4, 1, 8).expand(1, 4, 6, 8)},
    "lse too small": {"lse": torch.zeros(1, 4, 5)},
    "lse not contiguous": {"lse": torch.zeros(1, 6, 4).transpose(1, 2)},
    "lse of float64": {"lse": torch.zeros(1, 4, 6, dtype=torch.float64)},
    "sinks of another count": {"sinks": torch.zeros(3)},
    "alibi of float64": {"alibi": torch.zeros(4, dtype=torch.float64)},
    "too few row pointers": {"spans": spans([0, 1, 2], [0, 1], [1, 2])},
    "row pointers of another type": {"spans": (np.zeros(7, np.int32), np.zeros(0, int), np.zeros(0, int), 1)},
    "fewer stops than starts": {"spans": spans(ONES, [0] * 6, [1] * 5)},
    "row pointers that descend": {"spans": spans([0, 2, 1, 3, 4, 5, 6], [0] * 6, [1] * 6)},
    "row pointers that begin at 1": {"spans": spans([1, 1, 2, 3, 4, 5, 6], [0] * 6, [1] * 6)},
    "row pointers that pass the end": {"spans": spans([0, 1, 2, 3, 4, 5, 9], [0] * 6, [1] * 6)},
    "row pointers out of the world": {"spans": spans([0, 1, 2, 2**40, 4, 5, 6], [0] * 6, [1] * 6)},
    "a start before the first key": {"spans": spans(ONES, [-1, 0, 0, 0, 0, 0], [1] * 6)},
    "a stop past the last key": {"spans": spans(ONES, [0] * 6, [1, 1, 1, 8, 1, 1])},
    "an interval that is empty": {"spans": spans(ONES, [1] * 6, [1, 2, 2, 2, 2, 2])},
    "an interval turned round": {"spans": spans(ONES, [5, 0, 0, 0, 0, 0], [2, 1, 1, 1, 1, 1])},
    "intervals that descend": {"spans": spans([0, 2, 2, 2, 2, 2, 2], [4, 0], [5, 1])},
    "intervals that overlap": {"spans": spans([0, 2, 2, 2, 2, 2, 2], [0, 2], [3, 5])},
    "intervals that touch": {"spans": spans([0, 2, 2, 2, 2, 2, 2], [0, 3], [3, 5])},
    "spans that are no arrays": {"spans": ([0] * 7, [], [], 1)},
    "spans of three parts": {"spans": spans([0] * 7, [], [])[:3]},
    "an offset of 80 bits": {"spans": spans([0] * 7, [], [], 2**80)},
    "an offset no sum survives": {"spans": spans(ONES, [0] * 6, [1] * 6, 2**63 - 1)},
    "a scale that is no number": {"scale": math.nan},
    "a softcap below 0": {"softcap": -1.0},
    "no threads": {"threads": 0},
    "a set that is not here": {"set": "sve9"},
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_before_memory_is_touched(what):
    given = arguments() | WRONG[what]
    before = {name: given[name].clone() for name in ("out", "lse")}
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        native._native.attend(**given)
    assert len(str(refused.value)) > 15
    assert torch.equal(given["out"], before["out"]) and torch.equal(given["lse"], before["lse"])


def test_the_right_call_is_right():
    given = arguments()
    native._native.attend(**given)
    spans = Causal().spans(6, 7)
    out, _ = attend(given["q"], given["k"], given["v"], spans, scale=1.0, engine="reference")
    assert error(given["out"], out) < 1e-5


def test_sizes_beyond_32_bits_are_refused():
    """A stride of 0 makes it long without memory."""
    long = torch.zeros(1, 1, 1, 1).expand(1, 1, 2**31, 1)
    one = torch.zeros(1, 1, 1, 1)
    given = arguments() | {"q": one, "k": long, "v": long, "out": one.clone(), "lse": torch.zeros(1, 1, 1)}
    given["spans"] = spans([0, 1], [2**31 - 2], [2**31])
    with pytest.raises(
        ValueError, match=r"^k: each size must lie in 0 to 2147483647; got \[1, 1, 2147483648, 1\]$"
    ):
        native._native.attend(**given)


MEASURED = {
    "a reduction that is not there": ({"colour": torch.zeros(1, 4, 6)}, []),
    "received too short": ({"received": torch.zeros(1, 4, 6)}, []),
    "entropy of float64": ({"entropy": torch.zeros(1, 4, 6, dtype=torch.float64)}, []),
    "weights without their keys": ({"top_weights": torch.zeros(1, 4, 6, 2)}, []),
    "keys of another count": (
        {"top_weights": torch.zeros(1, 4, 6, 2), "top_keys": torch.zeros(1, 4, 6, 3, dtype=torch.int64)},
        [],
    ),
    "too few distances": ({"by_distance": torch.zeros(1, 4, 3)}, []),
    "a map of more rows than queries": ({"map_sum": torch.zeros(1, 4, 9, 2)}, []),
    "maps of two sizes": ({"map_sum": torch.zeros(1, 4, 2, 2), "map_max": torch.zeros(1, 4, 3, 2)}, []),
    "a mass of lying spans": ({}, [(spans(ONES, [0] * 6, [99] * 6), torch.zeros(1, 4, 6))]),
    "a mass that is no pair": ({}, [torch.zeros(1, 4, 6)]),
    "a mass beyond the spans": ({}, [(spans(ONES, [6] * 6, [7] * 6), torch.zeros(1, 4, 6))]),
}


@pytest.mark.parametrize("what", MEASURED)
def test_wrong_wants_are_refused(what):
    given = arguments()
    for name in ("v", "out"):
        given.pop(name)
    wants, masses = MEASURED[what]
    with pytest.raises(ValueError, match=r"^[^\n]{10,}$"):
        native._native.observe(**given, wants=wants, masses=masses, map_of_scores=False)
