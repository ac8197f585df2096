"""Packed: numbers and words inside one HTML file, which no text of a tape can break out of."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from lookbehind.errors import InputError

DATA = "lookbehind-tape"
BLOB = "lookbehind-blob-"
_KINDS = {torch.float32: "f4", torch.float16: "f2", torch.bfloat16: "bf"}


class Packed:
    """Script elements that hold data and are never run: deflated bytes in base64, named by number.

    Attributes:
        size: characters of all of them together.
    """

    def __init__(self) -> None:
        self._elements: list[str] = []
        self._names: dict[bytes, str] = {}
        self.size = 0

    def pack(self, *data: bytes) -> Blobs:
        """The elements that these bytes would be; `add` takes them in."""
        return Blobs(self, [zlib.compress(one, 9) for one in data])

    def add(self, content: bytes) -> str:
        """The name of an element with this content, deflated already; equal content is kept once."""
        digest = hashlib.sha256(content).digest()
        if digest not in self._names:
            self._names[digest] = str(len(self._elements))
            text = base64.b64encode(content).decode("ascii")
            self._elements.append(
                f'<script type="text/plain" id="{BLOB}{self._names[digest]}">{text}</script>\n'
            )
            self.size += len(self._elements[-1])
        return self._names[digest]

    def has(self, content: bytes) -> bool:
        """Whether this content is there already."""
        return hashlib.sha256(content).digest() in self._names

    def page(self, manifest: dict[str, Any], title: str) -> str:
        """The whole file: the atlas's page with everything inside it.

        Raises:
            InputError: this installation lacks the page.
        """
        page, script, style = (asset(name) for name in ("index.html", "app.js", "app.css"))
        # The only texts that could end or disturb a script element, as other JavaScript for the same.
        script = script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
        style = style.replace("</", "<\\/")
        policy = (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
            "img-src data: blob:; base-uri 'none'; form-action 'none'"
        )
        data = f'<script type="application/json" id="{DATA}">{_json(manifest)}</script>\n' + "".join(
            self._elements
        )
        changes = {
            '<meta charset="utf-8">': '<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="generator" content="lookbehind export">',
            "<title>lookbehind</title>": f"<title>{html.escape(title)}</title>",
            '<link rel="stylesheet" href="app.css">': f"<style>{style}</style>",
            '<script src="app.js"></script>': f"{data}<script>{script}</script>",
        }
        for before, after in changes.items():
            if page.count(before) != 1:
                raise InputError(
                    f"export: index.html of this installation lacks {before}; install lookbehind again"
                )
            page = page.replace(before, after)
        return page


class Blobs:
    """Deflated bytes that may be added to a page, if there is room."""

    def __init__(self, packed: Packed, contents: list[bytes]) -> None:
        self._packed, self._contents = packed, contents

    @property
    def size(self) -> int:
        """Characters that they would add to the page."""
        new = {one for one in self._contents if not self._packed.has(one)}
        return sum(len(one) * 4 // 3 + 80 for one in new)

    def add(self) -> list[str]:
        """Takes them in; their names."""
        return [self._packed.add(one) for one in self._contents]


def asset(name: str) -> str:
    """A file of the atlas's page."""
    found = files("lookbehind.atlas").joinpath("page").joinpath(name)
    if not found.is_file():
        raise InputError(f"export: {name} is missing from this installation of lookbehind; install it again")
    return found.read_text(encoding="utf-8")


def kind(tensor: torch.Tensor) -> str:
    """How a tensor's numbers are written: as they are, float64 as float32."""
    return _KINDS.get(tensor.dtype, "f4")


def numbers(tensor: torch.Tensor) -> bytes:
    """A tensor's numbers, little endian."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    array = tensor.numpy()
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def words(data: Any) -> bytes:
    """Data as JSON text."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False).encode("ascii")


def integers(*arrays: Any) -> bytes:
    """Whole numbers below 2**31, one array after another."""
    return b"".join(np.asarray(one).astype("<i4").tobytes() for one in arrays)


def _json(data: Any) -> str:
    """JSON that no HTML parser can mistake for the end of its script element."""
    text = words(data).decode("ascii")
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
