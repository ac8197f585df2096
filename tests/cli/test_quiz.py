import json

import pytest
from typer.testing import CliRunner

from lookbehind.cli import app
from lookbehind.quiz import KINDS, generate

runner = CliRunner()


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setattr("lookbehind.cli.quiz.console.width", 80)


def run(*arguments, given=None):
    return runner.invoke(app, ["quiz", *arguments], input=given)


def answers(n=6, seed=1):
    return [question.answer for question in generate(n=n, seed=seed)]


def play(text, *arguments):
    result = run("--seed", "1", *arguments, given=text)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_json_prints_questions_without_answers():
    result = run("--json", "--seed", "1", "--count", "6")
    told = json.loads(result.output)
    assert result.exit_code == 0
    assert [question["kind"] for question in told["questions"]] == list(KINDS)
    assert '"answer"' not in result.output and '"reason"' not in result.output


def test_json_reveals_when_asked():
    told = json.loads(run("--json", "--seed", "1", "--reveal").output)
    assert [question["answer"] for question in told["questions"]] == answers()


def test_right_answers_pass():
    result = run("--json", "--seed", "1", "--answers", json.dumps(answers()))
    assert (result.exit_code, json.loads(result.output)["correct"]) == (0, 6)


@pytest.mark.parametrize("wrong", [None, "1", 1])
def test_a_wrong_answer_is_a_finding(wrong):
    given = answers()
    given[1] = wrong
    result = run("--json", "--seed", "1", "--answers", json.dumps(given))
    told = json.loads(result.output)
    assert (result.exit_code, told["correct"]) == (1, 5)
    assert told["grades"][1]["correct"] is False and told["grades"][1]["reason"]


def test_played_right():
    assert "6 of 6 right (seed 1)." in play("\n".join(answers()) + "\n")


def test_a_wrong_answer_gets_the_reason():
    told = play("1\n", "--kind", "count", "--count", "1")
    question = generate(["count"], 1, 1)[0]
    assert f"No. {question.grade('1').reason}" in told
    assert "0 of 1 right" in told


def test_an_answer_that_cannot_be_read_is_asked_again():
    told = play("what\n1\n", "--kind", "count", "--count", "1")
    assert "answer: a whole number is needed; got 'what'" in told
    assert "0 of 1 right" in told


@pytest.mark.parametrize("leave", ["q\n", ""])
def test_leaving(leave):
    told = play(answers()[0] + "\n" + leave)
    assert "1 of 1 right" in told


def test_ctrl_c_leaves(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookbehind.cli.quiz.console.input", interrupted)
    assert "0 of 0 right" in play("")


def test_heatmaps_stand_side_by_side_where_they_fit(monkeypatch):
    def lines():
        return len(run("--kind", "heatmap", "--count", "1", "--seed", "1", "--reveal").output.splitlines())

    wide = lines()
    monkeypatch.setattr("lookbehind.cli.quiz.console.width", 40)
    assert lines() > wide


def test_revealed_on_paper():
    told = " ".join(run("--seed", "1", "--reveal").output.split())
    assert all(f"{answer}: " in told for answer in answers())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind", "nope"], "quiz: 'nope' is no kind of question; the kinds are disallowed"),
        (["--count", "-1"], "count: a whole number of at least 1 is needed; got -1"),
        (["--json", "--seed", "1", "--answers", "[1"], "--answers: a JSON list is needed"),
        (["--json", "--seed", "1", "--answers", "[]"], "a list of 6 answers is needed; got 0 answers"),
        (["--json", "--seed", "1", "--answers", "{}"], "a list of 6 answers is needed; got dict"),
        (
            ["--json", "--seed", "1", "--count", "1", "--answers", '["z"]'],
            "question 1: answer: one of the letters",
        ),
        (["--json", "--answers", "[]"], "give the --seed of the questions they answer"),
        (["--seed", "1", "--answers", "[]"], "--answers: grades in --json mode"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output
