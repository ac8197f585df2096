import json

from tests.cli.verbs import run


def test_doctor_says_which_engine_auto_picks_and_why_not_the_others():
    result = run("doctor")
    assert result.exit_code == 0
    assert "→ torch on cpu: can run; picked by auto on cpu" in result.stdout
    assert "  reference on cpu: can run; runs when asked for by name; auto prefers torch" in result.stdout


def test_doctor_as_json():
    import torch

    data = json.loads(run("doctor", "--json").stdout)
    assert data["versions"]["torch"] == torch.__version__
    assert [
        engine["name"] for engine in data["engines"] if engine["picked"] and engine["device"] == "cpu"
    ] == ["torch"]
