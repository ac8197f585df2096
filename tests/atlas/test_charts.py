import threading
import time

import numpy as np
import pytest
import torch

from lookbehind.atlas import charts as module
from lookbehind.atlas import pyramid
from lookbehind.atlas.cache import Cache
from lookbehind.atlas.charts import Charts
from lookbehind.atlas.frame import EXACT, SAMPLED, Frame
from lookbehind.atlas.geometry import TileName
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.sheaf import Key
from lookbehind.atlas.work import Job
from lookbehind.errors import InputError, LookbehindError
from lookbehind.tape.predictions import Predictions
from tests.atlas.oracle import dense, pooled, same_halves, tape, tile

TAPE = tape(560, 700)  # ragged: 3 x 3 tiles at level 0, 2 x 2 at level 1, one at level 2


def done(charts: Charts, found):
    if isinstance(found, Job):
        result = found.future.result(20)
        charts.work.drop(found)
        return result
    return found


def rest(charts: Charts) -> None:
    """Until every pass has ended."""
    deadline = time.monotonic() + 30
    while charts.status()["jobs"] or not charts.work.idle:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def made():
    some: list[Charts] = []

    def make(**more) -> Charts:
        some.append(Charts(TAPE, **more))
        return some[-1]

    yield make
    for charts in some:
        charts.close()


def every_tile(charts: Charts, head: tuple[int, int], lens: Lens, pool: str, steps: float) -> set[int]:
    values, states = dense(TAPE.layers[head[0]], head[1], lens), set()
    for z in range(charts.geometry.top + 1):
        whole = pooled(values, z, pool)
        for y in range(charts.geometry.tiles(z)[0]):
            for x in range(charts.geometry.tiles(z)[1]):
                frame = done(charts, charts.tile(TileName(*head, z, y, x), lens, pool))
                states.add(frame.state)
                if frame.state == EXACT:
                    same_halves(
                        frame.values(), tile(whole, y, x), steps, 2e-6 if lens.of == "score" else 1e-36
                    )
    return states


@pytest.mark.parametrize("head", [(0, 3), (1, 0), (3, 1), (5, 0)])
def test_every_tile_made_directly_is_the_pooled_map(made, head):
    charts = made()
    for lens in (Lens(), Lens("weight", 300, True), Lens("enrichment"), Lens("score")):
        for pool in ("mean", "max", "sum"):
            assert every_tile(charts, head, lens, pool, 0.55) == {EXACT}


@pytest.mark.parametrize(
    ("head", "base"),
    [((0, 3), 0), ((0, 3), 2), ((1, 0), 1), ((2, 1), 0), ((3, 1), 2), ((4, 0), 0), ((5, 0), 1)],
)
def test_every_tile_of_a_pass_is_the_pooled_map(made, monkeypatch, head, base):
    """Whatever is kept, and however many stretches of keys and blocks of rows a strip has."""
    monkeypatch.setattr(module, "DIRECT", 0)
    monkeypatch.setattr(pyramid, "KEYS", 256)
    charts = made(base=base)
    lenses = (
        Lens(),
        Lens("weight", 300),
        Lens("weight", 5, True),
        Lens("enrichment"),
        Lens("relative", 2),
        Lens("score"),
    )
    for lens in lenses if head[0] == 1 else lenses[:2]:
        states = every_tile(charts, head, lens, "max", 0.55)
        assert SAMPLED in states, "while the pass goes on, a preview that says so"
        rest(charts)
        assert every_tile(charts, head, lens, "max", 0.55) == {EXACT}
        assert every_tile(charts, head, lens, "mean", 0.55) == {EXACT}
        # A sum is a mean, rounded, times a count.
        assert every_tile(charts, head, lens, "sum", 1.05) == {EXACT}


def test_a_preview_is_of_the_same_map(made, monkeypatch):
    monkeypatch.setattr(module, "DIRECT", 0)
    charts = made(base=0)
    expected = pooled(dense(TAPE.layers[0], 0, Lens()), 1, "mean")
    frame = done(charts, charts.tile(TileName(0, 0, 1, 0, 0), Lens(), "sum"))
    assert frame.state == SAMPLED
    counts = charts.sight(0, 0, Lens()).counts(slice(0, 512), slice(0, 512), 1)
    same_halves(frame.values(), tile(expected, 0, 0) * np.where(counts > 0, counts, np.nan), 4)


def test_tracks_are_those_of_observe_directly_and_from_a_pass(made, monkeypatch):
    seen = TAPE.observe(1, entropy=True, received=True, mass={"sink": "first(1)"})
    expected = {"entropy": seen.entropy[1], "sink": seen.mass["sink"][1], "received": seen.received[1]}
    direct = done(charts := made(), charts.tracks(1, 1))
    monkeypatch.setattr(module, "DIRECT", 0)
    monkeypatch.setattr(pyramid, "KEYS", 256)
    charts = made(base=0)
    working = done(charts, charts.tracks(1, 1))
    assert working["state"] == "working" and "received" not in working["arrays"]
    rest(charts)
    for found in (direct, done(charts, charts.tracks(1, 1))):
        assert found["state"] == "ready" and list(found["arrays"]) == list(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found["arrays"][name], values, rtol=2e-5, atol=1e-6)
    numbers, rows = charts.numbers(1, 1), np.arange(560)
    assert numbers.unknown(rows, peak=True) == 0, "the largest scores come with them"
    scores = TAPE.layers[1].scores()[1].nan_to_num(-torch.inf)
    torch.testing.assert_close(numbers.peak_of(rows), scores.amax(1), rtol=1e-4, atol=1e-4)


