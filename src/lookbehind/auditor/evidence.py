"""Evidence: is a difference between two outputs rounding, or something the model computes?

No fixed threshold decides. Both outputs are computed again in float64, by the code that the model's own dtype
runs (see `precision.wide`): rounding shrinks with the precision, a leak does not.

| own dtype | float64 | decision |
|---|---|---|
| equal, or not | stays | leak |
| equal | at its noise | clean |
| differs | at its noise | clean: rounding. Same shape and far above rounding: a leak in this dtype |
| differs | between the two | undecided |
| differs | cannot run | equal with steady sums: clean. Else its gradient, then how far above rounding |

"At its noise" is measured: the model's rounding error in its own dtype, against float64, tells how much it
amplifies rounding; float64's rounding, amplified as much, is what float64 may show.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch

from lookbehind.auditor.precision import jitter, steady, wide
from lookbehind.auditor.subject import Subject, UncoveredError

Pair = tuple[torch.Tensor, torch.Tensor]
Run = Callable[[], Pair]

_JITTERS = 64  # draws of rounding: what is judged is the worst of many places, so must this be
_PATIENCE = 10.0  # seconds of them
_LEAST_GAIN = 64.0  # a model amplifies rounding at least so much: its sums alone do
_ENDLESS = 1e30  # no logit is so large; finfo.min, which stands for minus infinity, is
_FAR = 1e4  # times every other number: what is so far below them, and there more than once, was put there


@dataclass(frozen=True)
class Decision:
    """What the evidence says.

    Args:
        verdict: "clean", "leak" or "undecided".
        reason: why, in a few words.
        difference: greatest difference, as a share of the largest output, in the precision that decided.
        noise: what rounding may amount to there, as a share of the largest output.
        dtype: the precision that decided: "float64", or the model's own.
        bad: where the outputs differ, bool of their shape without the vocabulary axis; None if clean.
    """

    verdict: Literal["clean", "leak", "undecided"]
    reason: str
    difference: float = 0.0
    noise: float = 0.0
    dtype: str = ""
    bad: torch.Tensor | None = None


def decide(
    subject: Subject,
    run: Run,
    *,
    same_shape: bool,
    gradient: Callable[[], float] | None = None,
    thorough: bool = True,
) -> Decision:
    """Whether two outputs that should be equal are.

    Args:
        subject: the model.
        run: computes (expected, got), two tensors [..., vocab] of one shape, from the model as it is at the
            time of the call: it is called again in float64 and with steady sums.
        same_shape: whether both come from calls of one shape, where any difference is more than rounding
            unless the model groups tokens by their content.
        gradient: the size of the gradient of the protected outputs with respect to what was changed; asked
            where float64 cannot run.
        thorough: run float64 also where the model's own dtype shows no difference at all, to see leaks below
            its resolution.
    """
    own = _name(subject.dtype)
    expected, got = run()
    apart = distance(expected, got)
    scale = scale_of(expected)
    own_size = float(apart.max()) / scale if apart.numel() else 0.0
    if own_size == 0 and not thorough:
        return Decision("clean", "bit for bit equal", dtype=own)
    eps = torch.finfo(subject.dtype).eps
    if subject.dtype == torch.float64:
        return _alone(apart, scale, _LEAST_GAIN * eps, own)
    try:
        with wide(subject):
            expected64, got64 = run()
    except (UncoveredError, RuntimeError, TypeError, NotImplementedError) as error:
        return _without_float64(subject, run, expected, apart, scale, gradient, str(error))
    scale64 = scale_of(expected64)
    apart64 = distance(expected64, got64)
    size64 = float(apart64.max()) / scale64 if apart64.numel() else 0.0
    # What the model makes of rounding. The median, because a router's flip is no measure of rounding.
    error = float(distance(expected.double(), expected64).median()) / scale64 if apart.numel() else 0.0
    noise64 = 8 * max(error / eps, _LEAST_GAIN) * torch.finfo(torch.float64).eps
    if size64 > 64 * noise64:
        return Decision(
            "leak", "it stays in float64", size64, noise64, "float64", apart64 > noise64 * scale64
        )
    if size64 > noise64:
        reason = "in float64 it is near what rounding may amount to"
        return Decision("undecided", reason, size64, noise64, "float64", apart64 > 0)
    if own_size == 0:
        return Decision("clean", "bit for bit equal", 0.0, 0.0, own)
    if same_shape:
        kernel = _own_kernel(subject, run, expected, scale)
        if kernel is not None:
            return kernel
    return Decision("clean", "rounding, gone in float64", own_size, own_size, own)


def _own_kernel(subject: Subject, run: Run, expected: torch.Tensor, scale: float) -> Decision | None:
    """Whether a difference that float64 does not know is a kernel of this dtype, not rounding.

    With steady sums the order of summation no longer shows. What is left is held against what rounding
    does to this model in this dtype: how far steady sums move its output, and one unit of rounding its input.
    """
    own, eps = _name(subject.dtype), torch.finfo(subject.dtype).eps
    try:
        with steady():
            calm, got = run()
    except (UncoveredError, RuntimeError, TypeError, NotImplementedError):
        return None
    still = distance(calm, got)
    left = float(still.max()) / scale
    rounding = max(float(distance(expected, calm).max()) / scale, 4 * eps)
    try:
        rounding = _jittered(subject, run, expected, scale, rounding, enough=left / 4)
    except UncoveredError:
        return None
    if left > 16 * rounding:
        reason = f"in {own} alone, far above its rounding: float64 does not take this path"
        return Decision("leak", reason, left, rounding, own, still > rounding * scale)
    if left > 4 * rounding:
        reason = f"float64 shows nothing, but it is more than {own}'s rounding explains"
        return Decision("undecided", reason, left, rounding, own, still > rounding * scale)
    return None


def _jittered(
    subject: Subject, run: Run, expected: torch.Tensor, scale: float, rounding: float, enough: float
) -> float:
    """What rounding does to this model, at least `rounding`; looked for until it is `enough`."""
    began = time.perf_counter()
    for seed in range(_JITTERS):
        if rounding >= enough or time.perf_counter() - began > _PATIENCE:
            break
        with jitter(subject, seed):
            rounding = max(rounding, float(distance(expected, run()[0]).max()) / scale)
    return rounding


def distance(expected: torch.Tensor, got: torch.Tensor) -> torch.Tensor:
    """Greatest absolute difference at each position: [...] of two [..., vocab]. Equal infinities count 0."""
    if expected.numel() == 0:
        return expected.new_zeros(expected.shape[:-1])
    quick = (expected - got).abs().amax(-1)
    if expected.dtype in (torch.float32, torch.float64) and bool(torch.isfinite(quick).all()):
        return quick.double().cpu()
    same = expected == got
    apart = torch.where(same, 0.0, (expected.double() - got.double()).abs())
    return torch.nan_to_num(apart, nan=torch.inf, posinf=torch.inf).amax(-1).cpu()


def scale_of(output: torch.Tensor) -> float:
    """The largest number of [..., vocab] that differences are shares of.

    Tokens ruled out by a huge number say nothing of its size: columns that are the same everywhere, numbers
    near the dtype's end, and one number, far below all others, that is there more than once.
    """
    flat = output.reshape(-1, output.shape[-1])
    varying = (flat != flat[:1]).any(0)
    found = flat[:, varying] if bool(varying.any()) else flat
    finite = found[found.abs() < _ENDLESS]
    while finite.numel():
        rest = finite[finite > finite.min()]
        largest = float(rest.abs().max()) if rest.numel() else 0.0
        if len(finite) - len(rest) < 2 or not 0 < largest * _FAR < -float(finite.min()):
            break
        finite = rest
    return max(float(finite.abs().max()) if finite.numel() else 1.0, 1e-30)


def _alone(apart: torch.Tensor, scale: float, noise: float, dtype: str) -> Decision:
    """A float64 model: there is nothing wider to hold it against."""
    size = float(apart.max()) / scale if apart.numel() else 0.0
    if size == 0:
        return Decision("clean", "bit for bit equal", dtype=dtype)
    if size > 1e6 * noise:
        return Decision("leak", "far above float64's rounding", size, noise, dtype, apart > noise * scale)
    if size <= noise:
        return Decision("clean", "rounding of float64", size, noise, dtype)
    return Decision("undecided", "near float64's rounding", size, noise, dtype, apart > 0)


def _without_float64(
    subject: Subject,
    run: Run,
    expected: torch.Tensor,
    apart: torch.Tensor,
    scale: float,
    gradient: Callable[[], float] | None,
    why: str,
) -> Decision:
    own, eps = _name(subject.dtype), torch.finfo(subject.dtype).eps
    size = float(apart.max()) / scale if apart.numel() else 0.0
    try:
        with steady():
            calm, got = run()
    except (UncoveredError, RuntimeError, TypeError, NotImplementedError) as error:
        return Decision(
            "undecided", f"float64 cannot run ({why}), nor can steady sums ({error})", size, 0, own
        )
    still = distance(calm, got)
    left = float(still.max()) / scale if still.numel() else 0.0
    if left == 0:
        return Decision("clean", "equal with steady sums" if size else "bit for bit equal", size, size, own)
    slope = None
    if gradient is not None:
        try:
            slope = gradient()
        except Exception:  # whatever autograd meets in foreign code: then there is no gradient to ask
            slope = None
    if slope is not None and slope > 0:
        return Decision("leak", "its gradient is not 0", size, 0.0, own, still > 0)
    rounding = 1e3 * _LEAST_GAIN * eps / 16
    if left > 16 * rounding:
        with suppress(UncoveredError):  # it has no embedding
            # Quantised activations make steps of rounding.
            rounding = _jittered(subject, run, expected, scale, rounding, enough=left / 16)
    if left > 16 * rounding:
        return Decision("leak", "stays with steady sums, far above rounding", size, 0.0, own, still > 0)
    return Decision("undecided", f"float64 cannot run ({why})", size, 0.0, own, still > 0)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
