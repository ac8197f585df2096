"""Run: `python -m census.run` audits every architecture that is not audited yet, and writes the table.

Results are kept in build/census, one file an architecture, under the versions of torch and transformers and a
hash of the audit's own code: an interrupted census goes on where it was, and a changed audit starts over.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import shutil
import sys
import time
from pathlib import Path

from census import pool, table
from census.one import CUT_SHORT, census_of

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "census"
# They write down what was found, and find nothing.
_WRITERS = ("report_text.py", "junit.py", "sarif.py")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    options = _parser().parse_args(arguments)
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    from lookbehind.auditor.architectures import names

    _import_all()
    everything = list(names())
    chosen = [name for name in everything if not options.only or any(part in name for part in options.only)]
    folder = KEPT / f"torch-{torch.__version__}_transformers-{transformers.__version__}_{code()}"
    if options.stale:
        _borrow(folder, everything)
    waiting = [name for name in chosen if options.again or not _done(_path(folder, name))]
    began, done = time.monotonic(), 0

    def told(name: str, how: str, seconds: float) -> None:
        nonlocal done
        done += 1
        row = _row(folder, name)
        print(f"{done}/{len(waiting)} {name}: {table.in_a_word(row)} ({how}, {seconds:.1f} s)", flush=True)

    limits = pool.Limits(seconds=options.seconds, gigabytes=options.gigabytes)
    pool.run(
        waiting, census_of, lambda name: _path(folder, name), jobs=options.jobs, limits=limits, told=told
    )
    rows = [_row(folder, name) for name in everything if _done(_path(folder, name))]
    if len(rows) < len(everything):
        print(
            f"{len(rows)} of {len(everything)} architectures audited; the table waits for all",
            file=sys.stderr,
        )
        return 0
    versions = {
        "torch": str(torch.__version__).partition("+")[0],
        "transformers": str(transformers.__version__),
    }
    unread = table.write(rows, versions, ROOT / "docs", ROOT / "census" / "verdicts.json")
    print(f"docs/census.md, docs/census.json: {len(rows)} architectures in {time.monotonic() - began:.0f} s")
    for line in unread:
        print(f"not classed yet: {line}", file=sys.stderr)
    return 0


def code() -> str:
    """A hash of what decides a result: the audit and this census' way of asking."""
    files = [*sorted((ROOT / "src" / "lookbehind" / "auditor").rglob("*.py")), ROOT / "census" / "one.py"]
    digest = hashlib.sha256()
    for file in files:
        if file.name not in _WRITERS:
            digest.update(
                ast.dump(ast.parse(file.read_text(encoding="utf-8"))).encode()
            )  # comments decide nothing
    return digest.hexdigest()[:12]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m census.run", description=__doc__.partition("\n")[0])
    parser.add_argument("only", nargs="*", help="parts of names: audit these architectures alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (2)")
    parser.add_argument("--seconds", type=float, default=420.0, help="time limit of one architecture (420)")
    parser.add_argument("--gigabytes", type=float, default=6.0, help="memory limit of one architecture (6)")
    parser.add_argument(
        "--stale", action="store_true", help="take results of other versions of the audit, too"
    )
    parser.add_argument("--again", action="store_true", help="audit again what is audited already")
    return parser


def _borrow(folder: Path, names: list[str]) -> None:
    """Copies rows that this version of the audit lacks from the newest other one with the same libraries."""
    prefix = folder.name.rpartition("_")[0]
    others = [other for other in folder.parent.glob(f"{prefix}_*") if other != folder]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        rows = [_path(other, name) for other in others if _done(_path(other, name))]
        if rows and not _done(_path(folder, name)):
            shutil.copy2(max(rows, key=lambda row: row.stat().st_mtime), _path(folder, name))


def _done(path: Path) -> bool:
    """Whether a row is whole: a census that was stopped leaves rows at which it was."""
    if not path.exists():
        return False
    row = json.loads(path.read_text(encoding="utf-8"))
    return all(told["reason"] != CUT_SHORT for told in row["backends"].values())


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '~')}.json"


def _row(folder: Path, name: str) -> table.Row:
    return json.loads(_path(folder, name).read_text(encoding="utf-8"))


def _import_all() -> None:
    """Everything that children need, imported before they are forked: once, not once each."""
    import importlib
    import pkgutil

    import lookbehind
    import lookbehind.auditor

    for module in pkgutil.walk_packages(lookbehind.auditor.__path__, "lookbehind.auditor."):
        importlib.import_module(module.name)
    importlib.import_module("lookbehind.recorder")


if __name__ == "__main__":
    raise SystemExit(main())
