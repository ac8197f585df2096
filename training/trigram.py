"""The yardstick: an interpolated trigram model with modified Kneser-Ney smoothing over the same tokens.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1999): three discounts
per order, estimated from the counts of counts; the lower orders count distinct left contexts, and the lowest
is interpolated with the uniform distribution, so every token has a probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ORDER = 3


class Level:
    """One order: the discounted counts of its n-grams and the mass left over for the order below."""

    def __init__(self, grams: np.ndarray, counts: np.ndarray, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.grams = grams
        seen = [max(1, int((counts == k).sum())) for k in (1, 2, 3, 4)]
        y = seen[0] / (seen[0] + 2 * seen[1])
        discounts = np.array([0.0, *(k - (k + 1) * y * seen[k] / seen[k - 1] for k in (1, 2, 3))])
        # Counts of counts of a tiny corpus can give a discount outside of what keeps probabilities positive.
        discounts = np.clip(discounts, [0, 0.1, 0.1, 0.1], [0, 0.95, 1.9, 2.85])
        discount = discounts[np.minimum(counts, 3)]
        self.contexts, of = np.unique(grams // vocab_size, return_inverse=True)
        total = np.bincount(of, weights=counts)
        self.probability = (counts - discount) / total[of]
        self.leftover = np.bincount(of, weights=discount) / total

    def lookup(self, grams: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """The probability of each n-gram's last token, ``lower`` being the one of the order below."""
        direct = _find(self.grams, self.probability, grams, 0.0)
        # A context never seen leaves everything to the order below.
        return direct + _find(self.contexts, self.leftover, grams // self.vocab_size, 1.0) * lower


def _find(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, default: float) -> np.ndarray:
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], default)


def _grams(document: np.ndarray, vocab_size: int) -> np.ndarray:
    """The trigrams that end in each token after the first (the document's start mark), as one number each."""
    padded = np.concatenate([document[:1], document])
    return (padded[:-2] * vocab_size + padded[1:-1]) * vocab_size + padded[2:]


class Trigram:
    """Fitted on documents that each begin with a start mark, which gives context and is never predicted."""

    def __init__(self, documents: Sequence[np.ndarray], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        grams = np.concatenate([_grams(document, vocab_size) for document in documents])
        unique, counts = np.unique(grams, return_counts=True)
        self.levels: list[Level] = []
        for order in range(ORDER, 0, -1):
            self.levels.insert(0, Level(unique, counts, vocab_size))
            # The next order down counts in how many distinct left contexts an n-gram occurs.
            unique, counts = np.unique(unique % vocab_size ** max(order - 1, 1), return_counts=True)

    def losses(self, document: np.ndarray) -> np.ndarray:
        """Minus the log probability (nats) of every token after the start mark."""
        grams = _grams(document, self.vocab_size)
        probability = np.full(len(grams), 1.0 / self.vocab_size)
        for order, level in enumerate(self.levels, start=1):
            probability = level.lookup(grams % self.vocab_size**order, probability)
        return -np.log(probability)
