"""A tape that is written while it grows is readable after every flush."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import lookbehind as lb
from lookbehind.errors import InputError, RecordError
from lookbehind.recorder import record
from lookbehind.tape import Layer, Tape, load
from lookbehind.tape.writing import TapeWriter
from tests.tiny_models import PROMPT, Plain, generate, ids, tiny
from tests.tokenizers import Bytes

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


def test_to_a_directory_gives_the_same_tape(tmp_path, monkeypatch):
    monkeypatch.setattr("lookbehind.tape.writing.FLUSH_ROWS", 4)
    model, prompt = tiny("mistral"), ids(PROMPT)
    with record(model, tokenizer=Bytes()) as recorder:
        generate(model, prompt)
    memory = recorder.tape()
    with record(model, to=tmp_path / "run.tape", tokenizer=Bytes()) as recorder:
        generate(model, prompt)
        with pytest.raises(RecordError, match="read after recording has ended"):
            recorder.tape()
        assert len(list((tmp_path / "run.tape").glob("segment-*"))) == 6
    tape = recorder.tape()
    assert not list((tmp_path / "run.tape").glob("segment-*"))
    assert (tape.steps, tape.token_ids, tape.tokens) == (memory.steps, memory.token_ids, memory.tokens)
    assert tape.complete and tape.meta == memory.meta
    for one, other in zip(tape.layers, memory.layers, strict=True):
        assert torch.equal(one.q, other.q) and torch.equal(one.k, other.k) and one.spans == other.spans
        assert (one.name, one.scale) == (other.name, other.scale)


def test_to_a_directory_that_cannot_be_used(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="full: exists and is not empty; give a new directory"):
        record(Plain(), to=tmp_path / "full").__enter__()
    with pytest.raises(InputError, match=r"notes\.txt: is a file"):
        record(Plain(), to=tmp_path / "full" / "notes.txt").__enter__()
    with pytest.raises(lb.LookbehindError, match=r"notes\.txt/x: cannot be"):
        record(Plain(), to=tmp_path / "full" / "notes.txt" / "x").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_to_a_directory_takes_one_sequence(tmp_path):
    model = Plain()
    with torch.no_grad(), record(model, to=tmp_path / "a") as recorder:
        with pytest.raises(RecordError, match=r"holds one sequence, and this forward begins 2"):
            model(ids(4, batch=2), {})
        model(ids(4), {})
        with pytest.raises(RecordError, match="this forward begins another"):
            model(ids(4), {})
    assert recorder.tape().n_queries == 4
    with record(model, to=tmp_path / "b"):
        pass
    assert not (tmp_path / "b").exists()


def test_an_exception_leaves_a_tape_that_says_it_was_cut_off(tmp_path):
    model = Plain()
    with pytest.raises(KeyError), torch.no_grad(), record(model, to=tmp_path / "a"):
        model(ids(4), {})
        raise KeyError
    tape = lb.load(tmp_path / "a")
    assert not tape.complete and tape.n_queries == 4 and "cut off" in repr(tape)


def test_a_full_disk_is_said_and_what_was_flushed_stays(tmp_path, monkeypatch):
    from lookbehind.tape import files, writing

    monkeypatch.setattr(writing, "FLUSH_ROWS", 1)
    model, cache, save = Plain(), {}, files.save_file

    def full(tensors, path, metadata=None):
        if "segment-00001" in str(path):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr(files, "save_file", full)
    said = r"segment-00001\.safetensors: cannot be written: No space left on device; free some space"
    with pytest.raises(lb.TapeError, match=said), torch.no_grad(), record(model, to=tmp_path / "a"):
        model(ids(4), cache)
        model(ids(1), cache)
    assert lb.load(tmp_path / "a").n_queries == 4
    assert not list((tmp_path / "a").glob("*.tmp"))


def test_a_killed_run_leaves_a_readable_tape(tmp_path):
    code = (
        "import sys, torch\n"
        "from lookbehind.recorder import record\n"
        "import lookbehind.tape.writing as writing\n"
        "from tests.tiny_models import Plain, ids\n"
        "writing.FLUSH_ROWS = 3\n"
        "model, cache = Plain(), {}\n"
        "with torch.no_grad(), record(model, to=sys.argv[1]):\n"
        "    print('begun', flush=True); sys.stdin.readline()\n"
        "    model(ids(7), cache)\n"
        "    for step in range(5): model(ids(1), cache)\n"
        "    print('ran', flush=True); sys.stdin.readline()\n"
    )

    def killed(lines):
        place = tmp_path / f"after-{lines}"
        run = subprocess.Popen(
            [sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for line in range(lines):
            assert run.stdout.readline()
            if line + 1 < lines:
                run.stdin.write("\n")
                run.stdin.flush()
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        return place

    with pytest.raises(
        lb.TapeError, match="nothing is on it, because it is being recorded, or recording was cut off"
    ):
        lb.load(killed(1))
    tape = lb.load(killed(2))
    assert not tape.complete
    assert (tape.n_queries, tape.steps) == (10, [7, 1, 1, 1])  # the two rows gathered last were not flushed
    assert tape.token_ids[:7] == ids(7)[0].tolist()
    assert float(tape.weights(1, 2, 9).sum()) == pytest.approx(1.0, abs=1e-5)
    assert tape.layer(0).spans.describe() == "causal"
    assert tape.predictions.known.all() and tape.loss().isnan().tolist() == [False] * 9 + [True]
