import json

import pytest

from lookbehind.cli.next import bar, shown
from tests.cli.verbs import refused, run

TINY = ("-m", "tests.models:tiny")


def test_the_built_in_decoder_answers_without_a_network():
    result = run("next", "def parse(", "-k", 3)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["next", "token", "probability", "logit", "id"]
    assert len(result.stdout.splitlines()) == 4


def test_next_as_json():
    data = json.loads(run("next", "def parse(", "-k", 3, "--json", *TINY).stdout)
    assert data["text"] == "def parse("
    assert len(data["tokens"]) == 3
    assert set(data["tokens"][0]) == {"token", "id", "probability", "logit"}


def test_steps_show_what_a_cache_saves(monkeypatch):
    result = run("next", "def parse(self):", "--steps", 4, *TINY)
    assert "with a cache" in result.stdout
    assert "Step 1 reads the prompt" in result.stdout
    monkeypatch.setattr("lookbehind.cli.next.console.width", 40)
    assert "…" not in run("next", "def parse(self):", "--steps", 4, *TINY).stdout
    said = " ".join(run("next", "def parse(self):", "--steps", 2, *TINY).stdout.split())
    assert "Step 2 added" in said and "it would compute" in said
    data = json.loads(run("next", "def parse(self):", "--steps", 4, "--json", *TINY).stdout)
    assert [step["rows"] for step in data["steps"]] == [data["n_prompt"], 1, 1, 1]
    assert {kind["pattern"] for kind in data["kinds"]} == {"causal", "causal & window(4)"}


def test_a_message_is_shown_as_the_model_read_it():
    asked = ("next", "def parse(", "--chat", "-m", "tests.models:chatty")
    assert json.loads(run(*asked, "--json").stdout)["text"] == "<|endoftext|>user: def parse(\nassistant:"
    assert "\n<|endoftext|>user: def parse(\nassistant:" in run(*asked, "--steps", 2).stdout


def test_a_token_cannot_act_on_the_terminal():
    assert shown("\x1b[2J").plain == '"\\u001b[2J"'
    assert shown(" é").plain == '" é"'
    assert shown("[bold]").plain == '"[bold]"'


@pytest.mark.parametrize(("share", "cells"), [(0, ""), (1, "█" * 8), (0.5, "████"), (1 / 64, "▏")])
def test_a_bar_is_as_long_as_its_share(share, cells):
    assert bar(share, 8).plain == cells


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "text: it is empty; give at least one token to read"),
        ([], "text: give a text or --file, one of the two; got neither"),
        (["x", "-k", 0], "k: a whole number of at least 1 is needed; got 0"),
        (["x", "--steps", 0], "steps: a whole number of at least 1 is needed; got 0"),
        (["x", "-m", "./none"], "model ./none: there is no such directory; give a local directory, a hub id"),
        (["x" * 900, *TINY], "but the model's context is 64; shorten it or choose another model"),
        (["x", "-m", "tests.models:bare"], "came without a tokenizer"),
        (["x", "--chat"], "chat: this tokenizer has no chat template; leave chat out"),
        (["return", "-m", "tests.models:narrow"], "give the tokenizer that the model was made with"),
        (
            ["return", "--steps", 2, "-m", "tests.models:narrow"],
            "but the model has 96 tokens; give the tokenizer",
        ),
    ],
)
def test_bad_input_is_said_in_words(arguments, words):
    assert words in refused("next", *arguments)


def test_a_model_that_fails_could_not_run():
    assert "broken() fails" in refused("next", "x", "-m", "tests.models:broken", code=3)
