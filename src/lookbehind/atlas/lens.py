"""Lens: what of a head is looked at: which quantity, and whether the first keys are left out.

- `weight`: p_ij.
- `enrichment`: p_ij times the number of keys that query i sees; 1 is an even look.
- `relative`: p_ij over the largest weight of its row.
- `score`: s_ij.

`skip` = k leaves the first k keys out of the picture. With `renorm`, rows are normalised over the rest (and a
learned sink, where the layer has one); without, the weights are what they were.
"""

from __future__ import annotations

from dataclasses import dataclass

from lookbehind import checks
from lookbehind.engines.observation import REDUCES
from lookbehind.errors import InputError

QUANTITIES = ("weight", "enrichment", "relative", "score")


@dataclass(frozen=True)
class Lens:
    """A quantity over the keys that are shown."""

    of: str = "weight"
    skip: int = 0
    renorm: bool = False

    @classmethod
    def parse(cls, of: str = "weight", skip: str = "0", renorm: str = "0") -> Lens:
        """The lens of an address; lenses that show the same are equal.

        Raises:
            InputError: it is none.
        """
        if of not in QUANTITIES:
            raise InputError(f"of {of[:40]!r}: there are {', '.join(QUANTITIES)}")
        if not (skip.isascii() and skip.isdecimal() and len(skip) < 12):
            raise InputError(f"skip {skip[:40]!r}: a number of first keys is needed, 0 or more")
        if renorm not in ("0", "1"):
            raise InputError(f"renorm {renorm[:40]!r}: 0 or 1 is needed")
        return cls(of, int(skip), renorm == "1" and int(skip) > 0 and of in ("weight", "enrichment"))


def check_pool(pool: str) -> str:
    """How the products of a pixel become one number."""
    if pool not in REDUCES:
        raise InputError(f"pool {checks.shown(pool)}: there are {', '.join(REDUCES)}")
    return pool
