"""A tape that is written while it grows.

Rows are gathered and flushed as segments, each brought to the disk before the index names it. At the end each
layer's segments become one file, the index is replaced once more, and the segments go. Killed at any point,
the directory reads as what its index names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lookbehind import disk
from lookbehind.spans import Spans
from lookbehind.tape.files import (
    arrays_of,
    check_new,
    layer_tensors,
    read_segments,
    write_index,
    write_layers,
    write_tensors,
)
from lookbehind.tape.index import NAME, Index, LayerEntry, SegmentEntry
from lookbehind.tape.predictions import Predictions, joined
from lookbehind.tape.tape import Layer, Tape, join

FLUSH_BYTES = 64 << 20
FLUSH_ROWS = 256


class TapeWriter:
    """Writes one sequence into a new directory.

    Args:
        directory: new or empty.
        meta: of the tape.
    """

    def __init__(self, directory: Path, meta: dict[str, str]) -> None:
        check_new(directory)
        self._directory = directory
        self._index = Index("recording", 0, 0, 0, [], None, None, meta, [], [], [], [])
        self._pending: list[list[Layer]] = []
        self._ids: list[torch.Tensor | None] = []
        self._said: list[tuple[int, Predictions | None]] = []
        self._rows = 0
        self._bytes = 0
        with disk.writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
        with disk.writing(directory / NAME):
            # Whoever makes the index has the directory: of two writers of one path the second ends here.
            (directory / NAME).touch(exist_ok=False)
        try:
            write_index(directory, self._index)
        except BaseException:
            self.discard()
            raise

    def append(
        self, layers: Sequence[Layer], token_ids: torch.Tensor | None, said: Predictions | None = None
    ) -> None:
        """Take the rows that one forward added to each layer, and what it said would come next; flush if
        enough are gathered.

        Raises:
            TapeError: the disk refused them; what was flushed before stays readable.
        """
        self._pending.append(list(layers))
        self._ids.append(token_ids)
        self._said.append((layers[0].n_queries, said))
        self._rows += layers[0].n_queries
        self._bytes += sum(layer.q.nbytes + layer.k.nbytes for layer in layers)
        if self._rows >= FLUSH_ROWS or self._bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Bring what is gathered to the disk."""
        if not self._pending:
            return
        layers = list(join(self._pending))
        name = f"segment-{len(self._index.segments):05d}.safetensors"
        sets: dict[Spans, int] = {}
        tensors: dict[str, torch.Tensor] = {}
        for number, layer in enumerate(layers):
            sets.setdefault(layer.spans, len(sets))
            tensors.update({f"{number}.{part}": one for part, one in layer_tensors(layer).items()})
        for spans, number in sets.items():
            tensors.update({f"spans{number}.{part}": one for part, one in arrays_of(spans).items()})
        known = [ids for ids in self._ids if ids is not None]
        if len(known) == len(self._ids):
            tensors["token_ids"] = torch.cat(known).to(torch.int64)
        said = joined(self._said)
        if said is not None:
            tensors.update({f"next.{part}": one for part, one in said.tensors().items()})
        write_tensors(self._directory / name, tensors)
        segment = SegmentEntry(
            name,
            layers[0].n_queries,
            [sets[layer.spans] for layer in layers],
            [step[0].n_queries for step in self._pending],
        )
        self._index = replace(
            self._index,
            layers=[LayerEntry(layer.name, None, None, layer.scale, layer.softcap) for layer in layers],
            segments=[*self._index.segments, segment],
        )
        write_index(self._directory, self._index)
        self._pending.clear()
        self._ids.clear()
        self._said.clear()
        self._rows = self._bytes = 0

    def finish(self, tape: Tape) -> None:
        """Make the segments one file per layer.

        Args:
            tape: its steps, tokens, meta, skipped layers, vocabulary and whether it is complete; its layers
                and predictions are those written.
        """
        self.flush()
        pieces, _, tape.predictions = read_segments(self._directory, self._index)
        write_layers(self._directory, join(pieces), tape)
        for path in [self._directory / segment.file for segment in self._index.segments]:
            with disk.writing(path):
                path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Take the directory away again: nothing was recorded."""
        with disk.writing(self._directory):
            (self._directory / NAME).unlink(missing_ok=True)
            self._directory.rmdir()
