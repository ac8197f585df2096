"""A stored tape is the tape; a damaged one is an error that names the file."""

import errno
import json
import os
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import lookbehind as lb
from lookbehind.tape import Layer, Tape, files, load
from tests.tapes import tape as random_tape


def rich():
    """A tape with everything that a tape can hold."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(6, 6, generator=generator) > 0.4
    spans = [lb.Causal().spans(6), lb.Spans.from_mask(mask.numpy()), lb.Causal().spans(6)]
    layers = [
        Layer(
            f"layers.{at}",
            torch.randn(4, 6, 8, generator=generator).to(dtype),
            torch.randn(2, 6, 8, generator=generator).to(dtype),
            one,
            0.3,
            2.0 if at else None,
            torch.randn(4, generator=generator) if at else None,
            torch.randn(4, generator=generator) if at == 2 else None,
        )
        for at, (one, dtype) in enumerate(
            zip(spans, (torch.float32, torch.bfloat16, torch.float16), strict=True)
        )
    ]
    return Tape(
        layers,
        [3, 1, 4, 1, 5, 9],
        ["a", "é", "\n", "", "▁the", "�"],
        [4, 1, 1],
        {"model": "rich", "dtype": "float32"},
        [("layers.3", "Mamba", "no softmax attention was seen in this layer")],
    )


@pytest.mark.parametrize("computed", [False, True])
def test_a_tape_comes_back_as_it_was(tmp_path, computed):
    tape = rich()
    if computed:
        expected = [layer.lse for layer in tape.layers]
    tape.save(tmp_path / "deep" / "run.tape")
    found = load(str(tmp_path / "deep" / "run.tape"))
    assert (found.token_ids, found.tokens, found.steps) == (tape.token_ids, tape.tokens, tape.steps)
    assert (found.meta, found.skipped, found.complete) == (tape.meta, tape.skipped, True)
    for one, other in zip(found.layers, tape.layers, strict=True):
        assert (one.name, one.scale, one.softcap, one.spans) == (
            other.name,
            other.scale,
            other.softcap,
            other.spans,
        )
        for name in ("q", "k", "sinks", "alibi"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert (mine is None and theirs is None) or (
                mine.dtype == theirs.dtype and torch.equal(mine, theirs)
            )
    assert found.layers[0].spans is found.layers[2].spans
    if computed:
        assert all(torch.equal(one.known_lse, lse) for one, lse in zip(found.layers, expected, strict=True))
    else:
        assert found.layer(0).known_lse is None
    assert sorted(path.name for path in (tmp_path / "deep" / "run.tape").iterdir()) == [
        "layer-00000.safetensors",
        "layer-00001.safetensors",
        "layer-00002.safetensors",
        "spans-00001.safetensors",
        "tape.json",
    ]


def test_tensors_that_share_memory_are_stored_each_by_itself(tmp_path):
    """All of it, or a part; and what autograd watches is stored without that."""
    both, slopes = torch.randn(5, 5, 8).requires_grad_(), torch.rand(4)
    layer = Layer("a", both[:4], both[3:], lb.Causal().spans(5), 0.3, sinks=slopes, alibi=slopes)
    Tape([layer], steps=[5]).save(tmp_path / "a")
    found = load(tmp_path / "a").layer(0)
    for name in ("q", "k", "sinks", "alibi"):
        assert torch.equal(getattr(found, name), getattr(layer, name))
    assert not found.q.requires_grad


def test_half_a_surrogate_pair_is_kept(tmp_path):
    tape = random_tape(4, tokens=["a", "\ud800", "\udcff", "\U0001f600"])
    tape.save(tmp_path / "a")
    assert load(tmp_path / "a").tokens == tape.tokens


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    name = tmp_path / "\udcff"
    for act in (random_tape(4).save, load):
        with pytest.raises(lb.InputError, match="its name is not UTF-8; a tape needs a name that is"):
            act(name)
    assert list(tmp_path.iterdir()) == []


def test_a_named_pattern_is_stored_as_its_text(tmp_path):
    random_tape(12).save(tmp_path / "a")
    index = json.loads((tmp_path / "a" / "tape.json").read_text())
    assert [one["pattern"] for one in index["spans"]] == ["causal", "causal & window(4)"]


def test_tensors_are_mapped_rather_than_read(tmp_path):
    random_tape(12).save(tmp_path / "a")
    layer = load(tmp_path / "a").layer(0)
    path = tmp_path / "a" / "layer-00000.safetensors"
    # Both lie in one mapping of the file, as far apart as in it.
    assert abs(layer.q.data_ptr() - layer.k.data_ptr()) == layer.k.nbytes
    assert path.stat().st_size > layer.q.nbytes + layer.k.nbytes


@pytest.mark.skipif(os.name == "nt", reason="permissions")
def test_all_files_are_as_open_as_the_system_makes_them(stored):
    other = stored / "other"
    other.touch()
    assert {path.stat().st_mode for path in stored.iterdir()} == {other.stat().st_mode}


def test_places_that_cannot_take_a_tape(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    tape = random_tape(4)
    with pytest.raises(
        lb.InputError, match="full: exists and is not empty; give a new directory for the tape"
    ):
        tape.save(tmp_path / "full")
    with pytest.raises(lb.InputError, match="x: is a file; give a new directory for the tape"):
        tape.save(tmp_path / "full" / "x")
    with pytest.raises(lb.LookbehindError, match="cannot be"):
        tape.save(tmp_path / "full" / "x" / "y")
    (tmp_path / "empty").mkdir()
    tape.save(tmp_path / "empty")
    assert load(tmp_path / "empty").n_queries == 4


def test_a_save_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(tensors, path, metadata=None):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(
        lb.TapeError, match=r"layer-00000\.safetensors: cannot be written: No space left .*free some"
    ):
        random_tape(4).save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_save_to_one_path_one_is_kept_whole(tmp_path, monkeypatch):
    both, write = threading.Barrier(2), files.write_layers

    def together(*args):
        both.wait(10)
        write(*args)
        both.wait(10)

    monkeypatch.setattr(files, "write_layers", together)
    place, said = tmp_path / "a", []

    def save(tape):
        try:
            tape.save(place)
            said.append(tape)
        except lb.StorageError as error:
            assert str(error) == (
                f"{place}: cannot be written: {os.strerror(errno.ENOTEMPTY)}; choose another place"
            )

    threads = [threading.Thread(target=save, args=(random_tape(length),)) for length in (4, 90)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    (kept,) = said
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert torch.equal(load(place).layer(1).k, kept.layer(1).k)


def test_no_tape_at_all(tmp_path):
    with pytest.raises(
        lb.TapeError, match=r"nowhere: no such directory; a tape is a directory that holds tape\.json"
    ):
        load(tmp_path / "nowhere")
    with pytest.raises(lb.TapeError, match=r": not a tape; a tape is a directory that holds tape\.json"):
        load(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(lb.TapeError, match="file: not a tape"):
        load(tmp_path / "file")


@pytest.fixture
def stored(tmp_path):
    rich().save(tmp_path / "run.tape")
    return tmp_path / "run.tape"


LAYER, SPANS, INDEX = "layer-00001.safetensors", "spans-00001.safetensors", "tape.json"


def rewrite(path, **change):
    """A file's tensors with some replaced, or taken out where None."""
    tensors = {name: one.clone() for name, one in load_file(path).items()}
    tensors.update(change)
    save_file({name: one for name, one in tensors.items() if one is not None}, path)


