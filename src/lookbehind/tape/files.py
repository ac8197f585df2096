"""The directory a tape is stored in: safetensors beside an index, written atomically and read with suspicion.

    tape.json                  the index: see `index`
    layer-00000.safetensors    q, k, and lse, sinks, alibi where there are any
    spans-00000.safetensors    row_ptr, starts, stops, where no named pattern gives these spans
    next.safetensors           what the model said would come next, where it was recorded
    segment-00000.safetensors  only while recording: rows of every layer, see `writing`

Tensors are memory-mapped: opening a tape reads headers, and a layer's numbers when they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lookbehind import checks, disk
from lookbehind.errors import InputError, LookbehindError, TapeError
from lookbehind.grammar import parse
from lookbehind.spans import Spans
from lookbehind.tape.index import NAME, Index, LayerEntry, SpansEntry, nothing_yet, read
from lookbehind.tape.predictions import Predictions, joined
from lookbehind.tape.tape import Layer, Tape, join

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
NEXT = "next.safetensors"
_ARRAYS = ("row_ptr", "starts", "stops")


def load(directory: str | Path) -> Tape:
    """Read a tape. Its tensors are memory-mapped.

    A tape whose recording was killed is read as far as it was flushed; its `complete` is False. Numbers of
    queries and keys that changed on the disk are not noticed: to check them would be to read them all.

    Raises:
        InputError: `directory` is no path.
        TapeError: the directory is no tape, or a file of it is damaged; the message names the file.
    """
    directory = checks.path("load", directory)
    _check_name(directory)
    index = read(directory)
    if index.segments:
        pieces, ids, said = read_segments(directory, index)
        steps = [step for segment in index.segments for step in segment.steps]
        return _tape(directory, index, list(join(pieces)), ids, None, steps, said)
    if not index.layers:
        raise nothing_yet(directory)
    shared: dict[int, Spans] = {}
    layers: list[Layer] = []
    for entry in index.layers:
        assert entry.file is not None and entry.spans is not None  # the index was checked
        tensors = read_tensors(directory / entry.file)
        check_layer(directory / entry.file, tensors, index.n_queries, index.n_keys)
        if entry.spans not in shared:
            shared[entry.spans] = _read_spans(directory, index.spans[entry.spans], index)
        layers.append(layer_of(entry, tensors, shared[entry.spans]))
    said = None
    if index.predictions is not None:
        path = directory / index.predictions
        said = _predictions(path, read_tensors(path), index.n_queries)
    return _tape(directory, index, layers, index.token_ids, index.tokens, index.steps, said)


def save(tape: Tape, directory: Path) -> None:
    """Write a tape into a new directory."""
    check_new(directory)
    with disk.whole(directory, directory=True) as beside:
        write_layers(beside, tape.layers, tape)


def check_new(directory: Path) -> None:
    """Refuse a place that holds something, or cannot hold a tape."""
    _check_name(directory)
    try:
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            raise InputError(f"{directory}: is a file; give a new directory for the tape")
        if directory.exists() and any(directory.iterdir()):
            raise InputError(f"{directory}: exists and is not empty; give a new directory for the tape")
    except OSError as error:
        raise InputError(f"{directory}: cannot be used for a tape: {error.strerror}") from None


def _check_name(directory: Path) -> None:
    """Refuse a name that safetensors cannot open."""
    try:
        str(directory).encode()
    except UnicodeEncodeError:
        raise InputError(f"{directory}: its name is not UTF-8; a tape needs a name that is") from None


def write_layers(directory: Path, layers: Iterable[Layer], tape: Tape) -> None:
    """Layer files, spans files, then the index that makes them a tape."""
    entries: list[LayerEntry] = []
    spans: dict[Spans, int] = {}
    n_queries = n_keys = offset = 0
    for number, layer in enumerate(layers):
        n_queries, n_keys, offset = layer.n_queries, layer.n_keys, layer.spans.offset
        name = f"layer-{number:05d}.safetensors"
        which = spans.setdefault(layer.spans, len(spans))
        entries.append(LayerEntry(layer.name, name, which, layer.scale, layer.softcap))
        write_tensors(directory / name, layer_tensors(layer))
    if tape.predictions is not None:
        write_tensors(directory / NEXT, tape.predictions.tensors())
    index = Index(
        state="finished" if tape.complete else "stopped",
        n_queries=n_queries,
        n_keys=n_keys,
        offset=offset,
        steps=tape.steps,
        token_ids=tape.token_ids,
        tokens=tape.tokens,
        meta=tape.meta,
        skipped=tape.skipped,
        layers=entries,
        spans=[_write_spans(directory, one, number) for one, number in spans.items()],
        segments=[],
        predictions=None if tape.predictions is None else NEXT,
        vocabulary=None
        if tape.predictions is None or tape.vocabulary is None
        else {str(one): text for one, text in tape.vocabulary.items()},
    )
    write_index(directory, index)


def write_index(directory: Path, index: Index) -> None:
    """Replace the index in one step. Half a surrogate pair, which UTF-8 lacks, is escaped as in JSON."""
    text = index.dumps()
    with disk.whole(directory / NAME) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """A safetensors file, in one step."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # safetensors refuses tensors that share memory, as rows of one step may.
    seen: set[int] = set()
    for name, tensor in ready.items():
        if tensor.data_ptr() in seen or tensor.untyped_storage().nbytes() != tensor.nbytes:
            ready[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    with disk.whole(path) as beside:
        save_file(ready, beside)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a file, memory-mapped."""
    if not path.is_file():
        raise TapeError(f"{path}: missing; {NAME} names it, so the tape is damaged")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise TapeError(f"{path}: damaged: {' '.join(str(error).split())}; record it again") from None


def layer_tensors(layer: Layer) -> dict[str, torch.Tensor]:
    """A layer's tensors by the names they have in a file."""
    found = {"q": layer.q, "k": layer.k, "lse": layer.known_lse, "sinks": layer.sinks, "alibi": layer.alibi}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def layer_of(entry: LayerEntry, tensors: Mapping[str, torch.Tensor], spans: Spans) -> Layer:
    """The layer of an entry and its checked tensors."""
    return Layer(
        entry.name,
        tensors["q"],
        tensors["k"],
        spans,
        entry.scale,
        entry.softcap,
        tensors.get("sinks"),
        tensors.get("alibi"),
        tensors.get("lse"),
    )


def check_layer(path: Path, tensors: Mapping[str, torch.Tensor], n_queries: int, n_keys: int) -> None:
    """Refuse tensors that are not those of a layer of these lengths."""
    for name in ("q", "k"):
        if name not in tensors:
            raise TapeError(f"{path}: lacks the tensor {name!r}")
    q, k = tensors["q"], tensors["k"]
    if q.dtype not in FLOATS:
        raise TapeError(f"{path}: q is {_dtype(q)}; a tape holds {', '.join(str(d)[6:] for d in FLOATS)}")
    wanted_k = f"[kv heads, {n_keys}, {q.shape[-1] if q.ndim == 3 else 'dim'}]"
    if q.ndim != 3 or q.shape[1] != n_queries or 0 in q.shape:
        raise TapeError(f"{path}: q has shape {list(q.shape)}, but must be [heads, {n_queries}, dim]")
    if k.ndim != 3 or k.shape[1:] != (n_keys, q.shape[2]) or 0 in k.shape:
        raise TapeError(f"{path}: k has shape {list(k.shape)}, but must be {wanted_k}")
    if k.dtype != q.dtype:
        raise TapeError(f"{path}: k is {_dtype(k)}, but q is {_dtype(q)}")
    if q.shape[0] % k.shape[0]:
        raise TapeError(f"{path}: {k.shape[0]} kv heads cannot serve {q.shape[0]} query heads")
    lse_dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    for name, tensor in tensors.items():
        if name in ("q", "k"):
            continue
        wanted = {"lse": q.shape[:2], "sinks": q.shape[:1], "alibi": q.shape[:1]}.get(name)
        if wanted is None:
            raise TapeError(f"{path}: has a tensor {name!r} that no layer has")
        if tensor.shape != wanted:
            raise TapeError(f"{path}: {name} has shape {list(tensor.shape)}, but must be {list(wanted)}")
        if tensor.dtype not in FLOATS or (name == "lse" and tensor.dtype != lse_dtype):
            raise TapeError(f"{path}: {name} is {_dtype(tensor)}, which it must not be for q of {_dtype(q)}")


def spans_of_arrays(
    path: Path, arrays: Mapping[str, torch.Tensor], n_queries: int, n_keys: int, offset: int
) -> Spans:
    """Spans from the three tensors of a file, checked."""
    for name in _ARRAYS:
        if name not in arrays:
            raise TapeError(f"{path}: lacks the tensor {name!r}")
        if arrays[name].dtype != torch.int64 or arrays[name].ndim != 1:
            raise TapeError(
                f"{path}: {name} is {_dtype(arrays[name])} of {arrays[name].ndim} axes, but must be int64 [n]"
            )
    if len(arrays) > len(_ARRAYS):
        extra = sorted(set(arrays) - set(_ARRAYS))[0]
        raise TapeError(f"{path}: has a tensor {extra!r} that spans do not have")
    try:
        return Spans(n_queries, n_keys, offset, *(arrays[name].numpy() for name in _ARRAYS))
    except LookbehindError as error:
        raise TapeError(f"{path}: {error}") from None


def arrays_of(spans: Spans) -> dict[str, torch.Tensor]:
    """The three tensors of spans."""
    return {name: torch.tensor(getattr(spans, name)) for name in _ARRAYS}


def _write_spans(directory: Path, spans: Spans, number: int) -> SpansEntry:
    pattern = spans.pattern()
    text = None if pattern is None else str(pattern)
    if text is not None and parse(text).spans(spans.n_queries, spans.n_keys, spans.offset) == spans:
        return SpansEntry(text, None, _digest(spans))
    name = f"spans-{number:05d}.safetensors"
    write_tensors(directory / name, arrays_of(spans))
    return SpansEntry(None, name, _digest(spans))


def _read_spans(directory: Path, entry: SpansEntry, index: Index) -> Spans:
    if entry.file is not None:
        path = directory / entry.file
        spans = spans_of_arrays(path, read_tensors(path), index.n_queries, index.n_keys, index.offset)
    else:
        path = directory / NAME
        try:
            spans = parse(str(entry.pattern)).spans(index.n_queries, index.n_keys, index.offset)
        except LookbehindError as error:
            reason = str(error).splitlines()[0]  # those below it point at the column
            raise TapeError(f"{path}: the pattern of its spans is not one: {reason}") from None
    if _digest(spans) != entry.digest:
        raise TapeError(f"{path}: its spans are not those that were recorded (digest {entry.digest[:12]}...)")
    return spans


def _digest(spans: Spans) -> str:
    found = hashlib.sha256(f"{spans.n_queries} {spans.n_keys} {spans.offset}".encode())
    for name in _ARRAYS:
        found.update(getattr(spans, name).astype("<i8").tobytes())
    return found.hexdigest()


def read_segments(
    directory: Path, index: Index
) -> tuple[list[list[Layer]], list[int] | None, Predictions | None]:
    """The rows of each segment, layer by layer, the token ids if every segment has them, and what is known of
    what was said to come next."""
    pieces: list[list[Layer]] = []
    said: list[tuple[int, Predictions | None]] = []
    ids: list[torch.Tensor | None] = []
    position = index.offset
    for segment in index.segments:
        path = directory / segment.file
        tensors = read_tensors(path)
        if len(segment.spans) != len(index.layers) or sum(segment.steps) != segment.n_queries:
            raise TapeError(
                f"{directory / NAME}: the entry of {segment.file} does not fit its layers or steps"
            )
        length = position + segment.n_queries
        sets: dict[int, Spans] = {}
        rows: list[Layer] = []
        for number, (entry, which) in enumerate(zip(index.layers, segment.spans, strict=True)):
            mine = _under(tensors, f"{number}.")
            check_layer(path, mine, segment.n_queries, segment.n_queries)
            if which not in sets:
                arrays = _under(tensors, f"spans{which}.")
                sets[which] = spans_of_arrays(path, arrays, segment.n_queries, length, position)
            rows.append(layer_of(entry, mine, sets[which]))
        found = tensors.get("token_ids")
        if found is not None and (found.dtype != torch.int64 or found.shape != (segment.n_queries,)):
            raise TapeError(
                f"{path}: token_ids is {_dtype(found)} {list(found.shape)}, but must be int64 "
                f"[{segment.n_queries}]"
            )
        ids.append(found)
        upcoming = _under(tensors, "next.")
        said.append(
            (segment.n_queries, _predictions(path, upcoming, segment.n_queries) if upcoming else None)
        )
        pieces.append(rows)
        position = length
    for number, parts in enumerate(zip(*pieces, strict=True)):
        if len({(row.q.shape[0], row.k.shape[0], row.q.shape[2], row.q.dtype) for row in parts}) > 1:
            raise TapeError(f"{directory}: segments of layer {number} differ in heads, width or dtype")
    known = [one for one in ids if one is not None]
    token_ids = torch.cat(known).tolist() if known and len(known) == len(ids) else None
    return pieces, token_ids, joined(said)


def _predictions(path: Path, tensors: Mapping[str, torch.Tensor], n_queries: int) -> Predictions:
    """The predictions of a file, checked."""
    kinds = {
        "ids": torch.int32,
        "probabilities": torch.float32,
        "loss": torch.float32,
        "before": torch.float32,
    }
    for name in sorted(kinds.keys() ^ tensors.keys()):
        raise TapeError(
            f"{path}: "
            + (f"lacks the tensor {name!r}" if name in kinds else f"has a tensor {name!r} too many")
        )
    width = tensors["ids"].shape[-1] if tensors["ids"].ndim else 0
    table = (n_queries, max(width, 1))
    shapes = {"ids": table, "probabilities": table, "loss": (n_queries,), "before": ()}
    for name, one in tensors.items():
        if one.dtype != kinds[name] or one.shape != shapes[name]:
            raise TapeError(
                f"{path}: {name} is {_dtype(one)} {list(one.shape)}, but must be "
                f"{str(kinds[name])[6:]} {list(shapes[name])}"
            )
    shares = tensors["probabilities"]
    if not bool(((shares >= 0) & (shares <= 1.001)).all()):
        raise TapeError(f"{path}: probabilities has numbers that are none")
    return Predictions(**tensors)


def _tape(
    directory: Path,
    index: Index,
    layers: list[Layer],
    ids: Any,
    tokens: Any,
    steps: list[int],
    said: Predictions | None,
) -> Tape:
    complete = index.state == "finished"
    texts = index.vocabulary
    vocabulary = None if texts is None else {int(one): text for one, text in texts.items()}
    skipped = list(index.skipped)
    return Tape(layers, ids, tokens, steps, dict(index.meta), skipped, complete, said, vocabulary, directory)


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
