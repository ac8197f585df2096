import dataclasses
import json
import re

import numpy as np
import pytest

from lookbehind.errors import InputError
from lookbehind.questions import HEATMAPS, LETTERS
from lookbehind.quiz import KINDS, MOST, generate
from tests.dense import allowed

SEEDS = range(60)
PAIR = re.compile(r"q(\d+)·k(\d+)")


def questions(kind):
    return [question for seed in SEEDS for question in generate([kind], n=1, seed=seed)]


def holds(question, query, key):
    """Whether the pair is computed, by the oracle and not by the code under test."""
    return allowed(question.pattern, query, key)


def true_to_spans(question, reason):
    """Every statement in a reason about a pair says what the oracle says; and there is at least one."""
    claims = re.findall(r"q(\d+)·k(\d+) is (computed|not computed|open|hidden)", reason)
    claims += [(i, j, "not computed") for i, j in re.findall(r"It computes q(\d+)·k(\d+), but", reason)]
    claims += [(i, j, "computed") for i, j in re.findall(r"It never computes q(\d+)·k(\d+), but", reason)]
    for i, j, said in claims:
        assert holds(question, int(i), int(j)) == (said in ("computed", "hidden")), reason
    return len(claims)


@pytest.mark.parametrize("kind", ["disallowed", "complete", "heatmap", "mechanism"])
def test_one_option_is_right_and_every_other_is_wrong_for_a_named_pair(kind):
    for question in questions(kind):
        assert len({*question.options, *question.drawings}) == question.n_options >= 4
        letters = LETTERS[: question.n_options]
        for letter in letters:
            grade = question.grade(letter)
            assert grade.correct == (letter == question.answer)
            assert grade.correct or true_to_spans(question, grade.reason) >= 1


@pytest.mark.parametrize("kind", ["disallowed", "complete", "heatmap", "mechanism"])
def test_the_right_answer_moves_about(kind):
    assert {question.answer for question in questions(kind)} == {*LETTERS[: questions(kind)[0].n_options]}


def test_disallowed_products_by_the_oracle():
    for question in questions("disallowed"):
        computed = [holds(question, *map(int, PAIR.findall(option)[0])) for option in question.options]
        assert computed.count(False) == 1
        assert LETTERS[computed.index(False)] == question.answer


def test_complete_lists_by_the_oracle():
    for question in questions("complete"):
        right = [
            all(holds(question, question.query, key) == (key in keys) for key in range(question.spans.n_keys))
            for option in question.options
            for keys in [{int(key) for _, key in PAIR.findall(option)}]
        ]
        assert right.count(True) == 1
        assert LETTERS[right.index(True)] == question.answer


def test_counts_by_the_oracle():
    for question in questions("count"):
        right = sum(holds(question, question.query, key) for key in range(question.spans.n_keys))
        assert question.answer == str(right)
        for given in range(-1, question.spans.n_keys + 3):
            grade = question.grade(given)
            assert grade.correct == (given == right)
            only = "There are only" in grade.reason and right == question.spans.n_keys
            assert grade.correct or only or true_to_spans(question, grade.reason) == 1


def test_every_heatmap_is_what_it_is_called():
    square = np.ones((5, 5), dtype=bool)
    drawn = {
        "the lower triangle": np.tril(square),
        "the full square of an encoder": square,
        "the upper triangle, the decoder's turned about": np.triu(square),
        "the diagonal, where a token reads only itself": np.eye(5, dtype=bool),
    }
    assert list(HEATMAPS.values()) == list(drawn)
    for pattern, name in HEATMAPS.items():
        assert (pattern.spans(5).mask() == drawn[name]).all(), name


def test_the_heatmap_is_the_lower_triangle():
    for question in questions("heatmap"):
        n = question.spans.n_keys
        drawn = question.drawings[LETTERS.index(question.answer)]
        cells = np.array([[cell == "■" for cell in line.split()] for line in drawn.splitlines()])
        assert np.array_equal(cells, np.tri(n, dtype=bool))


