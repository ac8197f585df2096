"""What a self-contained page holds of a tape, and what it says of the rest."""

import json
import math

import numpy as np
import pytest
import torch

import lookbehind as lb
from lookbehind.atlas import onefile
from lookbehind.atlas.charts import Charts
from lookbehind.atlas.onefile import render
from lookbehind.errors import InputError
from lookbehind.tape import Layer
from lookbehind.tape.predictions import Predictions
from tests.atlas.test_packed import manifest
from tests.tapes import tape as random_tape


def floats(data, name, shape=(-1,)):
    return torch.from_numpy(np.frombuffer(data["blobs"][name], "<f4").copy()).reshape(shape)


def test_a_small_tape_is_there_exactly():
    tape = random_tape(20, tokens=[f"t{i}" for i in range(20)])
    page = render(tape, "small")
    data = manifest(page.html)
    assert page.left_out == () and data["tape"]["left_out"] == []
    assert data["tape"]["title"] == "small" and data["tape"]["n_queries"] == 20
    assert data["tape"]["has"] == {"tokens": True, "ids": True, "next": False, "influence": False}
    assert json.loads(data["blobs"][data["tokens"]]) == {"tokens": tape.tokens, "ids": tape.token_ids}
    assert [one["induction"] for one in data["heads"]] == [one.induction for one in tape.heads()]
    for number, layer in enumerate(tape.layers):
        entry = data["layers"][number]
        row_ptr, starts, stops = layer.spans.row_ptr, layer.spans.starts, layer.spans.stops
        spans = np.frombuffer(data["blobs"][entry["spans"]], "<i4")
        assert spans.tolist() == [*row_ptr, *starts, *stops] and entry["width"] == 8
        seen = tape.observe(number, received=True, entropy=True, mass={"sink": lb.First(1)})
        for head in range(2):
            found = data["maps"][f"{number}.{head}"]["exact"]
            assert torch.equal(floats(data, found["q"], (20, 8)), layer.q[head])
            assert torch.equal(floats(data, found["k"], (20, 8)), layer.k[0])
            torch.testing.assert_close(floats(data, found["lse"]), layer.lse[head])
            assert (found["slope"], found["sink"]) == (0.0, None)
            along = floats(data, data["maps"][f"{number}.{head}"]["tracks"], (3, 20))
            for mine, other in zip(along, (seen.entropy, seen.mass["sink"], seen.received), strict=True):
                torch.testing.assert_close(mine, other[head])


def test_what_the_model_said_next_comes_along():
    tape = random_tape(4)
    tape.predictions = Predictions(
        torch.tensor([[1, 2]] * 4, dtype=torch.int32),
        torch.tensor([[0.5, 0.25]] * 4),
        torch.tensor([0.1, math.inf, math.nan, 0.2]),
        torch.tensor(math.nan),
    )
    tape.vocabulary = {1: "</script>", 2: "b"}
    said = (data := manifest(render(tape).html))["said"]
    assert data["tape"]["has"]["next"]
    assert json.loads(data["blobs"][said["vocabulary"]]) == {"1": "</script>", "2": "b"}
    assert torch.equal(
        floats(data, said["probabilities"], (4, said["width"])), tape.predictions.probabilities
    )
    torch.testing.assert_close(floats(data, said["loss"]), tape.predictions.loss, equal_nan=True)


@pytest.fixture
def narrow(monkeypatch):
    """Room for so many bytes beyond the page itself and its text."""

    def room(tape, size):
        making = onefile._Making(tape, "tape", None, None)
        making.page()
        monkeypatch.setattr(onefile, "MOST", making.frame + size)

    return room


def test_what_does_not_fit_is_chosen_from_and_said(narrow):
    tape = random_tape(300, n_heads=12)
    narrow(tape, 300_000)
    page = render(tape)
    data = manifest(page.html)
    assert len(page.html) < onefile.MOST
    exact = [name for name, one in data["maps"].items() if one["exact"]]
    leading = tape.heads().sorted("previous")[0]
    assert f"{leading.layer}.{leading.head}" in exact  # the heads that lead in a measure come first
    others = [(at, head) for at in range(2) for head in range(12) if f"{at}.{head}" not in exact]
    held = {name for name, one in data["maps"].items() if one["coarse"] and one["coarse"]["z"] == 1}
    pooled = [name for name in others if f"{name[0]}.{name[1]}" in held]
    absent = [name for name in others if name not in pooled]
    assert len(exact) > 2 and len(pooled) > 2 and len(absent) > 2
    assert page.left_out == (
        f"queries and keys of {len(pooled)} of 24 heads, whose weights are here pooled over 2 x 2: "
        + onefile._names(pooled),
        f"{len(absent)} of 24 heads altogether: " + onefile._names(absent),
    )
    assert data["tape"]["left_out"] == list(page.left_out)


