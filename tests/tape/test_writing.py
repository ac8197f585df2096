"""A tape that is written while it grows is readable after every flush."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import lookbehind as lb
from lookbehind.tape import Layer, Tape, load
from lookbehind.tape.writing import TapeWriter

G = torch.Generator().manual_seed(0)


def rows(first, last, pattern="causal"):
    spans = lb.parse(pattern).spans(last - first, last)
    q, k = torch.randn(2, last - first, 4, generator=G), torch.randn(1, last - first, 4, generator=G)
    return [Layer(name, q.clone(), k.clone(), spans, 0.5) for name in ("a", "b")]


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setattr("lookbehind.tape.writing.FLUSH_ROWS", 3)
    writer = TapeWriter(tmp_path / "t", {"model": "m"})
    for first, last in ((0, 4), (4, 5), (5, 6), (6, 7), (7, 8)):
        writer.append(rows(first, last), torch.arange(first, last))
    return writer, tmp_path / "t"


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_flushed_rows_are_readable_while_recording(written):
    _, place = written
    assert names(place) == ["segment-00000.safetensors", "segment-00001.safetensors", "tape.json"]
    tape = load(place)
    assert (tape.n_queries, tape.steps, tape.complete) == (7, [4, 1, 1, 1], False)
    assert tape.token_ids == list(range(7)) and tape.meta == {"model": "m"}
    assert tape.layer(1).spans == lb.Causal().spans(7)


def test_a_directory_that_another_writes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lookbehind.tape.writing.check_new", lambda _: None)  # both found it empty
    writer = TapeWriter(tmp_path / "t", {})
    with pytest.raises(lb.StorageError, match=r"t/tape\.json: cannot be written: File exists"):
        TapeWriter(tmp_path / "t", {})
    writer.append(rows(0, 4), torch.arange(4))
    writer.finish(Tape([], list(range(4)), None, [4]))
    assert load(tmp_path / "t").n_queries == 4


def test_a_writer_that_cannot_begin_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise lb.StorageError("full")

    monkeypatch.setattr("lookbehind.tape.writing.write_index", full)
    with pytest.raises(lb.StorageError, match="full"):
        TapeWriter(tmp_path / "t", {})
    assert list(tmp_path.iterdir()) == []


def test_finishing_makes_one_file_per_layer(written):
    writer, place = written
    writer.flush()
    before = load(place)
    writer.finish(
        Tape([], list(range(8)), list("abcdefgh"), before.steps, {"model": "m"}, [("c", "Mamba", "none")])
    )
    assert names(place) == ["layer-00000.safetensors", "layer-00001.safetensors", "tape.json"]
    tape = load(place)
    assert tape.complete and tape.tokens == list("abcdefgh") and tape.skipped == [("c", "Mamba", "none")]
    assert (tape.n_queries, tape.steps) == (8, [4, 1, 1, 1, 1])
    for one, other in zip(tape.layers, before.layers, strict=True):
        assert torch.equal(one.q, other.q) and torch.equal(one.k, other.k) and one.spans == other.spans


def test_killed_while_finishing_reads_as_before(written, monkeypatch):
    writer, place = written
    writer.flush()
    monkeypatch.setattr("lookbehind.tape.files.write_index", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.finish(Tape([], steps=[8]))
    assert load(place).n_queries == 8 and not load(place).complete


def test_an_unknown_id_leaves_the_tape_without_ids(tmp_path):
    writer = TapeWriter(tmp_path / "t", {})
    writer.append(rows(0, 2), torch.arange(2))
    writer.flush()
    writer.append(rows(2, 3), None)
    writer.flush()
    assert load(tmp_path / "t").token_ids is None


def test_damaged_segments_are_named(written):
    _, place = written
    path = place / "segment-00001.safetensors"
    whole = {name: one.clone() for name, one in load_file(path).items()}

    def refused(said, **change):
        tensors = {**whole, **{name.replace("_", ".", 1): one for name, one in change.items()}}
        save_file({name: one for name, one in tensors.items() if one is not None}, path)
        with pytest.raises(lb.TapeError, match=said):
            load(place)

    name = r"segment-00001\.safetensors: "
    refused(name + "lacks the tensor 'k'", **{"1_k": None})
    refused(name + "lacks the tensor 'row_ptr'", spans0_row_ptr=None)
    refused(name + r"q has shape \[2, 2, 4\], but must be \[heads, 3", **{"0_q": torch.zeros(2, 2, 4)})
    refused("segments of layer 0 differ in heads", **{"0_q": torch.zeros(4, 3, 4)})
    tensors = {**whole, "token_ids": torch.zeros(3)}
    save_file(tensors, path)
    with pytest.raises(lb.TapeError, match=name + r"token_ids is float32 \[3\], but must be int64 \[3\]"):
        load(place)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(lb.TapeError, match=name + "damaged"):
        load(place)
    path.unlink()
    with pytest.raises(lb.TapeError, match=name + "missing"):
        load(place)
    index = json.loads((place / "tape.json").read_text())
    index["segments"] = index["segments"][:1]
    index["segments"][0]["spans"] = [0]
    (place / "tape.json").write_text(json.dumps(index))
    with pytest.raises(
        lb.TapeError, match=r"the entry of segment-00000\.safetensors does not fit its layers"
    ):
        load(place)