def test_the_mechanisms_all_occur():
    right = {
        question.options[LETTERS.index(question.answer)].split(":")[0] for question in questions("mechanism")
    }
    assert right == {"causal", "bidirectional", "prefix", "sliding window", "packed documents"}


def test_a_debugging_case_has_one_wrong_cell_and_says_what_it_does():
    effects = set()
    for question in questions("debug"):
        rows = [line.split()[1:] for line in question.drawings[0].splitlines()[1:]]
        wrong = [
            (i, j, "leak" if cell == "■" else "loss")
            for i, row in enumerate(rows)
            for j, cell in enumerate(row)
            if (cell == "■") != holds(question, i, j)
        ]
        assert len(wrong) == 1
        query, key, effect = wrong[0]
        effects.add(effect)
        assert question.answer == f"{query} {key} {effect}"
        for form in (
            question.answer,
            wrong[0],
            list(wrong[0]),
            f"q{query}·k{key}: {effect}",
            f"Q{query}, K{key} {effect.upper()}",
        ):
            grade = question.grade(form)
            assert grade.correct
            assert true_to_spans(question, grade.reason) == 1
            assert ("would depend on" in grade.reason) == (effect == "leak")
        other = "loss" if effect == "leak" else "leak"
        grade = question.grade(f"{query} {key} {other}")
        assert not grade.correct and grade.reason.startswith("The cell is right, the effect is not.")
        for i in range(question.spans.n_queries):
            for j in range(question.spans.n_keys):
                if (i, j) != (query, key):
                    grade = question.grade(f"{i} {j} {effect}")
                    assert not grade.correct
                    assert true_to_spans(question, grade.reason) == 2
    assert effects == {"leak", "loss"}


def test_instances_vary():
    seen = [question for seed in SEEDS for question in generate(n=6, seed=seed)]
    assert {str(question.pattern).split("(")[0] for question in seen} >= {
        "causal",
        "causal & window",
        "causal | first",
        "causal & documents",
        "causal & ",
    }
    assert any(question.spans.offset > 0 for question in seen)  # a decode step
    assert len({question.spans.n_keys for question in seen}) > 3


def test_a_seed_asks_the_same_however_many_are_asked():
    assert generate(n=12, seed=5)[:4] == generate(n=4, seed=5)
    assert generate(n=6, seed=5) != generate(n=6, seed=6)
    assert [question.kind for question in generate(n=8, seed=0)] == [*KINDS, "disallowed", "count"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        generate(n=1)[0].answer = "a"


def test_json_keeps_the_answers_apart():
    for question in generate(n=12, seed=3):
        asked, told = question.to_dict(), question.to_dict(reveal=True)
        json.dumps(told)
        assert "answer" not in asked and "reason" not in asked
        assert told["answer"] == question.answer
        assert question.grade(told["answer"]).correct
        assert len(asked.get("options", ())) == len(question.options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: generate(["nope"]),
            "'nope' is no kind of question; the kinds are disallowed, count, complete",
        ),
        (lambda: generate([]), "no kind of question was given"),
        (lambda: generate(n=-1), "n: a whole number of at least 0 is needed; got -1"),
        (lambda: generate(n=MOST + 1), "got 10001"),
        (lambda: generate(["complete"], 1)[0].grade("x"), "one of the letters a, b, c, d is needed; got 'x'"),
        (lambda: generate(["count"], 1)[0].grade("four"), "a whole number is needed; got 'four'"),
        (lambda: generate(["count"], 1)[0].grade(True), "a whole number is needed; got True"),
        (
            lambda: generate(["debug"], 1)[0].grade("2 4"),
            "query, key, and leak or loss, as in '2 4 leak', is needed",
        ),
        (lambda: generate(["debug"], 1)[0].grade("2 400 leak"), "q2·k400 is not in the picture"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_no_questions_at_all():
    assert generate(n=0) == []
