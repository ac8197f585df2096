import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import lookbehind as lb

HEAVY = ("torch", "transformers", "starlette", "uvicorn", "PIL", "triton")


def loaded(code: str) -> set[str]:
    """Which of the heavy modules a fresh interpreter holds after running `code`."""
    report = f"{code}\nimport sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


def test_import_loads_nothing_heavy():
    assert loaded("import lookbehind") == set()


def test_explaining_a_pattern_needs_neither_torch_nor_transformers():
    assert loaded("import lookbehind as lb; print(lb.parse('causal & window(2)').spans(4))") == set()


def test_attention_and_record_need_torch_but_neither_transformers_nor_a_server():
    assert loaded("import lookbehind as lb; lb.attend, lb.observe, lb.record, lb.load") == {"torch"}


def test_this_test_can_fail():
    assert loaded("import lookbehind, transformers") >= {"transformers"}


def test_no_module_takes_the_name_of_a_public_verb():
    """Python sets a loaded submodule as an attribute of its package: it would replace the function."""
    modules = {path.stem for path in Path(lb.__file__).parent.iterdir()}
    assert modules & (set(lb.__all__) - {"testing"}) == set()  # `lb.testing` is meant as the module


def test_every_public_name_is_there():
    assert set(lb._HOME) <= set(lb.__all__)
    for name in lb.__all__:
        assert getattr(lb, name).__name__.split(".")[-1] == name
        assert name in dir(lb)
    with pytest.raises(AttributeError, match="module 'lookbehind' has no attribute 'attent'"):
        lb.attent


def test_the_version_is_the_one_installed():
    assert lb.__version__ == importlib.metadata.version("lookbehind")
