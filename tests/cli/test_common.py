import io
import json

import pytest
import torch

from lookbehind.cli import common
from lookbehind.cli.common import (
    CannotRunError,
    harmless,
    load_model,
    need_tokenizer,
    print_json,
    read_text,
    set_up,
)
from lookbehind.errors import InputError


def test_text_is_an_argument_or_a_file(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("é\n", encoding="utf-8")
    assert read_text("abc", None) == "abc"
    assert read_text(None, tmp_path / "a.txt") == "é\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert read_text(None, common.Path("-")) == "from a pipe"


def test_a_text_that_names_a_file_is_told_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 1", encoding="utf-8")
    assert read_text("a.py", None) == "a.py"
    told = "lookbehind: the text is 'a.py', which is a file here too; --file reads what it holds\n"
    assert capsys.readouterr().err == told
    for text in ("b.py", "x" * 100_000, "a\0b"):
        assert read_text(text, None) == text
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "name", "content", "words"),
    [
        (None, None, b"", "text: give a text or --file, one of the two; got neither"),
        ("x", "a.txt", b"x", "text: give a text or --file, one of the two; got both"),
        ("", None, b"", "text: it is empty; give at least one token to read"),
        ("\udcff", None, b"", r"text: '\\udcff' at 0 is no character; give text in UTF-8"),
        (None, "a.txt", b"", "a.txt: it is empty; give at least one token to read"),
        (None, "a.txt", b"ab\xff", r"a.txt: is not UTF-8 text \(byte 2\); give a text file"),
        (None, "none.txt", None, r"none.txt: cannot be read \(No such file or directory\); give a text file"),
        (None, ".", None, r"cannot be read \(Is a directory\); give a text file"),
    ],
)
def test_no_text_is_said_in_words(tmp_path, text, name, content, words):
    if content is not None and name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_text(text, tmp_path / name if name else None)


def test_a_text_without_an_end_is_not_read_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "_LONGEST", 100_000)
    (tmp_path / "a.txt").write_text("x" * 100_000)
    assert len(read_text(None, tmp_path / "a.txt")) == 100_000
    (tmp_path / "a.txt").write_text("x" * 100_001)
    for path in [tmp_path / "a.txt", *(one for one in [common.Path("/dev/zero")] if one.exists())]:
        with pytest.raises(InputError, match=f"{path.name}: holds more than 0.1 MB; give a shorter text"):
            read_text(None, path)


def test_what_a_model_says_does_not_act_on_the_terminal():
    assert harmless("a\tb\n é\x1b[2J\x07") == "a\tb\n é\\x1b[2J\\x07"


def test_json_has_no_number_that_json_does_not_know(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], 3: ("é",)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "3": ["é"]}


def test_models_come_from_factories_and_directories(tmp_path):
    model, tokenizer = load_model("tests.models:tiny")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_model(str(tmp_path))
    assert again.config.num_hidden_layers == 2
    assert not again.training
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "return_dict": False}))
    assert load_model(str(tmp_path))[0].config.return_dict, "transformers fail on tuples of their own"
    model, none = load_model("tests.models:bare")
    assert none is None
    with pytest.raises(InputError, match="came without a tokenizer; let the factory return"):
        need_tokenizer("tests.models:bare", none)


def test_a_model_is_moved_and_switched_where_that_is_asked():
    model = load_model("tests.models:tiny")[0]
    usual = model.config._attn_implementation
    set_up(model, None, None)
    assert model.config._attn_implementation == usual
    set_up(model, "cpu", "eager")
    assert model.config._attn_implementation == "eager"
    with pytest.raises(CannotRunError, match="attn: Qwen3ForCausalLM does not take sideways"):
        set_up(model, None, "sideways")
    with pytest.raises(InputError, match="device: 'nowhere' is none here"):
        set_up(model, "nowhere", None)
    for device, words in (("hpu", "is none here"), ("vulkan", "is none here"), ("meta", "no numbers")):
        with pytest.raises(InputError, match=f"^device: .*{device}.* {words}") as told:
            set_up(model, device, None)
        assert len(str(told.value)) < 160
    with pytest.raises(
        InputError, match="attn: Linear is no model of transformers, which alone can be switched"
    ):
        set_up(torch.nn.Linear(1, 1), None, "eager")


def test_a_factory_may_lie_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "my_model_here.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Linear(1, 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(common.sys.path))
    assert load_model("my_model_here:make")[1] is None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "./nowhere/at/all",
            "there is no such directory; give a local directory, a hub id .* or module:factory",
        ),
        ("no_such_module:make", "there is no module no_such_module in .* check the name before the colon"),
        (
            "tests.models:nothing",
            "module tests.models has no function nothing; check the name after the colon",
        ),
        ("tests.models:number", "module tests.models has no function number"),
        ("tests.models:wrong", r"wrong\(\) returned str; return a torch module or \(model, tokenizer\)"),
    ],
)
def test_a_spec_that_is_no_model_is_said_in_words(spec, words):
    with pytest.raises(InputError, match=words):
        load_model(spec)


def test_a_directory_or_file_that_is_no_model_is_said_in_words(tmp_path):
    with pytest.raises(
        InputError, match=r"the directory has no config\.json; give one written by save_pretrained"
    ):
        load_model(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"is a file; give the directory that holds config\.json"):
        load_model(str(tmp_path / "model.bin"))


def test_a_damaged_model_directory_could_not_run(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(CannotRunError, match="does not load as a causal language model"):
        load_model(str(tmp_path))


def test_a_model_whose_weights_are_cut_short_could_not_run(tmp_path):
    model, tokenizer = load_model("tests.models:tiny")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CannotRunError, match="does not load as a causal language model"):
        load_model(str(tmp_path))


def test_a_model_without_its_tokenizer_could_not_run(tmp_path):
    model, _ = load_model(None)
    model.save_pretrained(tmp_path)
    with pytest.raises(CannotRunError, match="holds no tokenizer; save the tokenizer there too"):
        load_model(str(tmp_path))


def test_a_factory_that_fails_could_not_run():
    with pytest.raises(
        CannotRunError, match=r"broken\(\) fails \(RuntimeError: the weights are on the other disk\)"
    ):
        load_model("tests.models:broken")


def test_a_hub_id_without_a_network_fails_at_once_and_says_so(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port
    with pytest.raises(
        InputError, match=r"no such model in the local cache, and the hub cannot be reached .*; give a"
    ):
        load_model("nobody/no-such-model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set; give a local directory"):
        load_model("nobody/no-such-model")
