"""Writes patterns.json: run `python -m tests.conformance.write` when a case is added.

The pairs come from tests/dense.py, the cell-by-cell oracle, never from the engine they judge. Each case is
{"pattern": text, "n_queries", "n_keys", "offset", "rows": [[keys of query 0], ...]}; any engine, in any
language, that reads patterns must give exactly these rows.
"""

import json
from pathlib import Path

from lookbehind.grammar import parse
from tests import dense

PATH = Path(__file__).with_name("patterns.json")

TEXTS = [
    "causal",
    "full",
    "window(3)",
    "first(2)",
    "chunk(4)",
    "diagonal(0)",
    "diagonal(1)",
    "diagonal(-2)",
    "documents(3, 4, 13)",
    "~causal",
    "~full",
    "~causal | diagonal(0)",
    "causal & window(1)",
    "causal & window(4)",
    "causal & window(100)",
    "causal & chunk(3)",
    "causal & documents(2, 5, 13)",
    "causal | first(3)",
    "causal & ~first(2)",
    "causal & (window(2) | first(1))",
    "causal & window(3) & ~first(2)",
    "causal & ~(window(2) | first(1))",
    "causal & chunk(4) & documents(3, 4, 13) | diagonal(-1)",
    "~(causal & window(3)) & ~~first(5)",
    "first(0)",
    "(causal | first(4)) & documents(6, 14)",
]
LENGTHS = [
    (1, 1, None),
    (8, 8, None),
    (3, 9, None),  # a decode of three over a cache of six
    (1, 7, None),
    (9, 4, None),  # more queries than keys: the first have positions before 0
    (4, 9, 0),  # top-left
    (4, 6, 10),  # keys that end before the queries begin
    (0, 5, None),
    (5, 0, 0),
]


def cases() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for text in TEXTS:
        for n_queries, n_keys, asked in LENGTHS:
            offset = n_keys - n_queries if asked is None else asked
            mask = dense.mask(parse(text), n_queries, n_keys, offset)
            rows = [[j for j, cell in enumerate(row) if cell] for row in mask.tolist()]
            found.append(
                {
                    "pattern": text,
                    "n_queries": n_queries,
                    "n_keys": n_keys,
                    "offset": offset,
                    "rows": rows,
                }
            )
    return found


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(case) for case in cases())
    PATH.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
