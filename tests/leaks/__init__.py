"""Models that cheat, and models that only look so, each with its right answer."""

import os

from tests.leaks import (
    caches,
    experts,
    honest,
    hugging,
    lengths,
    masks,
    mixers,
    norms,
    numerics,
    odd,
    packing,
    padding,
    published,
)
from tests.leaks.case import Case, Odd

_THEMES = (masks, norms, mixers, lengths, experts, numerics, caches, padding, packing, hugging, published)

CASES: list[Case] = [case for theme in _THEMES for case in theme.CASES]
HONEST: list[Case] = [*honest.HONEST, *published.HONEST]
ODD: list[Odd] = odd.ODD

# The suite has minutes, the whole product of cases and checks takes longer: `LOOKBEHIND_ALL=1` runs it.
EVERYTHING = bool(os.environ.get("LOOKBEHIND_ALL"))