def test_heads_asked_for_are_there_exactly_and_the_others_small():
    tape = random_tape(300)
    page = render(tape, heads=[(1, 0), (1, 0)])
    maps = manifest(page.html)["maps"]
    assert [name for name, one in maps.items() if one["exact"]] == ["1.0"]
    assert page.left_out == (
        "queries and keys of 3 of 4 heads, whose weights are here pooled over 2 x 2: 0.0, 0.1, 1.1",
    )


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_is_its_pooled_map(level, monkeypatch):
    monkeypatch.setattr("lookbehind.atlas.geometry.TILE", 64)  # more levels
    tape = random_tape(301)
    page = render(tape, heads=[(1, 1)], level=level)
    data = manifest(page.html)
    found = data["maps"]["1.1"]["coarse"]
    assert found["z"] == level and list(data["maps"]) == ["1.1"]
    side = 1 << level
    n = -(-301 // side)
    weights = torch.full((n * side, n * side), math.nan)
    computed = torch.from_numpy(tape.layers[1].spans.mask())
    weights[:301, :301] = tape.weights(1, 1).masked_fill(~computed, math.nan)
    cells = weights.unflatten(0, (n, side)).unflatten(2, (n, side)).transpose(1, 2).flatten(2)
    for pool, expected in (("max", cells.nan_to_num(-1).amax(-1)), ("mean", cells.nanmean(-1))):
        half = np.frombuffer(data["blobs"][found[pool]], "<f2").reshape(n, n)
        lift = found["lift" if pool == "max" else "mean_lift"]
        values = torch.from_numpy(half.astype(np.float32) * np.float32(lift))
        assert torch.equal(values.isnan(), cells.isnan().all(-1))
        known = ~values.isnan()
        torch.testing.assert_close(values[known], expected[known], rtol=6e-4, atol=1e-9)
    assert page.left_out[-1] == "3 of 4 heads altogether: 0.0, 0.1, 1.0"


def test_heads_too_large_to_be_there_exactly_are_pooled_finely(narrow, monkeypatch):
    n, wide = 600, 512
    q, k = torch.randn(2, 2, n, wide).unbind()
    tape = lb.Tape([Layer("a", q, k, lb.Causal().spans(n), 0.05)], token_ids=list(range(n)), steps=[n])
    monkeypatch.setattr(onefile, "FINE", 512)
    narrow(tape, 700_000)
    page = render(tape)
    maps = manifest(page.html)["maps"]
    assert {name: (one["coarse"]["z"], one["exact"]) for name, one in maps.items()} == {
        "0.0": (1, None),
        "0.1": (1, None),
    }
    assert all(one["coarse"]["mean"] and one["tracks"] for one in maps.values())
    assert page.left_out == (
        "queries and keys of 2 of 2 heads, whose weights are here pooled over 2 x 2: 0.0, 0.1",
    )


def test_time_is_bounded_and_what_it_costs_is_said(monkeypatch):
    tape = random_tape(300)
    monkeypatch.setattr(onefile, "SCORED", 1000)
    page = render(tape)
    data = manifest(page.html)
    assert data["heads"] == [] and page.left_out[0].startswith("the scores of the heads")
    assert len(data["maps"]) == 4 and all(one["exact"] for one in data["maps"].values())
    for products, drawn in ((1 << 30, ["0.1", "1.0", "1.1"]), (1000, [])):
        monkeypatch.setattr(onefile, "DRAWN", products)
        found = manifest(render(tape, heads=[(0, 0)]).html)["maps"]
        assert [name for name, one in found.items() if not one["exact"]] == drawn


@pytest.mark.parametrize(
    ("options", "room", "said"),
    [
        ({"level": 3}, None, "level: a whole number of at most 2 is needed; got 3"),
        ({"heads": [(5, 0)]}, None, "layer 5: there are 2, 0 to 1"),
        ({"heads": [(0, 2)]}, None, "head 2: there are 2, 0 to 1"),
        (
            {"heads": [(0, 0)], "level": 0},
            20_000,
            r"1 of the 1 heads asked for do not fit exactly into \d\.\d MB, the first of them 0\.0 with",
        ),
        (
            {"heads": [(0, 0), (0, 1)], "level": 0},
            100_000,
            "1 of the 2 heads asked for do not fit exactly into",
        ),
        (
            {"heads": [(0, 0)], "level": 1},
            20_000,
            r"layer 0 head 0 at level 1 is 0\.3 MB, and 0\.0 MB are left; ask",
        ),
        ({}, -9_000, r"export: the text alone makes a page of \d\.\d MB; at most \d\.\d MB fit"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(narrow, options, room, said):
    tape = random_tape(700)
    if room is not None:
        narrow(tape, room)
    with pytest.raises(lb.InputError, match=said) as caught:
        render(tape, **options)
    assert "\n" not in str(caught.value)


def test_a_tape_without_layers_has_nothing_to_show():
    with pytest.raises(lb.InputError, match="the tape holds no attention layer"):
        render(lb.Tape([]))


def test_an_export_leaves_the_tape_s_directory_alone(tmp_path):
    random_tape(40).save(tmp_path / "a.tape")
    before = sorted(tmp_path.rglob("*"))
    render(lb.load(tmp_path / "a.tape"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_head_that_is_not_finite_has_no_map_and_its_name_is_told(odd, tmp_path):
    tape = random_tape(9)
    tape.layers[1].q[0, 4, 2] = odd
    words = (
        "layers.1 head 0: its queries or keys hold NaN or infinity, and products of them have no place on a "
        "map; find where the model's numbers cease to be finite"
    )
    page = render(tape)
    assert page.left_out == (words,)
    assert sorted(manifest(page.html)["maps"]) == ["0.0", "0.1", "1.1"]
    charts = Charts(tape)
    for call in (
        lambda: render(tape, heads=[(1, 0)]),
        lambda: charts.thumb(1, 0),
        lambda: tape.export(tmp_path / "map.png", layer=1, head=0),
        lambda: tape.export(tmp_path / "sheet.png", sheet=True),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert str(refused.value) == words
    charts.close()
    assert not list(tmp_path.iterdir())
    tape.export(tmp_path / "map.png", layer=1, head=1)
    tape.layers[0].k[0, 0, 0] = odd  # of both heads of its group
    tape.layers[1].k[0, 0, 0] = odd
    assert len(render(tape).left_out) == 4
