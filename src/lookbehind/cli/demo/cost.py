"""Cost: what looking took, beside the eager way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lookbehind.tape import Tape


@dataclass(frozen=True)
class Cost:
    """What looking cost, here and the eager way.

    Attributes:
        run_seconds: the model reading the text and writing on, not recorded.
        record_seconds: the same, recorded.
        same_output: whether both wrote the same.
        observe_seconds: one pass over every product of every head, reduced to the head table.
        tape_bytes: of its files, which grow with n: queries, keys, tokens and what came next.
        eager_seconds: one forward call with output_attentions=True at the same length.
        eager_bytes: the weights it stores, which grow with n * n.
        largest_difference: between the tape's weights and the eager ones, over all of them.
    """

    run_seconds: float
    record_seconds: float
    same_output: bool
    observe_seconds: float
    tape_bytes: int
    eager_seconds: float
    eager_bytes: int
    largest_difference: float


def compare_eager(model: Any, tape: Tape) -> tuple[float, int, float]:
    """Runs the recorded tokens through eager attention: (seconds, bytes of weights, largest difference)."""
    import torch

    usual = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        ids = torch.tensor([tape.token_ids])
        started = time.perf_counter()
        with torch.no_grad():
            attentions = model(ids, use_cache=False, output_attentions=True).attentions
        seconds = time.perf_counter() - started
    finally:
        model.set_attn_implementation(usual)
    size = sum(weights.numel() * weights.element_size() for weights in attentions)
    largest = 0.0
    for at, weights in enumerate(attentions):
        for head in range(weights.shape[1]):
            ours = tape.weights(at, head, queries=slice(None), keys=slice(None))
            largest = max(largest, float((torch.as_tensor(ours) - weights[0, head]).abs().max()))
    return seconds, size, largest


def decoding_counts(tape: Tape) -> tuple[int, int]:
    """Products of the decode steps, over all heads: with the cache, and were each triangle computed again."""
    added = again = 0
    ends = np.cumsum(tape.steps)
    for layer in tape.layers:
        until = np.cumsum(layer.spans.row_counts())[ends - 1]
        added += layer.n_heads * int(until[-1] - until[0])
        again += layer.n_heads * int(until[1:].sum())
    return added, again
