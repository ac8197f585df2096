"""What a tape should hold of the tiny models: their own weights, and their layers' spans."""

import torch

from tests.tiny_models import WINDOW

SPANS = {
    "mistral": [f"causal & window({WINDOW})"] * 2,
    "gemma2": [f"causal & window({WINDOW})", "causal"],
    "gpt_oss": [f"causal & window({WINDOW})", "causal"],
    "llama4": ["causal & chunk(8)", "causal"],
}


def difference(tape, attentions, row=0, first=0):
    """Largest difference between the tape's weights and eager attention maps of consecutive forwards."""
    worst = 0.0
    for step in attentions:
        last = first + step[0].shape[2]
        for number, maps in enumerate(step):
            n_keys = min(maps.shape[3], last)
            layer = tape.layer(number)
            for head in range(layer.n_heads):
                weights = tape.weights(number, head, queries=slice(first, last))
                expected = torch.zeros_like(weights)
                expected[:, last - n_keys : last] = maps[row, head, :, :n_keys]
                worst = max(worst, float((weights - expected).abs().max()))
        first = last
    assert first == tape.n_queries
    return worst
