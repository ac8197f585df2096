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
amplifies rounding; float64's rounding, amplified as much, is what float64 may show. Between calls of one
shape it is measured position by position as well, so that large outputs at one hide nothing at another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch

from lookbehind.auditor.difference import Difference, distance
from lookbehind.auditor.precision import jitter, steady, wide
from lookbehind.auditor.subject import CANNOT_RUN, Subject, UncoveredError

Pair = tuple[torch.Tensor, torch.Tensor]
Run = Callable[[], Pair]

_EPS64 = torch.finfo(torch.float64).eps
_LEAST_GAIN = 64.0  # a model amplifies rounding at least so much: its sums alone do
_MOST_GAIN = 4000.0  # and it is granted so much where float64 cannot tell
_JITTERS = 64  # draws of rounding: what is judged is the worst of many places, so must this be
_PATIENCE = 10.0  # seconds of them


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
    expected, got = run()
    own = Difference(expected, got)
    if own.size == 0 and not thorough:
        return Decision("clean", "bit for bit equal", dtype=_own(subject))
    if subject.dtype == torch.float64:
        return _of_float64(own)
    try:
        with wide(subject):
            expected64, got64 = run()
    except CANNOT_RUN as error:
        return _without_float64(subject, run, expected, own, gradient, str(error))
    wider = Difference(expected64, got64)
    noise = _noise64(subject, expected, expected64, wider.scale)
    if wider.size > 64 * noise:
        return Decision("leak", "it stays in float64", wider.size, noise, "float64", wider.beyond(noise))
    if wider.size > noise:
        reason = "in float64 it is near what rounding may amount to"
        return Decision("undecided", reason, wider.size, noise, "float64", wider.beyond(0))
    small = _beside_larger(subject, expected, expected64, wider) if same_shape else None
    if small is not None:
        return small
    if own.size == 0:
        return Decision("clean", "bit for bit equal", dtype=_own(subject))
    kernel = _own_kernel(subject, run, expected, own.scale) if same_shape else None
    return kernel or Decision("clean", "rounding, gone in float64", own.size, own.size, _own(subject))


def _noise64(subject: Subject, expected: torch.Tensor, expected64: torch.Tensor, scale: float) -> float:
    """What rounding may amount to in float64: as much more than its own as in the model's dtype."""
    apart = distance(expected.double(), expected64)
    # The median, because a router's flip is no measure of rounding.
    error = float(apart.median()) / scale if apart.numel() else 0.0
    return 8 * max(error / torch.finfo(subject.dtype).eps, _LEAST_GAIN) * _EPS64


def _beside_larger(
    subject: Subject, expected: torch.Tensor, expected64: torch.Tensor, wider: Difference
) -> Decision | None:
    """Whether a difference is one beside the outputs of its own position, where other positions' are larger.

    What rounding may amount to is then measured there as well: outputs may be small and what they are made of
    large. Only calls of one shape are held to it, which differ by no rounding unless tokens are grouped.
    """
    if not wider.apart.numel():
        return None
    sizes = wider.sizes(expected64)
    errors = distance(expected.double(), expected64) / torch.finfo(subject.dtype).eps
    gain = max(float((errors / sizes).median()), _LEAST_GAIN)
    noise = 8 * _EPS64 * torch.maximum(errors / sizes, torch.full_like(sizes, gain))
    apart = wider.apart / sizes
    at = int((apart / noise).argmax())
    size, most = float(apart.reshape(-1)[at]), float(noise.reshape(-1)[at])
    if size <= most:
        return None
    if size > 64 * most:
        reason = "it stays in float64, beside the outputs of its own position"
        return Decision("leak", reason, size, most, "float64", apart > noise)
    reason = "in float64 it is near what rounding may amount to at its own position"
    return Decision("undecided", reason, size, most, "float64", apart > noise)


def _own_kernel(subject: Subject, run: Run, expected: torch.Tensor, scale: float) -> Decision | None:
    """Whether a difference that float64 does not know is a kernel of this dtype, not rounding.

    With steady sums the order of summation no longer shows. What is left is held against what rounding
    does to this model in this dtype: how far steady sums move its output, and one unit of rounding its input.
    """
    own = _own(subject)
    try:
        with steady():
            calm, got = run()
    except CANNOT_RUN:
        return None
    apart = distance(calm, got)
    left = float(apart.max()) / scale
    rounding = max(float(distance(expected, calm).max()) / scale, 4 * torch.finfo(subject.dtype).eps)
    try:
        rounding = _jittered(subject, run, expected, scale, rounding, enough=left / 4)
    except UncoveredError:  # it has no embedding
        return None
    bad = apart > rounding * scale
    if left > 16 * rounding:
        reason = f"in {own} alone, far above its rounding: float64 does not take this path"
        return Decision("leak", reason, left, rounding, own, bad)
    if left > 4 * rounding:
        reason = f"float64 shows nothing, but it is more than {own}'s rounding explains"
        return Decision("undecided", reason, left, rounding, own, bad)
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


def _of_float64(seen: Difference) -> Decision:
    """A float64 model: there is nothing wider to hold it against."""
    noise = _LEAST_GAIN * _EPS64
    if seen.size == 0:
        return Decision("clean", "bit for bit equal", dtype="float64")
    if seen.size > 1e6 * noise:
        reason = "far above float64's rounding"
        return Decision("leak", reason, seen.size, noise, "float64", seen.beyond(noise))
    if seen.size <= noise:
        return Decision("clean", "rounding of float64", seen.size, noise, "float64")
    return Decision("undecided", "near float64's rounding", seen.size, noise, "float64", seen.beyond(0))


def _without_float64(
    subject: Subject,
    run: Run,
    expected: torch.Tensor,
    seen: Difference,
    gradient: Callable[[], float] | None,
    why: str,
) -> Decision:
    """Steady sums, then the gradient, then how far above rounding the difference is."""
    own = _own(subject)
    try:
        with steady():
            calm, got = run()
    except CANNOT_RUN as error:
        reason = f"float64 cannot run ({why}), nor can steady sums ({error})"
        return Decision("undecided", reason, seen.size, 0, own)
    apart = distance(calm, got)
    left = float(apart.max()) / seen.scale if apart.numel() else 0.0
    if left == 0:
        reason = "equal with steady sums" if seen.size else "bit for bit equal"
        return Decision("clean", reason, seen.size, seen.size, own)
    slope = 0.0
    if gradient is not None:
        with suppress(Exception):  # whatever autograd meets in foreign code: there is no gradient to ask
            slope = gradient()
    if slope > 0:
        return Decision("leak", "its gradient is not 0", seen.size, 0.0, own, apart > 0)
    rounding = _MOST_GAIN * torch.finfo(subject.dtype).eps
    if left > 16 * rounding:
        with suppress(UncoveredError):  # it has no embedding
            # Quantised activations make steps of rounding.
            rounding = _jittered(subject, run, expected, seen.scale, rounding, enough=left / 16)
    if left > 16 * rounding:
        return Decision("leak", "stays with steady sums, far above rounding", seen.size, 0.0, own, apart > 0)
    return Decision("undecided", f"float64 cannot run ({why})", seen.size, 0.0, own, apart > 0)


def _own(subject: Subject) -> str:
    return str(subject.dtype).removeprefix("torch.")
