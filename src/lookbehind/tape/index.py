"""The index of a stored tape, `tape.json`: what it holds, and what is accepted as one.

Tapes travel between people. Every field is checked for its type and range before it is used, files are named
by a fixed rule, and nothing in an index can make a reader allocate more than the tensors beside it already
hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from lookbehind.errors import TapeError

NAME = "tape.json"
FORMAT = "lookbehind tape"
VERSION = 2
_SINCE = {2: {"predictions", "vocabulary"}}  # keys that earlier versions lack
STATES = ("recording", "stopped", "finished")
_MOST_BYTES = 1 << 28
_LONGEST = 1 << 40
_FILE = re.compile(r"((layer|spans|segment)-[0-9]{5}|next)\.safetensors", re.ASCII)
_ID = re.compile(r"[0-9]{1,10}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class LayerEntry:
    """One layer: its name, its file (None while recording), and what is not a tensor."""

    name: str
    file: str | None
    spans: int | None
    scale: float
    softcap: float | None


@dataclass(frozen=True)
class SpansEntry:
    """Spans that layers share: as pattern text, or as arrays in a file; and the digest of the arrays."""

    pattern: str | None
    file: str | None
    digest: str


@dataclass(frozen=True)
class SegmentEntry:
    """Rows flushed together while recording: their file, and which of its spans each layer has."""

    file: str
    n_queries: int
    spans: list[int]
    steps: list[int]


@dataclass(frozen=True)
class Index:
    """Everything of a tape that is not a tensor."""

    state: str
    n_queries: int
    n_keys: int
    offset: int
    steps: list[int]
    token_ids: list[int] | None
    tokens: list[str] | None
    meta: dict[str, str]
    skipped: list[tuple[str, str, str]]
    layers: list[LayerEntry]
    spans: list[SpansEntry]
    segments: list[SegmentEntry]
    predictions: str | None = None
    vocabulary: dict[str, str] | None = None

    def dumps(self) -> str:
        """As JSON text."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def nothing_yet(directory: Path) -> TapeError:
    """A tape that nothing was written to, which is being recorded, or is not any more."""
    return TapeError(
        f"{directory}: nothing is on it, because it is being recorded, or recording was cut off before "
        "anything was written; wait, or record it again"
    )


