import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np

from lookbehind.atlas import page
from tests.atlas.plates import plate

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "<!--",
    "<script>",
    "&lt;b&gt;",
    "\u2028'${alert(1)}`",
)


class Reader(HTMLParser):
    """What a browser would find: elements with their attributes, and the text of each script."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "script"

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data
        else:
            self.words.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def test_the_page_needs_nothing_from_outside():
    text = page.render(plate(6, tokens=tuple("abcdef")))
    assert not re.search(r"https?:|//\w", text.replace("xmlns='http://www.w3.org/2000/svg'", ""))
    for tag, attributes in read(text).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert (attributes.get("src") or "data:").startswith("data:")


def test_hostile_tokens_are_inert():
    calm = read(page.render(plate(6, tokens=tuple("abcdef"), source="model")))
    wild = read(page.render(plate(6, tokens=HOSTILE, source=HOSTILE[0])))
    assert [tag for tag, _ in wild.elements] == [tag for tag, _ in calm.elements]
    assert not any(name.startswith("on") for _, attributes in wild.elements for name in attributes)
    assert json.loads(wild.scripts[0])["tokens"] == list(HOSTILE)
    assert wild.scripts[1] == calm.scripts[1]
    shown = "".join(wild.words)
    assert "</script><img·s" in shown  # the token is there, as words


def test_only_the_one_script_may_run():
    text = page.render(plate(3))
    policy = next(a["content"] for tag, a in read(text).elements if tag == "meta" and "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(read(text).scripts[1].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_the_values_come_back_exactly():
    found = plate(5)
    data = json.loads(read(page.render(found)).scripts[0])
    values = np.frombuffer(base64.b64decode(data["values"]), dtype="<f4").reshape(
        data["rows"], data["columns"]
    )
    np.testing.assert_array_equal(values, found.values)


def test_the_picture_is_transparent_where_nothing_was_computed():
    from io import BytesIO

    from PIL import Image

    source = next(a["src"] for tag, a in read(page.render(plate(4))).elements if tag == "img")
    assert source is not None
    image = Image.open(BytesIO(base64.b64decode(source.split(",")[1])))
    alpha = np.asarray(image)[..., 3]
    np.testing.assert_array_equal(alpha > 0, np.tril(np.ones((4, 4), dtype=bool)))
