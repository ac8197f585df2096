"""Attention, its lse, and reductions of its weights, for any pattern.

Each call is validated once, turned into a `Problem`, and handed to an engine (`lookbehind.engines`).
Inference only: nothing is recorded for autograd, and results do not require grad.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, overload

import torch

from lookbehind import checks
from lookbehind.engines import choose
from lookbehind.engines.observation import QUANTITIES, REDUCES, Observation, Wants
from lookbehind.engines.problem import Problem
from lookbehind.errors import InputError
from lookbehind.grammar import parse
from lookbehind.pattern import Pattern
from lookbehind.spans import Spans

_MOST_TOP = 2**31 - 1
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@torch.no_grad()
def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    pattern: Pattern | Spans | str,
    *,
    offset: int | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    alibi: torch.Tensor | None = None,
    engine: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention over the products that `pattern` allows, and its log normaliser.

    Args:
        q: [B, Hq, Lq, D], float64, float32, bfloat16 or float16; any strides.
        k: [B, Hkv, Lk, D], same dtype and device; query head h reads kv head h // (Hq // Hkv).
        v: [B, Hkv, Lk, Dv].
        pattern: a Pattern, its text, or Spans of Lq queries and Lk keys.
        offset: position of query row 0; Lk - Lq unless given (the queries are the last positions).
        scale: s_ij = scale * q_i.k_j; D ** -0.5 unless given.
        softcap: c > 0 for s = c * tanh(s / c) (Gemma 2).
        sinks: [Hq], one more logit per head in every softmax, without a key (gpt-oss).
        alibi: [Hq] slopes, s += slope * (j - i) with absolute positions (Press et al., arXiv:2108.12409).
        engine: "auto", or the name of one; a name never falls back to another.

    Returns:
        out [B, Hq, Lq, Dv] in q's dtype, and lse [B, Hq, Lq]: natural log of the sum of exp(s_ij), sinks
        included, float32 (float64 for float64 inputs), contiguous. A query without any key has output 0 and
        lse -inf, sinks or not.

    Raises:
        InputError: an argument is wrong, or the call is being traced; nothing was computed.
        EngineError: the engine named cannot run this call here.
    """
    problem = _problem(q, k, v, pattern, offset, scale, softcap, sinks, alibi)
    if problem.v is None:  # it alone may be that there
        _tensor("v", v)
    return choose(problem, engine).attend(problem)


@torch.no_grad()
def logsumexp(
    q: torch.Tensor,
    k: torch.Tensor,
    pattern: Pattern | Spans | str,
    *,
    offset: int | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    alibi: torch.Tensor | None = None,
    engine: str = "auto",
) -> torch.Tensor:
    """The lse of `attend` [B, Hq, Lq] without its output. Arguments and errors as there.

    For half types it is more exact than the lse that `attend` may have from a fused kernel: all is float32.
    """
    problem = _problem(q, k, None, pattern, offset, scale, softcap, sinks, alibi)
    return choose(problem, engine).logsumexp(problem)


