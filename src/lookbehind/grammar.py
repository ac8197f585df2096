"""The text of patterns: what `repr` writes, the command line takes and tapes store.

    either  = both { "|" both }
    both    = single { "&" single }
    single  = "~" single | "(" either ")" | name [ "(" number { "," number } ")" ]

`~` binds strongest, then `&`, then `|`. Names are lower case; numbers are whole. Nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NoReturn

from lookbehind.errors import PatternError
from lookbehind.pattern import (
    DEPTH,
    TOO_DEEP,
    And,
    Causal,
    Chunk,
    Diagonal,
    Documents,
    First,
    Full,
    Or,
    Pattern,
    Window,
    chained,
)

# name -> (constructor, how it is written)
_PRIMITIVES: dict[str, tuple[Callable[..., Pattern], str]] = {
    "causal": (Causal, "causal"),
    "full": (Full, "full"),
    "window": (Window, "window(size)"),
    "first": (First, "first(count)"),
    "chunk": (Chunk, "chunk(size)"),
    "documents": (lambda *lengths: Documents(lengths), "documents(length, ...)"),
    "diagonal": (Diagonal, "diagonal(distance)"),
}
_PLAIN = ("causal", "full")
_TOKEN = re.compile(r"[a-z_]+|[+-]?[0-9]+|\S", re.IGNORECASE | re.ASCII)
_DIGITS = 19  # of the largest number that a pattern takes
_SHOWN = 60


def parse(text: str) -> Pattern:
    """The pattern that `text` writes: the inverse of `repr`.

    Raises:
        PatternError: the text is no pattern; the message points at the column.

    >>> parse("causal & (window(1024) | first(4))")
    causal & (window(1024) | first(4))
    """
    if not isinstance(text, str):
        raise PatternError(f"pattern: a text is needed, such as 'causal & window(4)'; got {text!r}")
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [(m.group(), m.start()) for m in _TOKEN.finditer(text)]
        self.at = 0
        self.depth = 0

    def parse(self) -> Pattern:
        if not self.tokens:
            self.fail("a pattern is needed, such as 'causal & window(4)', but the text is empty")
        pattern = self.either()
        if self.at < len(self.tokens):
            self.fail(f"'&', '|' or the end was expected, not {self.peek()!r}")
        return pattern

    def either(self) -> Pattern:
        return self.chain("|", Or, self.both)

    def both(self) -> Pattern:
        return self.chain("&", And, self.single)

    def chain(self, sign: str, kind: type[And] | type[Or], part: Callable[[], Pattern]) -> Pattern:
        parts = [part()]
        while self.take(sign):
            parts.append(part())
        return parts[0] if len(parts) == 1 else chained(kind, *parts)

    def single(self) -> Pattern:
        self.depth += 1
        if self.depth > DEPTH:
            self.fail(TOO_DEEP)
        if self.take("~"):
            pattern = ~self.single()
        elif self.take("("):
            pattern = self.either()
            self.expect(")")
        else:
            pattern = self.primitive()
        self.depth -= 1
        return pattern

    def primitive(self) -> Pattern:
        start = self.at
        name = self.peek()
        if name not in _PRIMITIVES:
            self.fail(self.unknown(name))
        make, written = _PRIMITIVES[name]
        self.at += 1
        numbers: list[int] = []
        if name not in _PLAIN:
            if not self.take("("):
                self.fail(f"'(' was expected: it is written {written}")
            numbers.append(self.number(written))
            while name == "documents" and self.take(","):
                numbers.append(self.number(written))
            if self.peek() == ",":
                self.fail(f"one number is enough: it is written {written}")
            self.expect(")")
        try:
            return make(*numbers)
        except PatternError as error:
            self.at = start
            self.fail(str(error))

    def number(self, written: str) -> int:
        token = self.peek()
        if not re.fullmatch(r"[+-]?[0-9]+", token):
            self.fail(f"a whole number was expected: it is written {written}")
        digits = len(token.lstrip("+-"))
        if digits > _DIGITS:
            self.fail(f"a number of {digits} digits is too large; at most {_DIGITS} digits")
        self.at += 1
        return int(token)

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, token: str) -> bool:
        found = self.peek() == token
        self.at += found
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            self.fail(f"{token!r} was expected{f', not {self.peek()!r}' if self.peek() else ''}")

    def unknown(self, name: str) -> str:
        known = ", ".join(written for _, written in _PRIMITIVES.values())
        if not name:
            return f"the text ends where a pattern was expected: one of {known}"
        name = name[:_SHOWN]
        near: Any = get_close_matches(name.lower(), _PRIMITIVES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; the patterns are {known}"
        return f"{name!r} is no pattern{hint}"

    def fail(self, why: str) -> NoReturn:
        column = self.tokens[self.at][1] if self.at < len(self.tokens) else len(self.text)
        # The text around the column, on one line whatever the text holds.
        first = max(0, column - _SHOWN // 2)
        shown = self.text[first : first + _SHOWN]
        shown = "".join(c if c.isprintable() else " " for c in shown)
        raise PatternError(f"pattern: column {column + 1}: {why}\n  {shown}\n  {' ' * (column - first)}^")
