"""Telling: which heads are worth naming, and how their numbers are said."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lookbehind.heads import Head, HeadTable

_WEAK = 0.2  # below this share of its weight a head is not named for what it looks at


class Telling(NamedTuple):
    """What a head can be telling about: a measure, its name, and how the number is said."""

    measure: str
    name: str
    words: str
    is_share: bool = True

    def is_weak(self, head: Head) -> bool:
        """Whether even the head that leads in this measure does little of it."""
        return self.is_share and getattr(head, self.measure) < _WEAK


TELLING = (
    Telling("previous", "previous token", "{:.0%} of its weight on the token before"),
    Telling("induction", "induction", "{:.0%} just after earlier copies of its token"),
    Telling("duplicate", "duplicate token", "{:.0%} on earlier copies of its token"),
    Telling("sink", "attention sink", "{:.0%} on key 0"),
    Telling("relative_entropy", "most diffuse", "{:.0%} of the entropy of an even look", is_share=False),
    Telling("distance", "farthest", "looks back {:,.0f} positions on average", is_share=False),
)


def telling(table: HeadTable) -> dict[str, Head]:
    """The head that leads in each measure; one head is named once, for what comes first."""
    found: dict[str, Head] = {}
    named: set[tuple[int, int]] = set()
    for measure, *_ in TELLING:
        best = next(
            (
                head
                for head in table.sorted(measure)
                if (head.layer, head.head) not in named and getattr(head, measure) is not None
            ),
            None,
        )
        if best is not None:
            found[measure] = best
            named.add((best.layer, best.head))
    return found
