import json
import os

import pytest
import torch

from lookbehind.errors import RecordError
from lookbehind.tape import load
from tests.cli.verbs import refused, run

TINY = ("-m", "tests.models:tiny")


def test_a_recorded_tape_is_read_again(recorded):
    tape = load(recorded)
    assert len(tape.layers) == 2
    assert tape.tokens is not None
    assert "".join(tape.tokens).startswith("def parse(self, text):\n")
    # The last generated token is not fed back, so no query of it was computed.
    assert tape.steps[1:] == [1, 1]


def test_every_token_of_the_prompt_has_its_prediction(recorded):
    tape = load(recorded)
    assert tape.predictions.known.all() and len(tape.next(0).top) == 10
    assert tape.loss().isnan().tolist() == [False] * (tape.n_queries - 1) + [True]
    assert all(one.token is not None for one in tape.next(3).top)


@pytest.mark.parametrize("generate", [0, 3])
def test_reading_in_chunks_changes_nothing_that_is_written(tmp_path, monkeypatch, generate):
    import torch

    from lookbehind.cli import record
    from tests.models import tiny

    model, tokenizer = tiny()
    whole, written = record.record_run(model, tokenizer, "def parse(self, text):", tmp_path / "a", generate)
    monkeypatch.setattr(record, "MOST_LOGITS", 2 * len(tokenizer))  # two rows at a time
    parts, again = record.record_run(model, tokenizer, "def parse(self, text):", tmp_path / "b", generate)
    assert written == again and whole.token_ids == parts.token_ids
    assert len(parts.steps) > len(whole.steps) and max(parts.steps) == 2
    torch.testing.assert_close(parts.loss(), whole.loss(), equal_nan=True, atol=1e-5, rtol=1e-5)
    for one, other in zip(whole.layers, parts.layers, strict=True):
        torch.testing.assert_close(one.q, other.q)
        assert one.spans == other.spans


def test_a_cache_that_the_config_turns_off_is_used_all_the_same(tmp_path):
    from lookbehind.cli import record
    from tests.models import tiny

    model, tokenizer = tiny()
    model.config.use_cache = model.generation_config.use_cache = False
    tape, _ = record.record_run(model, tokenizer, "def parse(self):", tmp_path / "a", 3)
    assert tape.steps[1:] == [1, 1]


def test_a_tape_of_a_message_holds_the_tokens_that_the_model_read(tmp_path):
    out = tmp_path / "a.tape"
    assert run("record", "def parse(", "--chat", "-o", out, "-m", "tests.models:chatty").exit_code == 0
    tape = load(out)
    assert tape.tokens[0] == "<|endoftext|>"
    assert "".join(tape.tokens) == "<|endoftext|>user: def parse(\nassistant:"


def test_what_is_generated_may_be_sampled_the_same_for_a_seed(tmp_path):
    def written(name, *options):
        out = tmp_path / name
        asked = ("record", "def parse(", "-o", out, "-g", 8, "--json", *TINY)
        return json.loads(run(*asked, *options).stdout)["continuation"]

    likeliest, drawn = written("a"), written("b", "--temperature", 1)
    assert drawn != likeliest
    assert written("c", "--temperature", 1, "--seed", 0) == drawn
    assert written("d", "--temperature", 1, "--seed", 1) not in (drawn, likeliest)
    assert written("e", "--temperature", 1, "--top-p", 1e-6) == likeliest
    assert written("f", "--temperature", 1e-6) == likeliest
    # What the model said is kept as it was said, whatever was drawn from it.
    tape = load(tmp_path / "b")
    assert not all(tape.token_ids[row + 1] == tape.next(row).top[0].id for row in range(-8, -1))


def test_sampling_leaves_no_token_out_that_was_not_asked_to_be(tmp_path):
    import torch

    from lookbehind.cli import record
    from tests.models import tiny

    model, tokenizer = tiny()
    model.generation_config.top_k = 2
    ids = torch.tensor([tokenizer("def parse(")["input_ids"]])
    done = record.run_model(model, ids, 8, record.sampling(1e6, 1.0, 0))
    with torch.no_grad():
        logits = model(done).logits[0, ids.shape[1] - 1 : -1]
    drawn = logits.gather(1, done[0, ids.shape[1] :, None])
    assert ((logits > drawn).sum(1) > 50).any()


def test_a_model_that_says_nothing_cannot_be_sampled(tmp_path):
    said = refused(
        "record", "x", "-o", tmp_path / "a", "-g", 2, "--temperature", 1, "-m", "tests.models:silent"
    )
    assert "model: its logits are NaN or infinite and give no probabilities to sample from" in said
    assert list(tmp_path.iterdir()) == []


def test_record_says_what_was_computed(tmp_path):
    result = run("record", "def parse(self):", "-o", tmp_path / "a.tape", *TINY)
    assert result.exit_code == 0
    assert "tokens, 2 layers, 8 heads" in result.stdout
    assert "1 of the layers: causal & window(4), " in result.stdout
    assert "next: lookbehind heads" in result.stdout


def test_one_of_a_thing_is_said_as_one(tmp_path):
    said = run("record", "a", "-o", tmp_path / "a.tape", *TINY).stdout
    assert said.startswith("1 token, 2 layers") and "1 product per head" in said


