"""Statistics: what is kept of an attention call when its queries and keys are not.

Each call is observed where it runs, on the model's device, and only sums and rows of numbers stay: the mass
that each key received, and of each query its entropy and its largest weight. What a sequence's calls leave
is joined when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lookbehind.attention import logsumexp, observe
from lookbehind.engines.observation import Observation
from lookbehind.spans import Spans
from lookbehind.taps.call import Call


@torch.no_grad()
def observed(call: Call, first_key: int) -> list[Observation]:
    """One call's statistics, an observation without the batch axis for each sequence.

    Args:
        call: as a tap saw it.
        first_key: position of its first key in the sequence; `top_keys` count from the sequence's beginning,
            and `received` from the call's own first key.
    """
    alike = all(one is call.spans[0] for one in call.spans)
    found: list[Observation] = []
    for rows in [slice(None)] if alike else [slice(at, at + 1) for at in range(len(call.spans))]:
        found += _observed(call, rows, call.spans[rows.start or 0], first_key)
    return found


def _observed(call: Call, rows: slice, spans: Spans, first_key: int) -> list[Observation]:
    q, k = call.q[rows].detach(), call.k[rows].detach()
    parameters: dict[str, Any] = {
        "scale": call.scale,
        "softcap": call.softcap,
        "sinks": None if call.sinks is None else call.sinks.detach(),
        # A slope that no query tells weighs no product.
        "alibi": None if call.alibi is None else call.alibi.nan_to_num(0.0).to(q.device),
    }
    lse = logsumexp(q, k, spans, **parameters)
    seen = observe(q, k, lse, spans, received=True, entropy=True, top=1, max_score=True, **parameters)
    assert seen.received is not None and seen.entropy is not None and seen.max_score is not None
    assert seen.top_weights is not None and seen.top_keys is not None
    keys = torch.where(seen.top_keys >= 0, seen.top_keys + first_key, seen.top_keys)
    return [
        Observation(
            received=seen.received[row],
            visible=seen.visible,
            entropy=seen.entropy[row],
            top_weights=seen.top_weights[row],
            top_keys=keys[row],
            max_score=seen.max_score[row],
        )
        for row in range(q.shape[0])
    ]


def joined(parts: Sequence[tuple[Observation, int]], length: int) -> Observation:
    """The statistics of a sequence of `length` positions from those of its calls, in host memory.

    Args:
        parts: each call's, and the position of its first key; in the order of the rows.
        length: keys at the end.
    """
    first = parts[0][0]
    assert first.received is not None
    received = torch.zeros(first.received.shape[0], length, dtype=torch.float64)
    visible = torch.zeros(length, dtype=torch.int64)
    for seen, first_key in parts:
        assert seen.received is not None and seen.visible is not None
        end = min(first_key + seen.received.shape[1], length)
        received[:, first_key:end] += seen.received[:, : end - first_key].cpu()
        visible[first_key:end] += seen.visible[: end - first_key].cpu()

    def rows(name: str, axis: int) -> torch.Tensor:
        return torch.cat([getattr(seen, name).cpu() for seen, _ in parts], axis)

    return Observation(
        received=received.to(first.received.dtype),
        visible=visible,
        entropy=rows("entropy", -1),
        top_weights=rows("top_weights", -2),
        top_keys=rows("top_keys", -2),
        max_score=torch.stack([seen.max_score.cpu() for seen, _ in parts if seen.max_score is not None]).amax(
            0
        ),
    )
