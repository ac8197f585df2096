"""The compiled extension (native/bindings.cpp). lookbehind.engines.native is its one user.

Arrays are anything with DLPack or the buffer protocol, on the CPU, and are never copied: q, k, v and out are
[B, H, L, D] with stride 1 on the last axis; all others are contiguous. `spans` is (row_ptr, starts, stops,
offset) with int64 arrays. `set` forces an instruction set by name; "" takes the best that this machine runs.

Raises:
    ValueError: an array or the call is wrong; no memory was touched.
"""

from typing import Any

_Array = Any
_Spans = tuple[_Array, _Array, _Array, int]

def attend(
    *,
    q: _Array,
    k: _Array,
    v: _Array,
    out: _Array,
    lse: _Array,
    spans: _Spans,
    scale: float,
    softcap: float,
    sinks: _Array | None,
    alibi: _Array | None,
    threads: int,
    set: str,
) -> None:
    """Write the output [B, Hq, Lq, Dv], of q's type, and lse [B, Hq, Lq], float32. A softcap of 0 is none."""

def logsumexp(
    *,
    q: _Array,
    k: _Array,
    lse: _Array,
    spans: _Spans,
    scale: float,
    softcap: float,
    sinks: _Array | None,
    alibi: _Array | None,
    threads: int,
    set: str,
) -> None:
    """Write lse alone."""

def observe(
    *,
    q: _Array,
    k: _Array,
    lse: _Array,
    wants: dict[str, _Array],
    masses: list[tuple[_Spans, _Array]],
    map_of_scores: bool,
    spans: _Spans,
    scale: float,
    softcap: float,
    sinks: _Array | None,
    alibi: _Array | None,
    threads: int,
    set: str,
) -> None:
    """Write each array of `wants`: received, entropy, top_weights and top_keys, max_score, distance,
    by_distance, map_mean, map_sum, map_max; and the mass of each row on other spans, which lie within
    `spans`.
    """

def sets() -> list[str]:
    """The instruction sets that this machine runs, best first."""

def compiled_sets() -> list[str]:
    """The instruction sets compiled in."""

def peak_flops(type: str, set: str, seconds: float) -> float:
    """Operations a second that one core can multiply and add in registers; of "float32" or "bfloat16"."""

def copy_bandwidth(bytes: int, threads: int, seconds: float) -> float:
    """Bytes read plus written a second, by copying."""