def test_record_as_json(tmp_path):
    (tmp_path / "a.txt").write_text("def parse(self):")
    out = tmp_path / "a.tape"
    data = json.loads(run("record", "-f", tmp_path / "a.txt", "-o", out, "-g", 2, "--json", *TINY).stdout)
    assert data["tape"] == str(out)
    assert data["products"] == sum(kind["products"] * kind["heads"] for kind in data["kinds"])
    assert data["heads"] == 8
    assert isinstance(data["continuation"], str)
    assert data["bytes"] == sum(file.stat().st_size for file in out.iterdir())


def test_a_model_runs_in_the_dtype_asked_for(tmp_path):
    assert run("record", "x", "-o", tmp_path / "a.tape", "--dtype", "bfloat16", *TINY).exit_code == 0
    assert load(tmp_path / "a.tape").layers[0].q.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x"], "record: say where the tape goes, as in -o run.tape"),
        (["", "-o", "a.tape"], "text: it is empty"),
        (["-o", "a.tape", "-f", "none.txt"], "none.txt: cannot be read (No such file or directory)"),
        (["x", "-o", "taken"], "taken: exists already; choose another name or remove it first"),
        (["x", "-o", "no/where/a.tape"], "a.tape: there is no directory no/where; create it first"),
        (
            ["x", "-o", "a.tape", "-g", 1, "--temperature", -1],
            "a finite number of at least 0.000001 is needed",
        ),
        (["x", "-o", "a.tape", "-g", 1, "--temperature", "nan"], "temperature: 0 or a finite number"),
        (["x", "-o", "a.tape", "--temperature", 1], "no token is generated that could be sampled"),
        (["x", "-o", "a.tape", "--top-p", 0], "top-p: a share above 0 and up to 1 is needed; got 0"),
        (["x", "-o", "a.tape", "--top-p", 0.5], "top-p: without --temperature the likeliest token is taken"),
        (["x", "-o", "a.tape", "-g", 1, "--seed", 7], "seed: without --temperature the likeliest token is"),
        (
            ["x", "-o", "a.tape", "--dtype", "int8"],
            "dtype: float32, bfloat16, float16 or float64; got 'int8'",
        ),
        (["x", "-o", "a.tape", "--seed", -1], "seed: a whole number of at least 0 is needed; got -1"),
        (["x", "-o", "a.tape", "--chat", *TINY], "chat: this tokenizer has no chat template; leave chat out"),
        (["x", "-o", "a.tape", "-g", -1], "generate: a whole number of at least 0 is needed; got -1"),
        (
            ["x", "-o", "a.tape", "-g", 900, *TINY],
            "and 900 more are to be generated, but the model's context is 64",
        ),
        (
            ["return", "-o", "a.tape", "-m", "tests.models:narrow"],
            "but the model has 96 tokens; give the tokenizer that the model was made with",
        ),
        (["return", "-o", "a.tape", "-m", "tests.models:plain"], "are more than the model has tables for"),
        (["x", "-o", "a.tape", "-m", "taken"], "model taken: the directory has no config.json"),
    ],
)
def test_bad_input_is_said_in_words_and_writes_nothing(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert words in refused("record", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_directory_is_said_in_words(tmp_path):
    tmp_path.chmod(0o500)
    assert "is not writable; choose another place" in refused("record", "x", "-o", tmp_path / "a.tape")


def test_a_directory_that_may_not_be_written_is_refused_before_the_model_loads(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "is not writable; choose another place" in refused("record", "x", "-o", tmp_path / "a.tape")


def test_a_tape_that_another_run_began_meanwhile_is_left_alone(tmp_path, monkeypatch):
    import lookbehind.cli.record

    out = tmp_path / "a.tape"
    monkeypatch.setattr(lookbehind.cli.record, "check_new", lambda out: out.mkdir())
    assert "a.tape: exists already; choose another name" in refused("record", "x", "-o", out, *TINY)
    assert out.is_dir()


def test_a_run_that_fails_leaves_no_tape(tmp_path, monkeypatch):
    import lookbehind.recorder

    def fail(recorder):
        raise RecordError("model.layers.0: this bias is unknown")

    monkeypatch.setattr(lookbehind.recorder.Recorder, "tape", fail)
    assert "this bias is unknown" in refused("record", "x", "-o", tmp_path / "a.tape", *TINY, code=3)
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize(("read", "kept"), [(4, True), (0, False)])
def test_ctrl_c_leaves_what_was_read_by_then(tmp_path, monkeypatch, read, kept):
    import lookbehind.cli.record

    run_model = lookbehind.cli.record.run_model

    def cut_off(model, ids, generate, choice):
        if read:
            run_model(model, ids, read, choice)
        raise KeyboardInterrupt

    monkeypatch.setattr(lookbehind.cli.record, "run_model", cut_off)
    out = tmp_path / "a.tape"
    said = refused("record", "def parse(self):", "-o", out, "-g", 40, *TINY, code=130)
    assert out.exists() == kept
    if kept:
        tape = load(out)
        n_tokens = tape.layers[0].k.shape[1]
        assert not tape.complete and n_tokens > read
        assert f"interrupted: {out} holds {n_tokens} tokens read by then" in said
    else:
        assert said.strip() == "interrupted"