def test_a_pass_is_kept_beside_the_tape_and_read_by_the_next(made, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "DIRECT", 0)
    first = made(base=0, cache=Cache(tmp_path / "run.tape.atlas", "a" * 64, pytest.fail))
    done(first, first.tile(TileName(0, 0, 2, 0, 0), Lens(), "max"))
    rest(first)
    first.close()
    second = made(base=0, cache=Cache(tmp_path / "run.tape.atlas", "a" * 64, pytest.fail))
    assert every_tile(second, (0, 0), Lens(), "max", 0.55) == {EXACT}
    assert second.status()["jobs"] == []
    assert done(second, second.tracks(0, 0))["state"] == "ready"
    assert second.numbers(0, 0).unknown(np.arange(560)) == 0, "lse comes from there too"
    # Damage shows when a tile is read; the pass is made again.
    (path,) = (tmp_path / "run.tape.atlas").iterdir()
    whole = bytearray(path.read_bytes())
    whole[1000] ^= 1
    path.write_bytes(whole)
    third = made(base=0, cache=Cache(tmp_path / "run.tape.atlas", "a" * 64, pytest.fail))
    every_tile(third, (0, 0), Lens(), "max", 0.55)
    every_tile(third, (0, 0), Lens(), "mean", 0.55)
    rest(third)
    assert every_tile(third, (0, 0), Lens(), "mean", 0.55) == {EXACT}


def test_what_memory_had_no_room_for_is_made_when_it_is_asked_for(made, monkeypatch):
    monkeypatch.setattr(module, "DIRECT", 0)
    charts = made(base=0)
    done(charts, charts.tile(TileName(0, 0, 2, 0, 0), Lens(), "max"))
    rest(charts)
    charts._cache.find(Key(0, 0, Lens()), 0).thin()
    assert every_tile(charts, (0, 0), Lens(), "max", 0.55) == {EXACT}
    assert charts.status()["jobs"] == []


