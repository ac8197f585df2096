import json

from lookbehind.engines import native
from tests.cli.verbs import run


def test_doctor_says_which_engine_auto_picks_and_why_not_the_others():
    result = run("doctor")
    assert result.exit_code == 0
    assert "→ native on cpu: can run; picked by auto on cpu" in result.stdout
    assert "  torch on cpu: can run; runs when asked for by name; auto prefers native" in result.stdout


def test_doctor_as_json():
    import torch

    data = json.loads(run("doctor", "--json").stdout)
    assert data["versions"]["torch"] == torch.__version__
    assert [
        engine["name"] for engine in data["engines"] if engine["picked"] and engine["device"] == "cpu"
    ] == ["native"]


def test_the_instruction_sets_are_named():
    here, compiled = native.sets()
    data = json.loads(run("doctor", "--json").stdout)
    assert data["instruction_sets"] == {"here": here, "compiled": compiled}
    shown = " ".join(run("doctor").stdout.split())
    assert f"instruction sets {here[0]} is used" in shown and all(name in shown for name in compiled)


def test_without_the_compiled_part_doctor_says_so_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(native, "_native", None)
    monkeypatch.setattr(native, "_why_missing", "it was not compiled")
    shown = " ".join(run("doctor").stdout.split())
    assert "instruction sets none; the native engine was not compiled" in shown
    assert "native on cpu: cannot run; it was not compiled" in shown
    assert "→ torch on cpu: can run; picked by auto on cpu" in shown


def test_on_a_card_doctor_says_which_fused_kernels_are_taken(monkeypatch):
    import torch

    from lookbehind.cli import doctor
    from lookbehind.engines.kernels import routes

    assert json.loads(run("doctor", "--json").stdout)["fused"] == {} or torch.cuda.is_available()
    monkeypatch.setattr(routes, "_capability", lambda device: (9, 0))
    monkeypatch.setattr(routes, "_doubt", lambda *what: "")
    assert doctor._fused("cpu") == {"causal prefill": "cudnn", "decoding": "flash"}
    facts = doctor.examine() | {"fused": {"decoding": "flash"}}
    monkeypatch.setattr(doctor, "examine", lambda: facts)
    assert "fused attention decoding: flash" in " ".join(run("doctor").stdout.split())