@torch.no_grad()
def observe(
    q: torch.Tensor,
    k: torch.Tensor,
    lse: torch.Tensor,
    pattern: Pattern | Spans | str,
    *,
    offset: int | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    alibi: torch.Tensor | None = None,
    received: bool = False,
    entropy: bool = False,
    top: int = 0,
    max_score: bool = False,
    distance: bool = False,
    by_distance: bool = False,
    mass: Mapping[str, Pattern | Spans | str] | None = None,
    map: tuple[int, int] | None = None,
    map_reduce: str | Sequence[str] = "mean",
    map_of: str = "weight",
    engine: str = "auto",
) -> Observation:
    """Reduce the weights p_ij = exp(s_ij - lse_i) in one pass over the products, without storing them.

    The first arguments are those of `attend`; `lse` [B, Hq, Lq], float32 or float64, is what it returned for
    them (sinks count through it). Only what is asked for is paid for; `Observation` defines each.

    Args:
        q, k, lse, pattern, offset, scale, softcap, sinks, alibi, engine: as for `attend`.
        received: mass each key receives, and how many queries could read it.
        entropy: of each query's weights, in nats.
        top: how many of each query's largest weights, with their keys.
        max_score: the largest score of each head.
        distance: each query's expected |i - j|.
        by_distance: each head's mass at each |i - j|.
        mass: patterns by name; each query's mass on the products that both they and `pattern` allow.
        map: (rows, columns) of a pooled map, cut down to (Lq, Lk). A region of it is the same call on
            q[..., rows, :], k[..., keys, :], lse[..., rows] and spans.region(rows, keys).
        map_reduce: "mean", "max" or "sum" over the computed products of a pixel, or several of them: each is
            one of `maps`, all from the same pass.
        map_of: "weight", or "score" to pool s_ij (after softcap and ALiBi; lse does not enter).

    Raises:
        InputError: an argument is wrong, or the call is being traced; nothing was computed.
        EngineError: the engine named cannot run this call here.
    """
    problem = _problem(q, k, None, pattern, offset, scale, softcap, sinks, alibi)
    _tensor("lse", lse)
    expected = q.shape[:3]
    if lse.shape != expected or lse.dtype not in (torch.float32, torch.float64) or lse.device != q.device:
        raise InputError(
            f"lse: float32 or float64 {list(expected)} on {q.device} is needed, as attend() returns it; "
            f"got {_name(lse.dtype)} {list(lse.shape)} on {lse.device}"
        )
    top = checks.whole("top", top, 0, _MOST_TOP)
    if map_of not in QUANTITIES:
        raise InputError(f"map_of: {map_of!r} is none of {', '.join(QUANTITIES)}")
    wants = Wants(
        received=_flag("received", received),
        entropy=_flag("entropy", entropy),
        top=top,
        max_score=_flag("max_score", max_score),
        distance=_flag("distance", distance),
        by_distance=_flag("by_distance", by_distance),
        mass={} if mass is None else _masses(mass, problem.spans),
        map=None if map is None else _size(map, problem),
        map_reduces=_reduces(map_reduce),
        map_of=map_of,
    )
    with _within_memory():
        seen = choose(problem, engine, wants).observe(problem, lse.detach().resolve_neg(), wants)
    if seen.entropy is not None:
        # A weight that rounding brought above 1 would leave less than nothing; and -0 is 0.
        seen.entropy.clamp_(min=0.0).abs_()
    return seen


def _problem(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor | None,
    pattern: Pattern | Spans | str,
    offset: int | None,
    scale: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
    alibi: torch.Tensor | None,
) -> Problem:
    _refuse_tracing()
    _check_query(q)
    _check_beside(q, "k", "keys", k)
    if k.shape[3] != q.shape[3]:
        raise InputError(
            f"keys: width {k.shape[3]} does not fit queries of width {q.shape[3]}; they must be equal"
        )
    if v is not None:
        _check_beside(q, "v", "values", v)
        if v.shape[1:3] != k.shape[1:3]:
            raise InputError(
                f"values: {v.shape[1]} heads x {v.shape[2]} positions do not fit keys of "
                f"{k.shape[1]} x {k.shape[2]}; they must be equal"
            )
    factor = 1 / math.sqrt(q.shape[3]) if scale is None else _number("scale", scale)
    _check_range(q, "scale", factor)
    if softcap is not None:
        softcap = _number("softcap", softcap)
        if softcap <= 0:
            raise InputError(f"softcap: a number above 0 is needed, or None for no cap; got {softcap:g}")
        _check_range(q, "softcap", softcap)
        _check_range(q, "scale / softcap", factor / softcap)
    for name, one in (("sinks", sinks), ("alibi", alibi)):
        if one is not None:
            _check_per_head(q, name, one)
    spans = _spans("pattern", pattern, q.shape[2], k.shape[2], offset)
    return Problem(_plain(q), _plain(k), _plain(v), spans, factor, softcap, _plain(sinks), _plain(alibi))


@overload
def _plain(x: torch.Tensor) -> torch.Tensor: ...
@overload
def _plain(x: torch.Tensor | None) -> torch.Tensor | None: ...
def _plain(x: torch.Tensor | None) -> torch.Tensor | None:
    # Who reads memory does not see the bit by which PyTorch puts off a change of sign.
    return None if x is None else x.detach().resolve_neg()