@pytest.mark.parametrize("name", [LAYER, SPANS, INDEX])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_named(stored, name, keep):
    path = stored / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(lb.TapeError, match=name):
        load(stored)


@pytest.mark.parametrize("name", [LAYER, SPANS])
def test_a_missing_file_is_named(stored, name):
    (stored / name).unlink()
    with pytest.raises(lb.TapeError, match=rf"{name}: missing; tape\.json names it"):
        load(stored)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (LAYER, {"q": None}, "lacks the tensor 'q'"),
        (
            LAYER,
            {"q": torch.zeros(4, 5, 8, dtype=torch.bfloat16)},
            r"q has shape \[4, 5, 8\], but must be \[heads, 6",
        ),
        (
            LAYER,
            {"q": torch.zeros(4, 6, dtype=torch.bfloat16)},
            r"q has shape \[4, 6\], but must be \[heads, 6, dim\]",
        ),
        (LAYER, {"q": torch.zeros(0, 6, 8, dtype=torch.bfloat16)}, r"q has shape \[0, 6, 8\]"),
        (
            LAYER,
            {"q": torch.zeros(4, 6, 8, dtype=torch.int32)},
            "q is int32; a tape holds float64, float32, bfloat16",
        ),
        (LAYER, {"q": torch.zeros(4, 6, 8)}, "k is bfloat16, but q is float32"),
        (
            LAYER,
            {"k": torch.zeros(2, 6, 9, dtype=torch.bfloat16)},
            r"k has shape \[2, 6, 9\], but must be \[kv heads, 6",
        ),
        (LAYER, {"k": torch.zeros(0, 6, 8, dtype=torch.bfloat16)}, r"k has shape \[0, 6, 8\]"),
        (LAYER, {"k": torch.zeros(3, 6, 8, dtype=torch.bfloat16)}, "3 kv heads cannot serve 4 query heads"),
        (LAYER, {"lse": torch.zeros(4, 5)}, r"lse has shape \[4, 5\], but must be \[4, 6\]"),
        (LAYER, {"lse": torch.zeros(4, 6).double()}, "lse is float64, which it must not be"),
        (LAYER, {"sinks": torch.zeros(5)}, r"sinks has shape \[5\], but must be \[4\]"),
        (LAYER, {"v": torch.zeros(1)}, "has a tensor 'v' that no layer has"),
        (SPANS, {"stops": None}, "lacks the tensor 'stops'"),
        (SPANS, {"starts": torch.zeros(3)}, "starts is float32 of 1 axes, but must be int64"),
        (SPANS, {"starts": torch.zeros(3, dtype=torch.int64)}, "as many starts as stops"),
        (SPANS, {"row_ptr": torch.full((7,), 10**15)}, "row pointers must ascend from 0"),
        (SPANS, {"extra": torch.zeros(1)}, "has a tensor 'extra' that spans do not have"),
    ],
)
def test_a_file_of_other_tensors_is_named(stored, name, change, said):
    rewrite(stored / name, **change)
    with pytest.raises(lb.TapeError, match=rf"{name}: .*{said}"):
        load(stored)


