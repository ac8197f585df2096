"""A page with everything inside it: nothing from outside, nothing that breaks out, numbers to the bit."""

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from lookbehind.atlas import packed
from lookbehind.atlas.packed import DATA, Packed, integers, kind, numbers, words
from lookbehind.errors import InputError

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "<!--<script>",
    "]]>&lt;b&gt;",
    "\u2028'${alert(1)}`\x00\u202e",
)


class Reader(HTMLParser):
    """What a browser would find: elements with attributes, the text of scripts and styles, and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag in ("script", "style")
        if self.inside:
            self.raw.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("script", "style")

    def handle_data(self, data):
        if self.inside:
            attrs, before = self.raw[-1]
            self.raw[-1] = attrs, before + data
        else:
            self.words.append(data)


def manifest(text: str) -> dict:
    """The description in a page, and under "blobs" its numbers inflated."""
    found = {attrs.get("id"): body for attrs, body in Reader(text).raw}
    blobs = {
        name.removeprefix(packed.BLOB): zlib.decompress(base64.b64decode(body))
        for name, body in found.items()
        if name and name.startswith(packed.BLOB)
    }
    return {**json.loads(found[DATA]), "blobs": blobs}


def test_the_page_needs_nothing_from_outside():
    text = Packed().page({"a": 1}, "title")
    policy = ""
    for tag, attributes in Reader(text).elements:
        if attributes.get("rel") == "icon":
            assert attributes["href"] == "data:,"  # or the browser would ask for one
            continue
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {"src", "href", "style"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            policy = attributes["content"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    run = [body for attrs, body in Reader(text).raw if "id" not in attrs]
    assert len(run) == 2  # one style, one script
    for body in run:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in policy
    assert "url(" not in run[0]


def test_words_of_a_tape_are_data_wherever_they_stand():
    plain = Reader(Packed().page({"tokens": ["a"]}, "a"))
    for hostile in HOSTILE:
        store = Packed()
        store.pack(words([hostile])).add()
        text = store.page({"tokens": [hostile], hostile: 1}, hostile)
        found = Reader(text)
        assert [tag for tag, _ in found.elements].count("script") == len(plain.raw) - 1 + 1
        assert {tag for tag, _ in found.elements} == {tag for tag, _ in plain.elements}
        data = manifest(text)
        assert data["tokens"] == [hostile] and data[hostile] == 1
        assert json.loads(data["blobs"]["0"]) == [hostile]
        assert hostile.replace("\x00", "") in "".join(found.words).replace("\x00", "").replace("\ufffd", "")


def test_scripts_that_hold_an_end_tag_stay_whole(monkeypatch):
    texts = {
        "index.html": packed.asset("index.html"),
        "app.js": 'const a = "</script>", b = `<!--`;',
        "app.css": 'a::before { content: "</style>" }',
    }
    monkeypatch.setattr(packed, "asset", texts.__getitem__)
    run = [body for attrs, body in Reader(Packed().page({}, "t")).raw if "id" not in attrs]
    assert run == ['a::before { content: "<\\/style>" }', 'const a = "<\\/script>", b = `<\\!--`;']


def test_an_installation_without_its_page_says_so(monkeypatch):
    with pytest.raises(
        InputError, match=r"^export: none\.js is missing from this installation of lookbehind"
    ):
        packed.asset("none.js")
    monkeypatch.setattr(packed, "asset", lambda name: "")
    with pytest.raises(InputError, match=r"^export: index\.html of this installation lacks <meta charset"):
        Packed().page({}, "t")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_numbers_are_kept_to_the_bit(dtype):
    x = torch.randn(5, 3).to(dtype).t()
    raw = numbers(x)
    found = {
        "f4": lambda: np.frombuffer(raw, "<f4"),
        "f2": lambda: np.frombuffer(raw, "<f2"),
        "bf": lambda: (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32),
    }[kind(x)]()
    np.testing.assert_array_equal(found, x.float().contiguous().flatten().numpy())


def test_equal_content_is_kept_once_and_sizes_are_known_before():
    store = Packed()
    blobs = store.pack(b"a" * 1000, integers([1, 2], [3]), b"a" * 1000)
    size = blobs.size
    first, second, third = blobs.add()
    assert first == third != second
    assert store.size <= size <= store.size + 200
    assert store.pack(b"a" * 1000).size == 0
    text = store.page({}, "t")
    assert np.frombuffer(manifest(text)["blobs"][second], "<i4").tolist() == [1, 2, 3]
    assert re.search(r"<title>t</title>", text)
