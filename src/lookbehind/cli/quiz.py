"""`lookbehind quiz`: fresh questions about patterns, graded with a reason."""

from __future__ import annotations

import json
from random import SystemRandom
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from lookbehind import checks
from lookbehind.cli.common import JsonOption, console, print_json
from lookbehind.errors import InputError
from lookbehind.questions import LETTERS, Question
from lookbehind.quiz import KINDS, MOST, generate

_GAP = 4  # columns between drawings side by side


def quiz(
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", "-k", help=f"{', '.join(KINDS)}; repeatable.", show_default="all"),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-c", help="How many questions.")] = len(KINDS),
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="The same seed asks the same questions.", show_default="a fresh one"),
    ] = None,
    answers: Annotated[
        str | None,
        typer.Option(
            "--answers",
            help="With --json: a JSON list of answers to grade, null where there is none.",
            show_default=False,
        ),
    ] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print the answers and their reasons.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Questions about which products a decoder computes; a wrong answer gets the reason.

    With --json the questions are printed, or, with --answers, graded: exit code 1 if an answer is wrong.
    """
    if answers is not None and (not as_json or reveal):
        raise InputError("--answers: grades in --json mode, without --reveal")
    checks.whole("count", count, 1, MOST)
    if seed is None:
        if answers is not None:
            raise InputError("--answers: give the --seed of the questions they answer")
        seed = SystemRandom().randrange(10_000)
    questions = generate(kind, count, seed)
    if answers is not None:
        graded = _grade(questions, answers)
        correct = sum(one["correct"] for one in graded)
        print_json({"seed": seed, "count": count, "correct": correct, "grades": graded})
        raise typer.Exit(0 if correct == count else 1)
    if as_json:
        asked = [{"number": number, **one.to_dict(reveal)} for number, one in enumerate(questions, start=1)]
        print_json({"seed": seed, "count": count, "questions": asked})
    elif reveal:
        for number, question in enumerate(questions, start=1):
            _ask(question, number, count)
            console.print(
                Padding(Text(f"{question.answer}: {question.grade(question.answer).reason}"), (0, 0, 1, 2))
            )
    else:
        _play(questions, seed)


def _grade(questions: list[Question], answers: str) -> list[dict[str, Any]]:
    try:
        given = json.loads(answers)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--answers: a JSON list is needed, as in '[\"a\", 3, null]'; {error}") from None
    if not isinstance(given, list) or len(given) != len(questions):  # pyright: ignore[reportUnknownArgumentType]
        arrived = f"{len(given)} answers" if isinstance(given, list) else type(given).__name__  # pyright: ignore
        raise InputError(f"--answers: a list of {len(questions)} answers is needed; got {arrived}")
    graded: list[dict[str, Any]] = []
    for number, (question, answer) in enumerate(zip(questions, given, strict=True), start=1):
        try:
            grade = question.grade(question.answer if answer is None else answer)
        except InputError as error:
            raise InputError(f"--answers: question {number}: {error}") from None
        found = {"number": number, "given": answer, "correct": grade.correct and answer is not None}
        graded.append(found | {"answer": question.answer, "reason": grade.reason})
    return graded


def _play(questions: list[Question], seed: int) -> None:
    right = asked = 0
    for number, question in enumerate(questions, start=1):
        _ask(question, number, len(questions))
        answer = _answer(question)
        if answer is None:
            break
        asked += 1
        grade = question.grade(answer)
        right += grade.correct
        said = Text(
            "Right. " if grade.correct else "No. ", style="bold green" if grade.correct else "bold yellow"
        )
        if not grade.correct and question.expects == "a letter":
            said.append(f"The answer is {question.answer}. ", style="bold default")
        console.print(Padding(said.append(grade.reason, style="not bold default"), (0, 0, 1, 2)))
    console.print(f"{right} of {asked} right (seed {seed}).")


def _ask(question: Question, number: int, count: int) -> None:
    console.print(Text.assemble((f"{number}/{count}  ", "dim"), (question.prompt, "bold")))
    console.print()
    for line in _drawings(question):
        console.print(Text(f"  {line}", style="cyan"))
    if question.drawings:
        console.print()
    for letter, option in zip(LETTERS, question.options, strict=False):
        # A no-break space keeps a letter with the first product of its list.
        console.print(Padding(Text(f"{letter})\u00a0{option}"), (0, 0, 0, 2)))
    if question.options:
        console.print()


def _drawings(question: Question) -> list[str]:
    """The pictures: one as it is; several side by side under their letters, or below one another."""
    if len(question.drawings) < 2:
        return [line for drawing in question.drawings for line in drawing.splitlines()]
    titled = [
        [f"{letter})", *one.splitlines()] for letter, one in zip(LETTERS, question.drawings, strict=False)
    ]
    width = max(len(line) for drawing in titled for line in drawing) + _GAP
    abreast = max(1, (console.width - 2) // width)
    lines: list[str] = []
    for first in range(0, len(titled), abreast):
        part = titled[first : first + abreast]
        lines += ["".join(cell.ljust(width) for cell in row).rstrip() for row in zip(*part, strict=True)]
        lines.append("")
    return lines[:-1]


def _answer(question: Question) -> str | None:
    """What the person answers, asked again until it can be read; None to leave."""
    while True:
        try:
            answer = console.input(Text(f"  {question.expects} (q leaves): ", style="dim"))
        except (EOFError, KeyboardInterrupt):
            console.print()
            return None
        if answer.strip().lower() in ("q", "quit"):
            return None
        try:
            question.grade(answer)
        except InputError as error:
            console.print(Text(f"  {error}", style="yellow"))
        else:
            return answer
