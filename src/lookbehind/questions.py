"""Questions about patterns: what is asked, what is right, and why an answer is wrong.

Nothing about right and wrong is written down here. Every question keeps the spans it was made from; what is
right, that every other option is wrong, and why, is read off them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lookbehind.errors import InputError
from lookbehind.pattern import Causal, Diagonal, Full, Pattern
from lookbehind.reasons import complement, keys_in, meaning, spelled, why
from lookbehind.spans import Spans

LETTERS = "abcde"
HEATMAPS: dict[Pattern, str] = {
    Causal(): "the lower triangle",
    Full(): "the full square of an encoder",
    ~Causal() | Diagonal(0): "the upper triangle, the decoder's turned about",
    Diagonal(0): "the diagonal, where a token reads only itself",
}


@dataclass(frozen=True)
class Grade:
    """What an answer was worth, and why."""

    correct: bool
    reason: str


@dataclass(frozen=True)
class Question:
    """A question about a pattern at given lengths.

    Attributes:
        kind: one of `KINDS`.
        prompt: what is asked.
        pattern, spans: the rule asked about and what it computes; where the answer is read.
        options: what there is to choose from; empty where the answer is a number or a cell.
        drawings: pictures: one per option, or one that belongs to the prompt.
        answer: the right answer, as `grade` takes it.
    """

    kind: str
    prompt: str
    pattern: Pattern
    spans: Spans
    options: tuple[str, ...] = ()
    drawings: tuple[str, ...] = ()
    answer: str = ""

    expects = "a letter"

    @property
    def n_options(self) -> int:
        """How many letters there are to choose from."""
        return len(self.options) or len(self.drawings)

    def grade(self, answer: Any) -> Grade:
        """Whether `answer` is right, and the reason, read off the spans.

        Raises:
            InputError: the answer is not of the form that `expects` asks for.
        """
        letters = LETTERS[: self.n_options]
        given = str(answer).strip().strip("()").lower()
        if len(given) != 1 or given not in letters:
            raise InputError(f"answer: one of the letters {', '.join(letters)} is needed; got {answer!r}")
        chosen, right = letters.index(given), letters.index(self.answer)
        return Grade(chosen == right, self._reason(chosen, right))

    def _reason(self, chosen: int, right: int) -> str:
        raise NotImplementedError

    def to_dict(self, reveal: bool = False) -> dict[str, Any]:
        """The question as JSON; with its answer and the reason only if `reveal`."""
        found: dict[str, Any] = {"kind": self.kind, "prompt": self.prompt, "expects": self.expects}
        if self.options:
            found["options"] = dict(zip(LETTERS, self.options, strict=False))
        if self.drawings:
            found["drawings"] = list(self.drawings)
        if reveal:
            found |= {"answer": self.answer, "reason": self.grade(self.answer).reason}
        return found

    # -- words that the reasons share --------------------------------------------------------------------

    def _row(self, query: int) -> list[int]:
        return self.spans.keys(query - self.spans.offset)

    def _because(self, query: int, key: int) -> str:
        """`q3·k4 is not computed: k4 comes after q3`."""
        allowed = self.spans.allows(query - self.spans.offset, key)
        reason = why(self.pattern, query, key, self.spans.n_keys)
        return f"q{query}·k{key} is {'computed' if allowed else 'not computed'}: {reason}"


@dataclass(frozen=True)
class Disallowed(Question):
    """(a) Which of these products is disallowed?"""

    pairs: tuple[tuple[int, int], ...] = ()

    def _reason(self, chosen: int, right: int) -> str:
        told = self._because(*self.pairs[right])
        return f"{told}." if chosen == right else f"{self._because(*self.pairs[chosen])}. But {told}."


@dataclass(frozen=True)
class Count(Question):
    """(b) How many keys does query i read?"""

    query: int = 0

    expects = "a number"

    def grade(self, answer: Any) -> Grade:
        """Whether the number is right; if not, a product that was missed or one too many."""
        text = str(answer).strip()
        if isinstance(answer, bool) or not re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
            raise InputError(f"answer: a whole number is needed; got {answer!r}")
        keys, given = self._row(self.query), int(text)
        told = f"q{self.query} reads {spelled(_runs(keys)) or 'no key'}: {_keys(len(keys))}"
        if given == len(keys):
            return Grade(True, f"{told}.")
        if given < len(keys):
            return Grade(False, f"{told}, not {given}. {self._because(self.query, keys[-1])}.")
        spare = keys_in(complement(_runs(keys), self.spans.n_keys))
        missing = [key for key in spare if key > self.query] or spare
        hint = (
            f"{self._because(self.query, missing[0])}." if missing else f"There are only {_keys(len(keys))}."
        )
        return Grade(False, f"{told}, not {given}. {hint}")


@dataclass(frozen=True)
class Complete(Question):
    """(c) Which list is the complete set for query i?"""

    query: int = 0
    lists: tuple[tuple[int, ...], ...] = ()

    def _reason(self, chosen: int, right: int) -> str:
        keys, given = set(self.lists[right]), set(self.lists[chosen])
        if chosen == right:
            return f"q{self.query} reads {spelled(_runs(sorted(keys)))} and no other key."
        extra, missing = sorted(given - keys), sorted(keys - given)
        faults = (
            [f"{self._because(self.query, extra[0])}, so it does not belong in the list"] if extra else []
        )
        faults += [f"{self._because(self.query, missing[0])}, and the list lacks it"] if missing else []
        return "; ".join(faults) + "."


@dataclass(frozen=True)
class Heatmap(Question):
    """(d) Which of four drawn heatmaps is the decoder's?"""

    shown: tuple[Pattern, ...] = ()

    def _reason(self, chosen: int, right: int) -> str:
        if chosen == right:
            return "The lower triangle: query i reads the keys at or before its own position, and no other."
        return f"That is {HEATMAPS[self.shown[chosen]]}. " + _against(self, self.shown[chosen])


