"""Logits: what a forward returned about the next token, summarised and forgotten.

Only what the model returned is read; nothing is computed in its place. Of each row the likeliest tokens are
kept, and the surprise at the token that came: O(n) of what is O(n * vocabulary). The token after a forward's
last row comes with the next forward, so that one row of log-probabilities waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lookbehind.taps.stack import Frame

TOP = 10
_AT_ONCE = 1 << 22  # logits summarised at a time


@dataclass(frozen=True, eq=False)
class Said:
    """What one forward said would come after each of its rows, for each sequence of the batch.

    Attributes:
        ids: int32 [B, n, TOP], the likeliest tokens, descending; -1 where fewer or none are known.
        probabilities: float32 [B, n, TOP]; 0 where ids is -1.
        loss: float32 [B, n], -log p of the token that came, in nats; NaN where it is not known (yet).
        before: float32 [B], the loss of the row before the first, which these tokens tell; NaN if unknown.
    """

    ids: torch.Tensor
    probabilities: torch.Tensor
    loss: torch.Tensor
    before: torch.Tensor


def named(output: Any) -> torch.Tensor | None:
    """What stands where a model returns its logits: `logits`, or the first tensor; None if none is."""
    found = _by_name(output)
    if found is None:
        parts = output if isinstance(output, (tuple, list)) else (output,)
        found = next((one for one in parts if isinstance(one, torch.Tensor)), None)
    return found if isinstance(found, torch.Tensor) else None


def _by_name(output: Any) -> Any:
    found = getattr(output, "logits", None)
    return output.get("logits") if found is None and isinstance(output, dict) else found


def returned(output: Any, frame: Frame) -> torch.Tensor | None:
    """The logits [B, rows, vocabulary] of the last rows in what a forward returned; None if it has none.

    A bare tensor (or the first of a tuple) is taken for logits only if its width is a vocabulary the model
    embeds; hidden states are not.
    """
    logits = named(output)
    if logits is None or logits.ndim != 3 or 0 in logits.shape:
        return None
    if _by_name(output) is None and not _embeds(frame, logits.shape[2]):
        return None
    if not logits.is_floating_point() or logits.device.type == "meta":
        return None
    # Chosen rows, rather than the last ones, are not told apart from them by their number.
    if isinstance(frame.kwargs.get("logits_to_keep"), torch.Tensor):
        return None
    return logits.detach()


def summarised(
    logits: torch.Tensor | None, ids: torch.Tensor | None, n_queries: int, last: torch.Tensor | None
) -> tuple[Said | None, torch.Tensor | None]:
    """What is kept of a forward's logits, and the log-probabilities [B, vocabulary] of its last row.

    Args:
        logits: of the last rows; None if the forward returned none.
        ids: int64 [B, n_queries] on the CPU, what the forward was given; None if that is unknown.
        n_queries: rows that the forward added.
        last: the log-probabilities of the row before, from the forward before.
    """
    size = 0 if ids is None else len(ids)
    fits = logits is not None and ids is not None and logits.shape[0] == size and logits.shape[1] <= n_queries
    if ids is None or not (fits or last is not None):
        return None, None
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(ids.device.type, enabled=False):
        said = Said(
            ids=torch.full((size, n_queries, TOP), -1, dtype=torch.int32),
            probabilities=torch.zeros(size, n_queries, TOP),
            loss=torch.full((size, n_queries), torch.nan),
            before=torch.full((size,), torch.nan),
        )
        if last is not None:
            said.before.copy_(_loss(last, ids[:, 0]))
        if not fits:
            return said, None
        assert logits is not None
        first, width = n_queries - logits.shape[1], logits.shape[2]
        rows = max(1, _AT_ONCE // (size * width))
        log = logits
        for start in range(first, n_queries, rows):
            stop = min(start + rows, n_queries)
            log = torch.log_softmax(logits[:, start - first : stop - first].float(), -1)
            best, which = log.topk(min(TOP, width))
            known = log.isfinite().any(-1).cpu()[..., None]
            part = (slice(None), slice(start, stop), slice(best.shape[2]))
            said.ids[part] = which.to("cpu", torch.int32).masked_fill(~known, -1)
            said.probabilities[part] = best.exp().cpu().masked_fill(~known, 0.0)
            came = ids[:, start + 1 : stop + 1]
            said.loss[:, start : start + came.shape[1]] = _loss(log[:, : came.shape[1]], came)
        return said, log[:, -1].clone()


def _loss(log: torch.Tensor, came: torch.Tensor) -> torch.Tensor:
    """-log p [...] of the tokens that came [...], NaN for ids outside the vocabulary [..., V]."""
    outside = (came < 0) | (came >= log.shape[-1])
    picked = log.gather(-1, came.masked_fill(outside, 0).to(log.device)[..., None])[..., 0]
    return -picked.cpu().masked_fill(outside, torch.nan)


def _embeds(frame: Frame, width: int) -> bool:
    return any(
        isinstance(module, torch.nn.Embedding) and module.num_embeddings == width
        for module in frame.module.modules()
    )
