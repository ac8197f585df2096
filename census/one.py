"""One: one architecture, built tiny and audited under each attention implementation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

BACKENDS = ("eager", "sdpa")
LENGTH = 24  # three times the windows and chunks of the tiny models
# Their linear attention works in chunks of 64, written into the code: no setting shortens them.
CHUNKS_OF_64 = (
    "BailingHybridForCausalLM",
    "KimiLinearForCausalLM",
    "OlmoHybridForCausalLM",
    "Qwen3NextForCausalLM",
    "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForCausalLM",
    "Qwen4ExpForCausalLM",
)

CUT_SHORT = "cut short"
Row = dict[str, Any]


def census_of(name: str, keep: Callable[[Row], None]) -> None:
    """Audits one architecture; `keep` gets its row after each step: a time limit loses only the last."""
    from lookbehind.auditor.architectures import Unbuildable, tiny

    row: Row = {"name": name, "built": False, "reason": None, "backends": {}}
    try:
        tiny(name)
    except Exception as error:
        row["reason"] = (
            _line(error).removeprefix(f"{name}: ")
            if isinstance(error, Unbuildable)
            else f"{type(error).__name__}: {_line(error)}"
        )
        keep(row)
        return
    row["built"] = True
    for backend in BACKENDS:
        row["backends"][backend] = {"reason": CUT_SHORT, "rules": {}}
        keep(row)
        row["backends"][backend] = _under(name, backend)
        keep(row)


def _under(name: str, backend: str) -> Row:
    """The outcomes under one attention implementation, or why there are none."""
    from lookbehind.auditor import audit
    from lookbehind.auditor.architectures import tiny

    model = tiny(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.set_attn_implementation(backend)
    except ValueError:
        return {"reason": f"{type(model).__name__} does not offer {backend}", "rules": {}}
    # Comparing back ends is the same whichever is on: once is enough.
    ignore = None if backend == BACKENDS[0] else ["LB501"]
    # Chunk after chunk in Python is slow: fewer cuts, near the chunk's end too, and one sequence.
    how: Row = {"length": 70, "sample": 12, "seeds": (0,)} if name in CHUNKS_OF_64 else {"length": LENGTH}
    report = audit(model, ignore=ignore, **how)
    told = report.to_dict()
    rules = {outcome["rule"]: _brief(outcome) for outcome in told["outcomes"]}
    return {"reason": None, "length": told["length"], "coverage": told["coverage"], "rules": rules}


def _brief(outcome: Row) -> Row:
    """An outcome without what a table does not need; of a pass, only that."""
    if outcome["verdict"] == "pass":
        return {"verdict": "pass"}
    kept = {key: outcome.get(key) for key in ("verdict", "reason", "difference", "pair", "n_bad", "dtype")}
    culprit = outcome.get("culprit")
    if culprit:
        kept["culprit"] = {**culprit, "file": _within_package(culprit.get("file"))}
    return {key: value for key, value in kept.items() if value is not None and value != 0}


def _within_package(file: str | None) -> str | None:
    """A path that means the same on every machine."""
    if file is None:
        return None
    for root in ("site-packages/", "/src/"):
        if root in file:
            return file.rpartition(root)[2]
    return file


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