@dataclass(frozen=True)
class Mechanism(Question):
    """(e) Which mechanism fits a described task?"""

    shown: tuple[Pattern, ...] = ()

    def _reason(self, chosen: int, right: int) -> str:
        if chosen == right:
            return (
                f"`{self.pattern}`: query i reads the keys {meaning(self.pattern)}; the task asks for that."
            )
        return f"`{self.shown[chosen]}` does not fit. " + _against(self, self.shown[chosen])


@dataclass(frozen=True)
class Debug(Question):
    """(f) A mask with one wrong cell: which one, and does it leak or lose?"""

    cell: tuple[int, int] = (0, 0)

    expects = "query, key, and leak or loss, as in '2 4 leak'"

    def grade(self, answer: Any) -> Grade:
        """Whether the cell and its effect are right; if not, what the named cell really is."""
        text = " ".join(map(str, answer)) if isinstance(answer, (list, tuple)) else str(answer)  # pyright: ignore
        found = re.fullmatch(
            r"\D*(\d{1,9})\D+?(\d{1,9})[\s,;:]*(leak|loss|lost)\w*[.\s]*", text.lower(), re.ASCII
        )
        if found is None:
            raise InputError(f"answer: {self.expects}, is needed; got {answer!r}")
        query, key, effect = int(found[1]), int(found[2]), found[3]
        leaks = not self.spans.allows(self.cell[0] - self.spans.offset, self.cell[1])
        row = query - self.spans.offset
        if not (0 <= row < self.spans.n_queries and key < self.spans.n_keys):
            raise InputError(f"answer: q{query}·k{key} is not in the picture")
        told = self._told(*self.cell, leaks)
        if (query, key) != self.cell:
            return Grade(False, f"{self._because(query, key)}, as it is drawn. {told}")
        if (effect == "leak") != leaks:
            return Grade(False, f"The cell is right, the effect is not. {told}")
        return Grade(True, told)

    def _told(self, query: int, key: int, leaks: bool) -> str:
        reason = why(self.pattern, query, key, self.spans.n_keys)
        if leaks:
            return (
                f"q{query}·k{key} is open, but {reason}. A leak: the output at position {query} "
                f"would depend on token {key}, which it must not see."
            )
        return (
            f"q{query}·k{key} is hidden, but {reason}. A loss: position {query} "
            f"would not read token {key}, which it may see."
        )


def _against(question: Question, chosen: Pattern) -> str:
    """A product on which the chosen pattern and the right one disagree, and what the right one says of it."""
    right = question.spans
    spans = chosen.spans(right.n_queries, right.n_keys, right.offset)
    for there, here, said in ((spans, right, "It computes"), (right, spans, "It never computes")):
        pair = next((there & ~here).pairs(), None)
        if pair is not None:
            query, key = pair[0] + right.offset, pair[1]
            reason = why(question.pattern, query, key, right.n_keys)
            return f"{said} q{query}·k{key}, but {reason}."
    raise InputError(f"quiz: `{chosen}` and `{question.pattern}` agree at these lengths")


def labelled(spans: Spans) -> str:
    """A small picture with the names of its queries and keys."""
    names = [f"k{key}" for key in range(spans.n_keys)]
    left = max((len(f"q{spans.offset + row}") for row in range(spans.n_queries)), default=0)
    lines = [" ".join([" " * left, *names])]
    for row, cells in enumerate(spans.mask()):
        drawn = [("■" if cell else "·").center(len(name)) for cell, name in zip(cells, names, strict=True)]
        lines.append(" ".join([f"q{spans.offset + row}".ljust(left), *drawn]).rstrip())
    return "\n".join(lines)


def _runs(keys: Sequence[int]) -> tuple[tuple[int, int], ...]:
    starts = [key for key in keys if key - 1 not in keys]
    stops = [key + 1 for key in keys if key + 1 not in keys]
    return tuple(zip(starts, stops, strict=True))


def _keys(count: int) -> str:
    return f"{count} key{'s' * (count != 1)}"
