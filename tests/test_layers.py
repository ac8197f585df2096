"""Imports point down only: the arrows of DESIGN.md, read off the source."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "lookbehind"

# From the ground up. Modules on one level do not import one another, except inside a package of that level.
LEVELS = [
    ["errors", "_native"],
    ["line", "checks", "disk", "tokens"],
    ["spans"],
    ["pattern", "blocks"],
    ["naming", "grammar", "reasons"],
    ["engines"],
    ["attention"],
    ["taps", "tape"],
    ["recorder", "model"],
    ["heads", "predict", "auditor"],
    ["atlas", "lesson", "questions", "bench", "testing"],
    ["quiz"],
    ["cli"],
    ["__main__"],
]
# Deferred imports inside one method, where a person looks for the verb. DESIGN.md names them.
DOORS = {
    ("spans", "blocks"),
    ("spans", "naming"),
    ("tape", "heads"),
    ("tape", "atlas"),
}
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def imports(path: Path) -> list[tuple[str, bool]]:
    """(top-level module of lookbehind, whether the import is deferred into a function)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    deferred = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lookbehind":
            whole = node.module == "lookbehind"
            names = [f"lookbehind.{a.name}" for a in node.names] if whole else [node.module]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("lookbehind.")]
        found += [(name.split(".")[1], id(node) in deferred) for name in names]
    return found


def owner(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def faults(path: Path) -> list[str]:
    mine, wrong = owner(path), []
    for target, deferred in imports(path):
        if target == mine or (deferred and (mine, target) in DOORS):
            continue
        if target not in LEVEL or LEVEL[target] >= LEVEL[mine]:
            wrong.append(f"{path.relative_to(SOURCE)} imports {target}")
    return wrong


MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def test_every_module_has_a_level():
    assert {owner(path) for path in MODULES} == set(LEVEL) - {"_native"}


def test_the_compiled_part_has_one_user():
    named = [path for path in MODULES if "_native" in path.read_text(encoding="utf-8")]
    users = {path.relative_to(SOURCE).as_posix() for path in named if ("_native", False) in imports(path)}
    assert users == {"engines/native.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    assert faults(path) == []


def test_engines_never_import_one_another():
    engines = SOURCE / "engines"
    names = {path.stem for path in engines.glob("*.py")} - {"__init__", "problem", "observation", "sinks"}
    assert {"reference", "torch"} <= names
    for path in engines.glob("*.py"):
        if path.stem in names:
            text = path.read_text(encoding="utf-8")
            for other in names - {path.stem}:
                assert f"lookbehind.engines.{other}" not in text
                assert f"lookbehind.engines import {other}" not in text


def test_an_upward_import_would_be_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_layers.SOURCE", tmp_path)
    bad = tmp_path / "spans.py"
    bad.write_text(
        "from lookbehind.recorder import record\ndef f():\n    from lookbehind import naming, tape\n"
    )
    assert faults(bad) == ["spans.py imports recorder", "spans.py imports tape"]
