import json

import pytest
import torch

from lookbehind.cli import models
from lookbehind.cli.models import CannotRunError, load_both, load_model, load_tokenizer, set_up
from lookbehind.errors import InputError


def test_models_come_from_factories_and_directories(tmp_path):
    model, tokenizer = load_both("tests.models:tiny")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = load_both(str(tmp_path))[0]
    assert again.config.num_hidden_layers == 2
    assert not again.training
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "return_dict": False}))
    assert load_model(str(tmp_path)).config.return_dict, "transformers fail on tuples of their own"
    assert isinstance(load_model("tests.models:bare"), torch.nn.Module)
    for load in (load_both, load_tokenizer):
        with pytest.raises(InputError, match="came without a tokenizer; let the factory return"):
            load("tests.models:bare")
    assert len(load_tokenizer("tests.models:tiny")) == len(tokenizer)


def test_a_model_is_moved_and_switched_where_that_is_asked():
    model = load_model("tests.models:tiny")
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
    monkeypatch.setattr("sys.path", list(models.sys.path))
    assert isinstance(load_model("my_model_here:make"), torch.nn.Linear)


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
    model, tokenizer = load_both("tests.models:tiny")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CannotRunError, match="does not load as a causal language model"):
        load_model(str(tmp_path))


def test_a_model_without_its_tokenizer_runs_where_none_is_needed(tmp_path):
    load_model(None).save_pretrained(tmp_path)
    assert load_model(str(tmp_path)).config.num_hidden_layers == 6
    for load in (load_both, load_tokenizer):
        with pytest.raises(CannotRunError, match="has no tokenizer that loads; save the tokenizer there too"):
            load(str(tmp_path))


def test_of_a_tokenizer_no_weights_are_read(tmp_path):
    model, tokenizer = load_both("tests.models:tiny")
    model.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert len(load_tokenizer(str(tmp_path))) == len(tokenizer)
    with pytest.raises(CannotRunError, match="does not load as a causal language model"):
        load_model(str(tmp_path))


def test_code_that_comes_with_a_model_runs_where_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = tmp_path / "own"
    for part in load_both("tests.models:tiny"):
        part.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    own = {"AutoConfig": "its_config.Own", "AutoModelForCausalLM": "its_model.OwnForCausalLM"}
    (path / "config.json").write_text(json.dumps({**config, "model_type": "its own", "auto_map": own}))
    (path / "its_config.py").write_text(
        "from transformers import Qwen3Config\nclass Own(Qwen3Config):\n    model_type = 'its own'\n"
    )
    (path / "its_model.py").write_text(
        "from transformers import Qwen3ForCausalLM\nfrom .its_config import Own\n"
        "class OwnForCausalLM(Qwen3ForCausalLM):\n    config_class = Own\n"
    )
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a person is asked"))
    for load in (load_model, load_both):
        with pytest.raises(InputError, match="code of its own; read it first, and give --trust-remote-code"):
            load(str(path))
    assert type(load_model(str(path), trust=True)).__name__ == "OwnForCausalLM"


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


def test_what_the_local_cache_holds_in_part_is_asked_of_the_hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps(load_model("tests.models:tiny").config.to_dict()))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for load in (load_model, load_both, load_tokenizer):
        with pytest.raises(
            InputError, match=r"does not load from the local cache .* and the hub cannot be reached"
        ):
            load("some/model")
