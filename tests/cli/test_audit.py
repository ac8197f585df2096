import contextlib
import json
from xml.etree import ElementTree

import pytest
import torch
from typer.testing import CliRunner

from lookbehind.cli import app, audit

LEAKY, HONEST = "tests.auditor.models:leaky", "tests.auditor.models:honest"


def run(*arguments):
    return CliRunner().invoke(app, ["audit", *arguments])


def test_a_leak_is_exit_code_1_and_a_readable_report():
    result = run(LEAKY, "--select", "LB101")
    assert result.exit_code == 1
    assert "LB101  future-leak       fail" in result.output
    assert "culprit: blocks.1.mixer (Ahead, " in result.output
    assert "from tests.auditor.models import leaky" in result.output


def test_a_reproducer_makes_the_model_in_the_dtype_and_mode_of_the_audit(capsys):
    told = run("tests.auditor.models:OnlyHalf", "--dtype", "bfloat16", "--select", "LB101", "--json")
    reproducer = json.loads(told.output)["outcomes"][0]["reproducer"]
    made = {}
    exec(reproducer, made)
    assert (made["model"].head.weight.dtype, made["model"].training) == (torch.bfloat16, False)
    assert not capsys.readouterr().out.startswith("tensor(0., ")


def test_an_honest_model_is_exit_code_0():
    result = run(HONEST, "--select", "LB101,LB102", "--ignore", "LB102", "--json")
    assert result.exit_code == 0
    told = json.loads(result.output)
    assert (told["verdict"], [one["rule"] for one in told["outcomes"]]) == ("pass", ["LB101"])


def test_machines_read_it_too():
    assert (
        ElementTree.fromstring(run(LEAKY, "-s", "LB101", "--format", "junit").output).get("failures") == "1"
    )
    assert json.loads(run(LEAKY, "-s", "LB101", "--format", "sarif").output)["version"] == "2.1.0"


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_was_decided_before_ctrl_c_is_told_and_is_no_pass(monkeypatch, form):
    def stopped(subject, plan):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookbehind.auditor.structure.check", stopped)
    for model, verdict in ((HONEST, "not covered"), (LEAKY, "fail")):
        result = run(model, "--select", "LB1", "--format", form)
        assert result.exit_code == 130
        assert result.stderr == "lookbehind: interrupted\n"
        if form == "text":
            assert result.stdout.startswith(f"Plain: {verdict}")
            assert (
                "LB103  pattern-exceeds   not covered    interrupted before it was decided" in result.stdout
            )
            continue
        told = json.loads(result.stdout)
        assert (told["verdict"], told["interrupted"]) == (verdict, True)
        found = {one["rule"]: one["verdict"] for one in told["outcomes"]}
        assert found["LB101"] == ("pass" if model == HONEST else "fail")
        assert found["LB103"] == found["LB104"] == "not covered"


def test_progress_says_what_is_tried_and_how_long_it_takes(monkeypatch):
    said = []

    class Status:
        update = staticmethod(said.append)

    clock = iter([0.0, 2.0, 4.0, 4.0])
    monkeypatch.setattr("lookbehind.cli.audit.working", lambda _: contextlib.nullcontext(Status))
    monkeypatch.setattr("lookbehind.cli.audit.time.perf_counter", lambda: next(clock))
    with audit._progress() as tell:
        tell("single tokens changed, seed 0", 1, 3)
        tell("single tokens changed, seed 0", 2, 3)
        tell("prefixes alone", 0, 9)
    assert said == [
        "auditing, 2 s: single tokens changed, seed 0, 1 of 3, about 4 s more",
        "auditing, 4 s: single tokens changed, seed 0, 2 of 3, about 2 s more",
        "auditing, 4 s: prefixes alone, 0 of 9",
    ]


def test_a_rule_is_explained():
    result = run("--explain", "LB101")
    assert result.exit_code == 0
    assert result.output.startswith("LB101 future-leak\n\nClaim: the output at i does not change when")


def test_an_architecture_needs_no_weights():
    result = run("--arch", "Qwen3ForCausalLM", "--select", "LB104")
    assert result.exit_code == 0, result.output
    assert "Qwen3ForCausalLM: pass" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--explain", "LB9"], "rules: there is no 'LB9'"),
        ([HONEST, "--select", "LB9"], "rules: there is no 'LB9'"),
        (
            [HONEST, "--arch", "Qwen3ForCausalLM"],
            "audit: a model and --arch are two models; give one of them",
        ),
        ([HONEST, "--dtype", "int8"], "dtype: float32, bfloat16, float16 or float64; got 'int8'"),
        ([HONEST, "--seeds", "0"], "seeds: a whole number of at least 1 is needed; got 0"),
        (
            [HONEST, "--seeds", "99999999999"],
            "seeds: a whole number of at most 1000 is needed; got 99999999999",
        ),
        ([HONEST, "--expect", "causl"], "causl"),
        ([HONEST, "--expect", "documents(2)", "-n", "6"], "documents"),
        (["--arch", "NoSuchForCausalLM"], "NoSuchForCausalLM"),
        (["--arch", "Qwen3ForCausalLm"], "has this name; is Qwen3ForCausalLM meant?"),
        (["--arch", "GPT2"], "has this name; is GPT2LMHeadModel meant?"),
        ([HONEST, "--json", "--format", "sarif"], "--json and --format sarif are two formats; choose one"),
    ],
)
def test_usage_is_exit_code_2(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr


def test_an_encoder_is_not_let_through():
    result = run("tests.auditor.models:encoder")
    assert result.exit_code == 3
    assert "no rule could be decided: Plain declares is_decoder=False: an encoder" in result.stderr


def test_nothing_decided_is_exit_code_3():
    result = run("tests.models:embedder", "--select", "LB101")
    assert result.exit_code in (2, 3)