def test_a_pass_tells_how_far_it_is(made, monkeypatch):
    go, observe = threading.Event(), pyramid.Pyramid._observe

    def held(self, rows, down):
        assert rows.start == 0 or go.wait(60)
        observe(self, rows, down)

    monkeypatch.setattr(module, "DIRECT", 0)
    monkeypatch.setattr(pyramid.Pyramid, "_observe", held)
    charts = made(base=1)  # two strips of a block each
    preview = charts.tile(TileName(1, 1, 2, 0, 0), Lens("weight", 4, True), "max")
    deadline = time.monotonic() + 30
    while (jobs := charts.status()["jobs"])[0]["done"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    go.set()
    head = {"layer": 1, "head": 1, "of": "weight", "pool": None, "skip": 4, "renorm": 1}
    assert jobs == [{**head, "done": 1, "total": 2}]
    done(charts, preview)
    rest(charts)


def test_a_pass_that_fails_is_told_and_the_rest_lives_on(made, monkeypatch):
    monkeypatch.setattr(module, "DIRECT", 0)
    charts = made(base=0)
    sight = charts.sight(0, 0, Lens())
    monkeypatch.setattr(type(sight), "counts", lambda *_: 1 / 0)
    done(charts, charts.tile(TileName(0, 0, 2, 0, 0), Lens(), "max"))
    rest(charts)
    with pytest.raises(LookbehindError, match="this map cannot be made: division by zero"):
        charts.tile(TileName(0, 0, 2, 0, 0), Lens(), "max")
    with pytest.raises(LookbehindError, match="tracks: cannot be made: division by zero"):
        charts.tracks(0, 0)
    assert done(charts, charts.row(0, 0, 3)).shape == (700,)


@pytest.mark.parametrize(("layer", "head"), [(0, 3), (1, 1), (2, 0), (3, 0), (5, 0)])
def test_rows_columns_and_cells_are_exact(made, layer, head):
    charts = made()
    values = dense(TAPE.layers[layer], head, Lens())
    scores = dense(TAPE.layers[layer], head, Lens("score"))
    np.testing.assert_allclose(done(charts, charts.row(layer, head, 321)), values[321], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        done(charts, charts.column(layer, head, 3)), values[:, 3], rtol=1e-4, atol=1e-7
    )
    cells = done(charts, charts.cells(layer, head, slice(200, 300), slice(290, 400)))
    np.testing.assert_allclose(cells[1], scores[200:300, 290:400], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cells[2], values[200:300, 290:400], rtol=1e-4, atol=1e-7)
    found = TAPE.layers[layer]
    q, k = (
        found.q[head, 200:300].double(),
        found.k[head // (found.n_heads // found.n_kv_heads), 290:400].double(),
    )
    dots = torch.where(torch.from_numpy(np.isnan(cells[2])), torch.nan, q @ k.T)
    np.testing.assert_allclose(cells[0], dots, rtol=1e-4, atol=1e-5)


def test_thumbs_are_maxima_directly_sampled_and_from_a_pass(made, monkeypatch):
    charts = made()
    expected = pooled(dense(TAPE.layers[0], 1, Lens()), charts.geometry.level_of(128), "max")
    frame = done(charts, charts.thumb(0, 1))
    assert (frame.rows, frame.columns) == expected.shape == (70, 88)
    same_halves(frame.values(), expected, 0.55)
    monkeypatch.setattr(module, "DIRECT", 0)
    charts = made(base=0)
    assert done(charts, charts.thumb(0, 1)).state == SAMPLED
    done(charts, charts.tile(TileName(0, 1, 2, 0, 0), Lens(), "max"))
    rest(charts)
    frame = done(charts, charts.thumb(0, 1))
    assert frame.state == EXACT
    same_halves(frame.values(), expected, 0.55)


def test_viewers_who_ask_for_the_same_tile_share_the_work(made, monkeypatch):
    charts = made()
    count: list[int] = []
    of, asked = Frame.of, threading.Event()

    def counted(*some, **more):
        count.append(1)
        assert asked.wait(60)
        return of(*some, **more)

    monkeypatch.setattr(Frame, "of", counted)
    name = TileName(0, 0, 1, 0, 0)
    jobs = [charts.tile(name, Lens(), "max") for _ in range(4)]
    asked.set()
    frames = [done(charts, job) for job in jobs]
    assert len(count) == 1 and all(frame is frames[0] for frame in frames)
    assert charts.tile(name, Lens(), "max") is frames[0], "and it is kept"


def test_what_is_not_there_is_refused(made):
    charts = made()
    for words, ask in (
        ("layer 6: there are 6, 0 to 5", lambda: charts.tile(TileName(6, 0, 0, 0, 0), Lens(), "max")),
        ("head 4: there are 4, 0 to 3", lambda: charts.thumb(0, 4)),
        ("tile 0.0.3: level 0 has 3 x 3 tiles", lambda: charts.tile(TileName(0, 0, 0, 0, 3), Lens(), "max")),
        ("query 560: there are 560", lambda: charts.row(0, 0, 560)),
        ("key 700: there are 700", lambda: charts.column(0, 0, 700)),
        ("cells: q0 to q1 must lie in 0 to 560", lambda: charts.cells(0, 0, slice(500, 561), slice(0, 3))),
        ("cells: k0 to k1 .* hold 1 to 128", lambda: charts.cells(0, 0, slice(0, 3), slice(0, 129))),
        ("query 560: there are 560", lambda: charts.next(560)),
        ("influence: no audit report", charts.influence),
    ):
        with pytest.raises(InputError, match=words):
            ask()


def test_facts_tokens_and_status(made):
    charts = made(title="run.tape")
    facts = charts.facts()
    assert (facts["title"], facts["n_queries"], facts["n_keys"], facts["offset"], facts["top"]) == (
        "run.tape",
        560,
        700,
        140,
        2,
    )
    assert (
        facts["layers"][1]["sinks"] and facts["layers"][3]["alibi"] and facts["layers"][2]["softcap"] == 4.0
    )
    assert facts["has"] == {"tokens": True, "ids": True, "next": False, "influence": False}
    assert charts.tokens()["ids"] == TAPE.token_ids
    assert charts.status()["jobs"] == [] and charts.status()["warning"] is None


def test_what_came_next_is_told_where_it_was_recorded(made):
    assert made().next(3) is None
    some = tape(40, 40)
    ids = torch.tensor([[7, 2, -1]] * 39 + [[-1, -1, -1]], dtype=torch.int32)
    probabilities = torch.tensor([[0.5, 0.25, 0.0]] * 39 + [[0.0, 0.0, 0.0]])
    loss = torch.full((40,), 2.0)
    some.predictions = Predictions(ids, probabilities, loss, torch.tensor(torch.nan))
    some.vocabulary = {7: "seven", 2: "<b>"}
    charts = Charts(some)
    found = charts.next(3)
    assert found["recorded"] and [one["token"] for one in found["top"]] == ["seven", "<b>"]
    assert found["top"][0] == {"token": "seven", "id": 7, "p": 0.5}
    assert found["came"]["id"] == some.token_ids[4]
    assert charts.next(39) is None and charts.facts()["has"]["next"]
    assert done(charts, charts.tracks(0, 0))["arrays"]["loss"].tolist() == [2.0] * 40
    charts.close()


def test_a_tape_without_layers_is_refused():
    with pytest.raises(InputError, match="holds no attention layer"):
        Charts(type(TAPE)([]))
