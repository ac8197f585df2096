"""The corpus of the built-in decoder: Python's own standard library, its tokenizer, and training batches.

The text is every ``.py`` file of the running interpreter's standard library, less test suites (Debian's
Python does not ship them, so a corpus with them could not be rebuilt there), generated tables, and files
that hold build paths. Whole files go to the held-out side by a hash of their path, so no held-out text is
a continuation of a training text.
"""

from __future__ import annotations

import fnmatch
import hashlib
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

EOT = "<|endoftext|>"
"""Put before every document; the only special token."""

SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})
SKIPPED_FILES = (
    "_sysconfigdata*.py",  # generated, holds the paths of the machine that built Python
    "config-*/*",
    "pydoc_data/topics.py",
    "html/entities.py",
    *(
        f"encodings/{name}.py"
        for name in ("cp*", "iso8859*", "mac_*", "koi8*", "kz1048", "ptcp154", "palmos")
    ),
    *(f"encodings/{name}.py" for name in ("hp_roman8", "tis_620", "aliases")),
)


def documents(stdlib: Path | None = None) -> dict[str, str]:
    """The corpus as ``{path relative to the standard library: text}``, sorted by path."""
    root = stdlib or Path(sysconfig.get_path("stdlib"))
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if SKIPPED_FOLDERS & set(name.split("/")) or any(fnmatch.fnmatch(name, p) for p in SKIPPED_FILES):
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        if text.strip():
            found[name] = text
    return found


def held_out(name: str) -> bool:
    """Whether the file of this relative path belongs to the held-out twentieth."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 20 == 0


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: no text is unknown to it, and decoding gives back the exact text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)  # type: ignore
    bpe.decoder = decoders.ByteLevel()  # type: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=EOT, eos_token=EOT, clean_up_tokenization_spaces=False
    )


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[np.ndarray]:
    """Each text as token ids with `EOT` in front."""
    eot = tokenizer.convert_tokens_to_ids(EOT)
    rows = tokenizer.backend_tokenizer.encode_batch(list(texts))
    return [np.array([eot, *row.ids], dtype=np.int64) for row in rows]


class Batches:
    """Endless training batches.

    The documents are shuffled and joined anew each epoch and cut into consecutive rows, so every token is
    seen once an epoch. A share ``repeated`` of the rows is replaced by a span that is repeated until the row
    is full: half of the spans are uniformly random tokens, half are code. These rows are what makes
    induction heads appear within this small token budget. The first copy of a random span has no
    loss, as there is nothing in it to learn.
    """

    def __init__(self, documents: Sequence[np.ndarray], vocab_size: int, seed: int, repeated: float) -> None:
        self.documents = documents
        self.vocab_size = vocab_size
        self.repeated = repeated
        self.rng = np.random.default_rng(seed)
        self.stream = np.empty(0, dtype=np.int64)

    def take(self, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next batch as ``(input_ids, labels)``, both ``rows`` x ``length``."""
        pairs = [self._row(length) for _ in range(rows)]
        ids, labels = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
        return ids, labels

    def _row(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        skip = 0
        if self.rng.random() < self.repeated:
            span = int(self.rng.integers(min(16, length // 2), length // 2 + 1))
            if self.rng.random() < 0.5:
                source = self.rng.integers(1, self.vocab_size, span)
                skip = span - 1
            else:
                document = self.documents[self.rng.integers(len(self.documents))]
                start = self.rng.integers(max(1, len(document) - span))
                source = document[start : start + span]
            ids = np.resize(source, length + 1)
        else:
            while len(self.stream) < length + 1:
                order = self.rng.permutation(len(self.documents))
                self.stream = np.concatenate([self.stream, *(self.documents[index] for index in order)])
            ids = self.stream[: length + 1]
            self.stream = self.stream[length:]
        labels = ids[1:].copy()
        labels[:skip] = -100
        return ids[:-1].copy(), labels
