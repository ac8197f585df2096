"""lookbehind: which query-key products a decoder computes, and what they weigh.

A decoder-only language model computes, for the query at position i, dot products with the keys at positions
j <= i and with no others: a lower triangle. A guided tour:

Which products does a pattern allow?

>>> import lookbehind as lb
>>> spans = (lb.Causal() & lb.Window(3)).spans(5)
>>> print(spans)
■ · · · ·
■ ■ · · ·
■ ■ ■ · ·
· ■ ■ ■ ·
· · ■ ■ ■
>>> spans.keys(3), spans.forbidden(3), spans.count()
([1, 2, 3], [0, 4], 12)

Compute them, and reduce what they weigh without ever storing n x n:

>>> import torch
>>> q, k, v = torch.randn(3, 1, 2, 5, 16).unbind()
>>> out, lse = lb.attend(q, k, v, lb.Causal())
>>> seen = lb.observe(q, k, lse, lb.Causal(), received=True, entropy=True)
>>> seen.received.shape, seen.entropy.shape
(torch.Size([1, 2, 5]), torch.Size([1, 2, 5]))

Record what a real model looked at: `lb.record`, `lb.load`, `lb.next_tokens`; see their docstrings.

Names are imported when they are first used: explaining a pattern needs neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lookbehind.errors import (
    EngineError,
    InputError,
    LookbehindError,
    PatternError,
    RecordError,
    StorageError,
    TapeError,
)

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lookbehind import testing
    from lookbehind.attention import attend, logsumexp, observe
    from lookbehind.auditor import audit
    from lookbehind.blocks import Blocks
    from lookbehind.engines.observation import Observation
    from lookbehind.grammar import parse
    from lookbehind.lesson import explain
    from lookbehind.naming import identify
    from lookbehind.pattern import Causal, Chunk, Diagonal, Documents, First, Full, Pattern, Window
    from lookbehind.predict import next_tokens
    from lookbehind.recorder import record
    from lookbehind.spans import Spans
    from lookbehind.tape import Tape, load

_HOME = {
    "attend": "attention",
    "audit": "auditor",
    "logsumexp": "attention",
    "observe": "attention",
    "Observation": "engines.observation",
    "parse": "grammar",
    "explain": "lesson",
    "identify": "naming",
    "Causal": "pattern",
    "Chunk": "pattern",
    "Diagonal": "pattern",
    "Documents": "pattern",
    "First": "pattern",
    "Full": "pattern",
    "Pattern": "pattern",
    "Window": "pattern",
    "next_tokens": "predict",
    "record": "recorder",
    "Blocks": "blocks",
    "Spans": "spans",
    "Tape": "tape",
    "load": "tape",
    "testing": "testing",
}

__all__ = [
    "Blocks",
    "Causal",
    "Chunk",
    "Diagonal",
    "Documents",
    "EngineError",
    "First",
    "Full",
    "InputError",
    "LookbehindError",
    "Observation",
    "Pattern",
    "PatternError",
    "RecordError",
    "Spans",
    "StorageError",
    "Tape",
    "TapeError",
    "Window",
    "attend",
    "audit",
    "explain",
    "identify",
    "load",
    "logsumexp",
    "next_tokens",
    "observe",
    "parse",
    "record",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lookbehind' has no attribute {name!r}")
    value = getattr(import_module(f"lookbehind.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