def _check_query(q: torch.Tensor) -> None:
    _tensor("q", q)
    if q.ndim != 4:
        raise InputError(f"q: [B, Hq, Lq, D] is needed; got {q.ndim} axes, {list(q.shape)}{_hint(q)}")
    if q.dtype not in _DTYPES:
        raise InputError(
            f"q: {_name(q.dtype)} cannot be attended; use {', '.join(_name(d) for d in _DTYPES)}"
        )
    if q.shape[1] == 0 or q.shape[3] == 0:
        raise InputError(f"q: at least one head of width at least 1 is needed; got {list(q.shape)}")


def _check_beside(q: torch.Tensor, name: str, noun: str, x: torch.Tensor) -> None:
    _tensor(name, x)
    if x.ndim != 4:
        raise InputError(f"{noun}: [B, Hkv, Lk, D] is needed; got {x.ndim} axes, {list(x.shape)}{_hint(x)}")
    if x.dtype != q.dtype or x.device != q.device:
        raise InputError(
            f"{noun}: {_name(x.dtype)} on {x.device} does not fit queries of {_name(q.dtype)} on {q.device}; "
            f"convert one with .to()"
        )
    if x.shape[0] != q.shape[0]:
        raise InputError(
            f"{noun}: a batch of {x.shape[0]} does not fit {q.shape[0]} of queries; they must be equal"
        )
    if x.shape[1] == 0 or q.shape[1] % x.shape[1]:
        raise InputError(
            f"{noun}: {x.shape[1]} kv heads cannot serve {q.shape[1]} query heads; "
            f"{q.shape[1]} must be a multiple of {x.shape[1]}"
        )


def _check_per_head(q: torch.Tensor, name: str, x: torch.Tensor) -> None:
    _tensor(name, x)
    if x.shape != q.shape[1:2] or not x.is_floating_point() or x.device != q.device:
        raise InputError(
            f"{name}: one floating-point number for each of {q.shape[1]} heads on {q.device} is needed; "
            f"got {_name(x.dtype)} {list(x.shape)} on {x.device}"
        )
    if x.dtype == torch.float64 and q.dtype != torch.float64 and bool((x.float().isinf() & ~x.isinf()).any()):
        raise InputError(
            f"{name}: {float(x.abs().max()):.3g} is out of the range of float32, in which {_name(q.dtype)} "
            "is computed; use smaller ones, or float64"
        )


def _tensor(name: str, x: object) -> None:
    if not isinstance(x, torch.Tensor):
        kind = f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.")
        hint = "; use torch.from_numpy()" if kind.startswith("numpy") else ""
        raise InputError(f"{name}: a torch tensor is needed; got {kind}{hint}")
    if x.layout != torch.strided or x.is_nested:
        sparse = "a sparse one" if "sparse" in str(x.layout) else f"one of {x.layout}"
        raise InputError(f"{name}: a dense tensor is needed; got {'a nested one' if x.is_nested else sparse}")
    plain: Any = torch.Tensor
    if getattr(type(x), "__torch_dispatch__", None) is not plain.__torch_dispatch__:
        kind = type(x).__name__
        raise InputError(f"{name}: a tensor that holds its own numbers is needed; got {kind}")
    try:
        held = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
        reach = sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True))
        functional: bool = torch._is_functional_tensor(x)  # pyright: ignore
        numbers = not functional and (x.numel() == 0 or reach < held)
    except (NotImplementedError, RuntimeError):
        numbers = False
    if not numbers:
        raise InputError(
            f"{name}: a tensor that holds numbers is needed; inside vmap, grad and the like it does not, nor "
            "where its storage was freed"
        )


def _refuse_tracing() -> None:
    # What traces PyTorch's operations does not see an engine write: it would keep outputs that nothing fills.
    maker: Any = sys.modules.get("torch.fx.experimental.proxy_tensor")  # loaded by who traces with it
    scripted: bool = torch.jit.is_tracing()  # pyright: ignore
    if scripted or (maker is not None and maker.get_proxy_mode() is not None):
        raise InputError(
            "attend, observe: they cannot be traced, as jit.trace, make_fx and torch.export do; call them "
            "outside, or under torch.compile, which leaves them out"
        )


