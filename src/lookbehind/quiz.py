"""The quiz: questions made from patterns, as many fresh ones as one likes.

>>> (question,) = generate(["count"], n=1, seed=2)
>>> print(question.prompt)
A decoder-only model reads 7 tokens (`causal`). How many keys does q3 read?
>>> question.grade("4").reason
'q3 reads k0…k3: 4 keys.'
>>> question.grade("3").reason
'q3 reads k0…k3: 4 keys, not 3. q3·k3 is computed: k3 lies at or before q3.'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from lookbehind import checks
from lookbehind.errors import InputError
from lookbehind.pattern import Causal, Documents, First, Full, Pattern, Window
from lookbehind.questions import (
    HEATMAPS,
    LETTERS,
    Complete,
    Count,
    Debug,
    Disallowed,
    Heatmap,
    Mechanism,
    Question,
    labelled,
)
from lookbehind.reasons import meaning
from lookbehind.spans import Spans

MOST = 10_000  # questions in one go


def generate(kinds: Sequence[str] | None = None, n: int = 6, seed: int = 0) -> list[Question]:
    """`n` questions, the kinds in turn; the same seed makes the same questions, however many are asked for.

    Args:
        kinds: some of `KINDS`, in the order wanted; all unless given.
        n: how many.
        seed: any whole number.

    Raises:
        InputError: there is no such kind, or more are asked for than `MOST`.
    """
    kinds = list(KINDS) if kinds is None else list(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"quiz: {kind!r} is no kind of question; the kinds are {', '.join(KINDS)}")
    if not kinds:
        raise InputError(f"quiz: no kind of question was given; the kinds are {', '.join(KINDS)}")
    n = checks.whole("n", n, 0, MOST)
    return [KINDS[kinds[index % len(kinds)]](Random(f"{seed}:{index}")) for index in range(n)]


def _instance(rng: Random, decode: bool = True) -> tuple[Pattern, Spans, str]:
    """A pattern at some lengths, and the sentence that sets the scene."""
    n = rng.randint(4, 8)
    causal = Causal()
    cut = rng.randint(2, n - 2)
    pattern = rng.choice(
        [
            *[causal] * 4,
            causal & Window(rng.randint(2, 3)),
            causal | First(cut),
            causal & Documents([cut, n - cut]),
            causal & (Window(2) | First(1)),
        ]
    )
    named = f"`{pattern}`"
    if decode and pattern != causal | First(cut) and rng.random() < 0.25:
        spans = pattern.spans(1, n)
        scene = (
            f"A decoder's cache holds the keys k0…k{n - 1}. It computes one step, q{n - 1}, "
            f"with {named}{_gloss(pattern)}."
        )
    elif pattern == causal:
        spans, scene = pattern.spans(n), f"A decoder-only model reads {n} tokens ({named})."
    else:
        spans, scene = pattern.spans(n), f"A model reads {n} tokens with {named}{_gloss(pattern)}."
    return pattern, spans, scene


def _gloss(pattern: Pattern) -> str:
    return "" if pattern == Causal() else f": query i reads the keys {meaning(pattern)}"


def _disallowed(rng: Random) -> Question:
    while True:
        pattern, spans, scene = _instance(rng, decode=False)
        allowed = list(spans.pairs())
        banned = list((~spans).pairs())
        if len(allowed) >= 3 and banned:
            break
    wrong = rng.choice(banned)
    # The mirror of the wrong product is the tempting one: it tests which index is the query.
    tempting = [pair for pair in allowed if pair == wrong[::-1] or pair[0] == wrong[0]][:2]
    others = rng.sample([pair for pair in allowed if pair not in tempting], len(allowed) - len(tempting))
    pairs = [wrong, *(tempting + others)[:3]]
    rng.shuffle(pairs)
    return Disallowed(
        kind="disallowed",
        prompt=f"{scene} Which of these products is disallowed?",
        pattern=pattern,
        spans=spans,
        options=tuple(f"q{i}·k{j}" for i, j in pairs),
        answer=LETTERS[pairs.index(wrong)],
        pairs=tuple(pairs),
    )


def _count(rng: Random) -> Question:
    pattern, spans, scene = _instance(rng)
    query = spans.offset + rng.randrange(spans.n_queries)
    return Count(
        kind="count",
        prompt=f"{scene} How many keys does q{query} read?",
        pattern=pattern,
        spans=spans,
        answer=str(len(spans.keys(query - spans.offset))),
        query=query,
    )


def _complete(rng: Random) -> Question:
    while True:
        pattern, spans, scene = _instance(rng)
        row = rng.randrange(spans.n_queries)
        query, n = spans.offset + row, spans.n_keys
        keys = spans.keys(row)
        tempting = [
            list(range(n)),
            list(range(query + 1)),
            list(range(query)),
            list(range(query, n)),
            list(range(min(query + 2, n))),
            keys[1:],
            keys[:-1],
            [query],
            sorted({*keys, *rng.sample(range(n), 1)}),
        ]
        wrong = sorted({tuple(one) for one in tempting if one and one != keys})
        if len(wrong) >= 3:
            break
    lists = [tuple(keys), *rng.sample(wrong, 3)]
    rng.shuffle(lists)
    return Complete(
        kind="complete",
        prompt=f"{scene} Which list holds every product of q{query} and no other?",
        pattern=pattern,
        spans=spans,
        options=tuple(" ".join(f"q{query}·k{key}" for key in one) for one in lists),
        answer=LETTERS[lists.index(tuple(keys))],
        query=query,
        lists=tuple(lists),
    )


def _heatmap(rng: Random) -> Question:
    n = rng.randint(4, 8)
    shown = rng.sample(list(HEATMAPS), len(HEATMAPS))
    return Heatmap(
        kind="heatmap",
        prompt="Rows are queries, columns are keys, ■ is a weight above 0. "
        "Which heatmap is a decoder-only model's?",
        pattern=Causal(),
        spans=Causal().spans(n),
        drawings=tuple(str(pattern.spans(n)) for pattern in shown),
        answer=LETTERS[shown.index(Causal())],
        shown=tuple(shown),
    )


def _mechanism(rng: Random) -> Question:
    n = rng.randint(7, 10)
    prefix, size = rng.randint(3, n - 3), rng.randint(2, 4)
    cut = rng.randint(3, n - 3)
    tasks: dict[Pattern, tuple[str, list[str]]] = {
        Causal(): (
            "causal",
            [
                "A model writes a story one token at a time; each token may depend on all that was written "
                "before it, however far back.",
                "A code model is trained to predict every next token of a file from everything before it in "
                "the file.",
            ],
        ),
        Full(): (
            "bidirectional",
            [
                "A model decides whether a finished review is friendly; every token may use the words on "
                "both sides of it.",
                "Some words of a finished sentence are blanked out; a model fills each blank from all that "
                "stands before and after it.",
            ],
        ),
        Causal() | First(prefix): (
            "prefix",
            [
                f"A model reads a prompt of {prefix} tokens in both directions, then writes the answer one "
                "token at a time.",
                f"The {prefix} patches of an image may all see one another; the caption after them is "
                "generated left to right.",
            ],
        ),
        Causal() & Window(size): (
            "sliding window",
            [
                f"A model generates from an endless log; its cache holds {size} keys, so that a token reads "
                f"only the last {size} positions, its own included.",
                "A generating layer must cost the same at every step, however long the text: each token "
                f"reads itself and at most {size - 1} before it.",
            ],
        ),
        Causal() & Documents([cut, n - cut]): (
            "packed documents",
            [
                f"Two texts of {cut} and {n - cut} tokens fill one training row; each is learnt token after "
                "token, as if it were alone.",
                f"Prompts of {cut} and {n - cut} tokens are laid end to end to avoid padding; each is "
                "continued left to right, and none may see the other.",
            ],
        ),
    }
    shown = rng.sample(list(tasks), len(tasks))
    right = rng.choice(shown)
    return Mechanism(
        kind="mechanism",
        prompt=f"{rng.choice(tasks[right][1])} Which mechanism fits?",
        pattern=right,
        spans=right.spans(n),
        options=tuple(_option(tasks[pattern][0], pattern) for pattern in shown),
        answer=LETTERS[shown.index(right)],
        shown=tuple(shown),
    )


def _option(name: str, pattern: Pattern) -> str:
    return name if pattern == Causal() else f"{name}: {pattern}"


def _debug(rng: Random) -> Question:
    pattern, spans, scene = _instance(rng, decode=False)
    mask = spans.mask()
    opened = rng.random() < 0.5
    cells: list[tuple[int, int]] = [(int(i), int(j)) for i, j in np.argwhere(mask != opened)]
    query, key = rng.choice(cells)
    mask[query, key] = opened
    return Debug(
        kind="debug",
        prompt=f"{scene} But one cell of its mask is wrong. Which one? Is it a leak (a forbidden product is "
        "computed) or a loss (an allowed one is hidden)?",
        pattern=pattern,
        spans=spans,
        drawings=(labelled(Spans.from_mask(mask)),),
        answer=f"{query} {key} {'leak' if opened else 'loss'}",
        cell=(query, key),
    )


KINDS: dict[str, Callable[[Random], Question]] = {
    "disallowed": _disallowed,
    "count": _count,
    "complete": _complete,
    "heatmap": _heatmap,
    "mechanism": _mechanism,
    "debug": _debug,
}