def read(directory: Path) -> Index:
    """The index of a directory.

    Raises:
        TapeError: there is none, or it is not one.
    """
    path = directory / NAME
    if not directory.exists():
        raise TapeError(f"{directory}: no such directory; a tape is a directory that holds {NAME}")
    if not directory.is_dir() or not path.is_file():
        raise TapeError(f"{directory}: not a tape; a tape is a directory that holds {NAME}")
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise TapeError(f"{path}: {size:,} bytes are too many for an index of at most {_MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
        # Made, by who records, and not yet written: what is being written is hidden.
        if not text and all(one.name == NAME or one.name[0] == "." for one in directory.iterdir()):
            raise nothing_yet(directory)
        content = json.loads(text, parse_constant=_constant, object_pairs_hook=_once)
    except RecursionError:
        raise TapeError(f"{path}: not the index of a tape: nested too deeply") from None
    except (OSError, ValueError) as error:
        raise TapeError(f"{path}: not the index of a tape: {error}") from None
    return _Reader(path).index(content)


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(
            f"the key {max(pairs, key=lambda pair: [p[0] for p in pairs].count(pair[0]))[0]!r} occurs twice"
        )
    return found


class _Reader:
    """Checks each value; `where` in a message is the way to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def index(self, content: Any) -> Index:
        top = self._top(content)
        if top["state"] not in STATES:
            self._fail("state", top["state"], " or ".join(map(repr, STATES)))
        meta = top["meta"]
        if not isinstance(meta, dict):
            self._fail("meta", meta, "an object")
        finished = top["segments"] == []
        index = Index(
            state=top["state"],
            n_queries=self._whole("n_queries", top["n_queries"]),
            n_keys=self._whole("n_keys", top["n_keys"]),
            offset=self._whole("offset", top["offset"]),
            steps=self._list("steps", top["steps"], self._whole),
            token_ids=self._optional("token_ids", top["token_ids"], self._ids),
            tokens=self._optional("tokens", top["tokens"], self._texts),
            meta={self._text("meta", key): self._text(f"meta.{key}", value) for key, value in meta.items()},
            skipped=self._list("skipped", top["skipped"], self._skip),
            layers=self._list("layers", top["layers"], self._layer),
            spans=self._list("spans", top["spans"], self._spans),
            segments=self._list("segments", top["segments"], self._segment),
            predictions=self._optional("predictions", top["predictions"], self._file),
            vocabulary=self._optional("vocabulary", top["vocabulary"], self._vocabulary),
        )
        if finished:
            self._whole_tape(index)
        return index

    def _top(self, content: Any) -> dict[str, Any]:
        """The index with every key of this version; what an earlier one lacked is None."""
        known = {"format", "version", *(one.name for one in fields(Index))}
        if not isinstance(content, dict):
            self._fail("the index", content, "an object")
        version = content.get("version", VERSION)
        if content.get("format", FORMAT) != FORMAT:
            self._fail("format", content["format"], repr(FORMAT))
        if type(version) is not int or not 1 <= version <= VERSION:
            self._fail("version", version, f"1 to {VERSION}, those this lookbehind reads")
        later = {key for since, keys in _SINCE.items() if since > version for key in keys}
        self._object("the index", content, known - later, version)
        return {**dict.fromkeys(later), **content}

    def _whole_tape(self, index: Index) -> None:
        for number, layer in enumerate(index.layers):
            if layer.file is None:
                self._fail(f"layers[{number}].file", None, "a file name")
            if layer.spans is None or layer.spans >= len(index.spans):
                self._fail(f"layers[{number}].spans", layer.spans, f"a number below {len(index.spans)}")
        if index.steps and sum(index.steps) != index.n_queries:
            self._fail("steps", index.steps[:8], f"row counts that add up to {index.n_queries}")
        for what, values in (("token_ids", index.token_ids), ("tokens", index.tokens)):
            if values is not None and len(values) != index.n_keys:
                self._fail(what, f"{len(values)} of them", f"{index.n_keys}, one per position")

    def _layer(self, where: str, value: Any) -> LayerEntry:
        one = self._object(where, value, {part.name for part in fields(LayerEntry)})
        softcap = self._optional(f"{where}.softcap", one["softcap"], self._number)
        if softcap is not None and softcap <= 0:
            self._fail(f"{where}.softcap", softcap, "a number above 0")
        return LayerEntry(
            name=self._text(f"{where}.name", one["name"]),
            file=self._optional(f"{where}.file", one["file"], self._file),
            spans=self._optional(f"{where}.spans", one["spans"], self._whole),
            scale=self._number(f"{where}.scale", one["scale"]),
            softcap=softcap,
        )

    def _spans(self, where: str, value: Any) -> SpansEntry:
        one = self._object(where, value, {part.name for part in fields(SpansEntry)})
        if (one["pattern"] is None) == (one["file"] is None):
            self._fail(where, value, "a pattern or a file, one of the two")
        digest = self._text(f"{where}.digest", one["digest"])
        if not _HEX.fullmatch(digest):
            self._fail(f"{where}.digest", digest, "64 hexadecimal digits")
        return SpansEntry(
            pattern=self._optional(f"{where}.pattern", one["pattern"], self._text),
            file=self._optional(f"{where}.file", one["file"], self._file),
            digest=digest,
        )

    def _segment(self, where: str, value: Any) -> SegmentEntry:
        one = self._object(where, value, {part.name for part in fields(SegmentEntry)})
        return SegmentEntry(
            file=self._file(f"{where}.file", one["file"]),
            n_queries=self._whole(f"{where}.n_queries", one["n_queries"]),
            spans=self._list(f"{where}.spans", one["spans"], self._whole),
            steps=self._list(f"{where}.steps", one["steps"], self._whole),
        )

    def _vocabulary(self, where: str, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            self._fail(where, value, "an object")
        for key, text in value.items():
            if not _ID.fullmatch(key):
                self._fail(f"a key of {where}", key, "a token id")
            self._text(f"{where}.{key}", text)
        return value

    def _skip(self, where: str, value: Any) -> tuple[str, str, str]:
        texts = self._texts(where, value)
        if len(texts) != 3:
            self._fail(where, value, "a name, a class and a reason")
        return texts[0], texts[1], texts[2]

    def _object(self, where: str, value: Any, keys: set[str], version: int = VERSION) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(where, value, "an object")
        for key in sorted(keys - value.keys()):
            raise TapeError(f"{self._path}: {where} lacks {key!r}")
        for key in sorted(value.keys() - keys):
            raise TapeError(
                f"{self._path}: {where} has a key {_short(key)} that no tape of version {version} has"
            )
        return value

    def _list(self, where: str, value: Any, each: Callable[[str, Any], Any]) -> list[Any]:
        if not isinstance(value, list):
            self._fail(where, value, "a list")
        return [each(f"{where}[{number}]", one) for number, one in enumerate(value)]

    def _optional(self, where: str, value: Any, each: Callable[[str, Any], Any]) -> Any:
        return None if value is None else each(where, value)

    def _ids(self, where: str, value: Any) -> list[int]:
        return self._list(where, value, self._whole)

    def _texts(self, where: str, value: Any) -> list[str]:
        return self._list(where, value, self._text)

    def _text(self, where: str, value: Any) -> str:
        if not isinstance(value, str):
            self._fail(where, value, "text")
        return value

    def _whole(self, where: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LONGEST:
            self._fail(where, value, f"a whole number from 0 to {_LONGEST - 1}")
        return value

    def _number(self, where: str, value: Any) -> float:
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or abs(value) > 1e300
            or math.isnan(value)
        ):
            self._fail(where, value, "a finite number")
        return float(value)

    def _file(self, where: str, value: Any) -> str:
        if not isinstance(value, str) or not _FILE.fullmatch(value):
            self._fail(where, value, "a file name such as layer-00000.safetensors")
        return value

    def _fail(self, where: str, value: Any, wanted: str) -> NoReturn:
        raise TapeError(f"{self._path}: {where} is {_short(value)}, but must be {wanted}")


def _short(value: Any) -> str:
    kind = {dict: "an object", list: "a list"}.get(type(value))
    if kind is not None:
        return kind
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