@contextmanager
def _within_memory() -> Generator[None]:
    """What the memory of the CPU does not hold is said in words; where it is a card's, PyTorch says it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        words = ("can't allocate memory", "Storage size calculation overflowed")
        if not isinstance(error, MemoryError) and not any(one in str(error) for one in words):
            raise
        raise InputError("observe: the result takes more memory than there is; ask for less of it") from error


def _flag(name: str, value: object) -> bool:
    try:
        return bool(value)
    except Exception:
        raise InputError(f"{name}: True or False is needed; got {checks.shown(value)}") from None


def _number(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name}: a finite number is needed; got {checks.shown(value)}")
    return number


def _check_range(q: torch.Tensor, name: str, value: float) -> None:
    # What float32 takes for 0 or infinity would cap, or scale, to something else than was asked.
    least, most = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
    if q.dtype != torch.float64 and value != 0 and not least <= abs(value) <= most:
        raise InputError(
            f"{name}: {value:.3g} is out of the range of float32, in which {_name(q.dtype)} is computed; "
            f"use {least:.1e} to {most:.1e}, or float64"
        )


def _spans(
    name: str, pattern: Pattern | Spans | str, n_queries: int, n_keys: int, offset: int | None
) -> Spans:
    if isinstance(pattern, str):
        pattern = parse(pattern)
    offset = None if offset is None else checks.whole("offset", offset)
    if isinstance(pattern, Pattern):
        return pattern.spans(n_queries, n_keys, offset)
    if not isinstance(pattern, Spans):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"{name}: a Pattern, its text or Spans is needed; got {type(pattern).__name__}"
            + ("; use Spans.from_mask()" if hasattr(pattern, "shape") else "")
        )
    if (pattern.n_queries, pattern.n_keys) != (n_queries, n_keys):
        raise InputError(
            f"{name}: spans of {pattern.n_queries} queries x {pattern.n_keys} keys do not fit "
            f"{n_queries} x {n_keys}; make them for these lengths"
        )
    if offset is not None and offset != pattern.offset:
        raise InputError(
            f"offset: {offset} contradicts the spans, whose first query is at {pattern.offset}; leave it out"
        )
    return pattern


def _masses(mass: Mapping[str, Pattern | Spans | str], problem: Spans) -> dict[str, Spans]:
    if not isinstance(mass, Mapping) or not all(isinstance(name, str) for name in mass):  # pyright: ignore
        raise InputError(
            f"mass: patterns by name are needed, as in {{'sink': 'first(1)'}}; got {checks.shown(mass)}"
        )
    found: dict[str, Spans] = {}
    for name, one in mass.items():
        offset = None if isinstance(one, Spans) else problem.offset
        spans = _spans(f"mass {name!r}", one, problem.n_queries, problem.n_keys, offset)
        if spans.offset != problem.offset:
            raise InputError(
                f"mass {name!r}: spans whose first query is at {spans.offset} do not fit a pattern whose "
                f"first query is at {problem.offset}; make them at that offset"
            )
        found[name] = spans & problem
    return found


def _size(size: tuple[int, int], problem: Problem) -> tuple[int, int]:
    sides = [checks.integer(side) or 0 for side in size] if isinstance(size, (tuple, list)) else []
    if len(sides) != 2 or min(sides) < 1:
        raise InputError(
            f"map: (rows, columns), two whole numbers of at least 1, is needed; got {checks.shown(size)}"
        )
    return min(sides[0], problem.n_queries), min(sides[1], problem.n_keys)


def _reduces(reduces: str | Sequence[str]) -> tuple[str, ...]:
    several = (reduces,) if isinstance(reduces, str) else reduces
    if not isinstance(several, (tuple, list)) or not several:
        raise InputError(
            f"map_reduce: one or several of {', '.join(REDUCES)} are needed; got {checks.shown(reduces)}"
        )
    for one in several:
        if one not in REDUCES:
            raise InputError(f"map_reduce: {one!r} is none of {', '.join(REDUCES)}")
    return tuple(dict.fromkeys(several))


def _hint(x: torch.Tensor) -> str:
    return "; add the batch axis with x[None]" if x.ndim == 3 else ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