def test_spans_that_were_changed_are_noticed(stored):
    spans = lb.Causal().spans(6)
    rewrite(stored / SPANS, **files.arrays_of(spans))
    with pytest.raises(lb.TapeError, match=rf"{SPANS}: its spans are not those that were recorded \(digest"):
        load(stored)
    edit(stored, lambda index: index["spans"][0].update(pattern="causal & window(5)"))
    with pytest.raises(lb.TapeError, match=r"tape\.json: its spans are not those that were recorded"):
        load(stored)
    edit(stored, lambda index: index["spans"][0].update(pattern="casual"))
    with pytest.raises(lb.TapeError, match=r"tape\.json: the pattern of its spans is not one: .*casual.*\Z"):
        load(stored)


def edit(stored, change):
    index = json.loads((stored / INDEX).read_text())
    change(index)
    (stored / INDEX).write_text(json.dumps(index))


@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), which=st.sampled_from([LAYER, SPANS, INDEX]))
def test_any_changed_byte_reads_or_is_named(tmp_path_factory, place, byte, which):
    stored = tmp_path_factory.getbasetemp() / "flipped"
    if not stored.exists():
        rich().save(stored)
    path = stored / which
    content = path.read_bytes()
    try:
        changed = bytearray(content)
        changed[place % len(content)] = byte
        path.write_bytes(changed)
        try:
            load(stored)  # a changed number inside a tensor cannot be known
        except lb.TapeError as error:
            assert "flipped" in str(error)
    finally:
        path.write_bytes(content)
