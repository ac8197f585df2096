"""Written: token ids, masks and positions as Python that makes them again, short however long they are.

Short rows are written out. Of a long one, what repeats or counts is written as that, and tokens that the
audit drew as the draw, from its seed:

    plain, seeded = torch.arange(0, 31), torch.Generator().manual_seed
    x0 = plain[torch.randint(0, len(plain), (1, 264), generator=seeded(1000003))].tolist()
    ids = torch.tensor([x0[0][:263] + [7]])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lookbehind.auditor.subject import Draw, Subject

_SHORT = 24  # so many numbers are written out
_LEAST = 6  # so many are worth a part of their own


class _Part(NamedTuple):
    """Some numbers in a row: how many, and as what; `draw` is where they stand, if in one."""

    length: int
    text: str = ""
    draw: Draw | None = None


class Written:
    """Writes the tensors of one reproducer.

    Args:
        subject: the model whose tokens they are.

    Attributes:
        lines: Python that has to stand above the expressions given out.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.lines: list[str] = []
        self._names: dict[Draw, str] = {}
        self._values: dict[Draw, NDArray[np.int64]] = {}

    def tensor(self, values: torch.Tensor) -> str:
        """An expression for a tensor [B, n] of whole numbers, on the model's device."""
        rows = ", ".join(self.row(row) for row in values.tolist())
        device = self.subject.device
        return f"torch.tensor([{rows}]" + (")" if device.type == "cpu" else f", device={str(device)!r})")

    def row(self, row: Sequence[int]) -> str:
        """An expression for a list of whole numbers."""
        if len(row) <= _SHORT:
            return str(list(row))
        texts, loose, at = list[str](), list[int](), 0
        while at < len(row):
            parts = (_constant(row, at), _counting(row, at), self._drawn(row, at))
            part = max(parts, key=lambda one: one.length)
            if part.length < _LEAST:
                loose.append(row[at])
                at += 1
                continue
            if loose:
                texts.append(str(loose))
                loose = []
            texts.append(part.text if part.draw is None else self._named(part.draw) + part.text)
            at += part.length
        return " + ".join([*texts, str(loose)] if loose else texts)

    def _drawn(self, row: Sequence[int], at: int) -> _Part:
        """The longest stretch from here on that stands in a row of a draw."""
        best, wanted = _Part(0), np.asarray(row[at:])
        if len(wanted) < _LEAST:
            return best
        for draw in self._draws():
            for index, values in enumerate(self._drawing(draw)):
                same = (sliding_window_view(values, _LEAST) == wanted[:_LEAST]).all(axis=1)
                for start in np.flatnonzero(same).tolist():
                    least = min(len(values) - start, len(wanted))
                    differ = np.flatnonzero(values[start : start + least] != wanted[:least])
                    length = int(differ[0]) if len(differ) else least
                    if length > best.length:
                        stop = "" if start + length == len(values) else start + length
                        span = "" if length == len(values) else f"[{start or ''}:{stop}]"
                        best = _Part(length, f"[{index}]{span}", draw)
        return best

    def _draws(self) -> Iterator[Draw]:
        """Whatever tokens may come from; what has a name comes first."""
        yield from tuple(self._names)
        for first in [draw for draw in self.subject.drawn if draw.n > _SHORT]:
            yield first
            yield from (replace(first, seed=seed, of=first) for seed in self.subject.turned)

    def _drawing(self, draw: Draw) -> NDArray[np.int64]:
        """The tokens of a draw, [rows, n]."""
        if draw not in self._values:
            base = None if draw.of is None else torch.from_numpy(self._drawing(draw.of))
            drawn = (
                self.subject.ids(draw.seed, draw.n, draw.rows)
                if base is None
                else self.subject.others(base, draw.seed)
            )
            self._values[draw] = drawn.cpu().numpy()
        return self._values[draw]

    def _named(self, draw: Draw) -> str:
        """The variable that holds a draw, as a list of rows."""
        if draw in self._names:
            return self._names[draw]
        base = None if draw.of is None else self._named(draw.of)
        if not self.lines:
            self.lines.append(f"plain, seeded = {self._tokens()}, torch.Generator().manual_seed")
        name = self._names[draw] = f"x{len(self._names)}"
        least = 0 if base is None else 1
        drawn = f"torch.randint({least}, len(plain), ({draw.rows}, {draw.n}), generator=seeded({draw.state}))"
        if base is not None:
            drawn = f"(torch.searchsorted(plain, torch.tensor({base})) + {drawn}) % len(plain)"
        self.lines.append(f"{name} = plain[{drawn}].tolist()")
        return name

    def _tokens(self) -> str:
        tokens = self.subject.plain.tolist()
        first, last = tokens[0], tokens[-1]
        if len(tokens) == last - first + 1:
            return f"torch.arange({first}, {last + 1})"
        special = sorted(set(range(last + 1)) - set(tokens))
        return f"torch.tensor([token for token in range({last + 1}) if token not in {special}])"


def _constant(row: Sequence[int], at: int) -> _Part:
    stop = next((k for k in range(at, len(row)) if row[k] != row[at]), len(row))
    return _Part(stop - at, f"[{row[at]}] * {stop - at}")


def _counting(row: Sequence[int], at: int) -> _Part:
    stop = next((k for k in range(at, len(row)) if row[k] != row[at] + k - at), len(row))
    first, last = row[at], row[at] + stop - at
    return _Part(stop - at, f"[*range({last})]" if first == 0 else f"[*range({first}, {last})]")
