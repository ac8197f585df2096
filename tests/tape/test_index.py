"""A hostile index is an error of one line that names it, soon and without allocating."""

import json

import pytest

import lookbehind as lb
from lookbehind.tape import load
from tests.tapes import tape as random_tape


@pytest.fixture
def stored(tmp_path):
    random_tape(6, tokens=list("abcdef")).save(tmp_path / "run.tape")
    return tmp_path / "run.tape"


def damaged(stored, text):
    (stored / "tape.json").write_text(text, encoding="utf-8")
    with pytest.raises(lb.TapeError) as caught:
        load(stored)
    said = str(caught.value)
    assert said.startswith(str(stored)), said
    assert "\n" not in said and len(said) < 500
    return said


def test_text_that_is_no_index(stored):
    assert "not the index of a tape: Expecting value" in damaged(stored, "")
    assert "the index is a list, but must be an object" in damaged(stored, "[]")
    assert "nested too deeply" in damaged(stored, "[" * 1_000_000)
    assert "nested too deeply" in damaged(stored, '{"a":' * 100_000)
    assert "the index lacks 'format'" in damaged(stored, "{}")
    (stored / "tape.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(lb.TapeError, match="not the index of a tape: 'utf-8' codec"):
        load(stored)


def test_numbers_that_are_none(stored):
    text = (stored / "tape.json").read_text()
    assert "NaN is not a number" in damaged(stored, text.replace('"n_queries": 6', '"n_queries": NaN'))
    assert "Infinity is not a number" in damaged(stored, text.replace('"n_keys": 6', '"n_keys": -Infinity'))
    huge = damaged(stored, text.replace('"n_queries": 6', '"n_queries": ' + "9" * 5000))
    assert "not the index of a tape" in huge
    assert "a huge number" in damaged(stored, text.replace('"n_queries": 6', '"n_queries": ' + "9" * 300))
    twice = text.replace('"n_queries": 6', '"n_queries": 6, "n_queries": 7')
    assert "the key 'n_queries' occurs twice" in damaged(stored, twice)


def test_an_index_that_is_too_large_is_not_read(stored, monkeypatch):
    monkeypatch.setattr("lookbehind.tape.index._MOST_BYTES", 100)
    with pytest.raises(lb.TapeError, match=r"bytes are too many for an index of at most 100"):
        load(stored)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i: i.update(format="zip"), "format is 'zip', but must be 'lookbehind tape'"),
        (lambda i: i.update(version=3), "version is 3, but must be 1 to 2, those this lookbehind reads"),
        (lambda i: i.update(version=0), "version is 0, but must be 1 to 2"),
        (lambda i: i.update(version=1.0), "version is 1.0, but must be 1 to 2"),
        (lambda i: i.update(version=1), "the index has a key 'predictions' that no tape of version 1 has"),
        (lambda i: i.update(predictions="tape.json"), "predictions is 'tape.json', but must be a file name"),
        (lambda i: i.update(predictions="next.safetensors"), "next.safetensors: missing; tape.json names it"),
        (lambda i: i.update(vocabulary=[]), "vocabulary is a list, but must be an object"),
        (lambda i: i.update(vocabulary={"-1": "a"}), "a key of vocabulary is '-1', but must be a token id"),
        (lambda i: i.update(vocabulary={"1": 2}), "vocabulary.1 is 2, but must be text"),
        (lambda i: i.update(version=True), "version is True, but must be 1"),
        (lambda i: i.update(state="done"), "state is 'done', but must be 'recording' or 'stopped' or"),
        (lambda i: i.update(n_queries=-1), "n_queries is -1, but must be a whole number from 0"),
        (lambda i: i.update(n_queries=6.0), "n_queries is 6.0, but must be a whole number"),
        (lambda i: i.update(n_queries=True), "n_queries is True, but must be a whole number"),
        (lambda i: i.update(n_queries=2**39), "n_queries|steps is"),
        (lambda i: i.update(n_keys=7), "token_ids is '6 of them', but must be 7, one per position"),
        (lambda i: i.update(offset="x"), "offset is 'x', but must be a whole number"),
        (lambda i: i.update(offset=3), "digest|spans are not"),
        (lambda i: i.update(steps=[2, 3]), "steps is a list, but must be row counts that add up to 6"),
        (lambda i: i.update(token_ids=[1, 2]), "token_ids is '2 of them', but must be 6"),
        (lambda i: i.update(tokens=[1] * 6), r"tokens\[0\] is 1, but must be text"),
        (lambda i: i.update(meta=[]), "meta is a list, but must be an object"),
        (lambda i: i["meta"].update(x=1), "meta.x is 1, but must be text"),
        (lambda i: i.update(skipped=[["a"]]), r"skipped\[0\] is a list, but must be a name, a class and"),
        (lambda i: i.update(extra=1), "the index has a key 'extra' that no tape of version 2 has"),
        (lambda i: i.pop("layers"), "the index lacks 'layers'"),
        (lambda i: i.update(layers={}), "layers is an object, but must be a list"),
        (lambda i: i["layers"][1].pop("scale"), r"layers\[1\] lacks 'scale'"),
        (
            lambda i: i["layers"][0].update(scale="1"),
            r"layers\[0\]\.scale is '1', but must be a finite number",
        ),
        (lambda i: i["layers"][0].update(scale=10**400), r"layers\[0\]\.scale is a huge number"),
        (
            lambda i: i["layers"][0].update(softcap=0),
            r"layers\[0\]\.softcap is 0.0, but must be a number above 0",
        ),
        (lambda i: i["layers"][0].update(file=None), r"layers\[0\]\.file is None, but must be a file name"),
        (
            lambda i: i["layers"][0].update(file="../secret"),
            r"file is '../secret', but must be a file name such as",
        ),
        (lambda i: i["layers"][0].update(file="/etc/passwd"), r"layers\[0\]\.file is '/etc/passwd'"),
        (lambda i: i["layers"][0].update(file="layer-00000.safetensors\n"), r"layers\[0\]\.file is"),
        (lambda i: i["layers"][0].update(file=["x"]), r"layers\[0\]\.file is a list"),
        (lambda i: i["layers"][0].update(file="layer-00009.safetensors"), "layer-00009.safetensors: missing"),
        (lambda i: i["layers"][0].update(spans=9), r"layers\[0\]\.spans is 9, but must be a number below 2"),
        (
            lambda i: i["spans"][0].update(file="spans-00000.safetensors"),
            "a pattern or a file, one of the two",
        ),
        (lambda i: i["spans"][0].update(digest="0" * 64), "spans are not those that were recorded"),
        (
            lambda i: i["spans"][0].update(digest="x"),
            r"spans\[0\]\.digest is 'x', but must be 64 hexadecimal",
        ),
        (lambda i: i["spans"][0].update(pattern="(" * 9999), "the pattern of its spans is not one"),
        (
            lambda i: i.update(segments=[{"file": "layer-00000.safetensors"}]),
            r"segments\[0\] lacks 'n_queries'",
        ),
        (lambda i: i.update(layers=[], spans=[]), "recording was cut off before anything was written"),
    ],
)
def test_a_changed_index_is_named(stored, change, said):
    import re

    index = json.loads((stored / "tape.json").read_text())
    change(index)
    (stored / "tape.json").write_text(json.dumps(index))
    with pytest.raises(lb.TapeError) as caught:
        load(stored)
    assert re.search(said, str(caught.value)), str(caught.value)
    assert str(stored) in str(caught.value)


def test_a_tape_of_version_1_is_still_read(stored):
    index = json.loads((stored / "tape.json").read_text())
    index["version"] = 1
    del index["predictions"], index["vocabulary"]
    (stored / "tape.json").write_text(json.dumps(index))
    tape = load(stored)
    assert tape.tokens == list("abcdef") and tape.predictions is None and tape.vocabulary is None
