"""That the figures can be read, on small sizes; never how fast anything is."""

import json
import math
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lookbehind import bench
from lookbehind.bench import Row, alone, engine
from lookbehind.engines import native
from lookbehind.errors import EngineError, InputError

README = Path(__file__).parent.parent / "benchmarks" / "README.md"


@pytest.fixture(scope="module")
def rows():
    """What is asked, as of a CPU that multiplies bfloat16: the page is of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_WITH_DOT", tuple(native.sets()[0]))
        return bench.run(quick=True)


def test_every_row_is_a_figure_with_its_unit(rows):
    for row in rows:
        assert row.value is None or math.isfinite(row.value)
        assert row.unit in ("MB", "s", "ms", "x", "%", "GFLOP/s", "GB/s") and row.name and row.note
        assert json.loads(json.dumps(row.to_dict())) == row.to_dict()


def test_each_figure_has_a_name_of_its_own(rows):
    assert len({row.name for row in rows}) == len(rows)


def test_the_page_shows_the_figures_that_are_read(rows):
    page = README.read_text(encoding="utf-8")
    shown = re.findall(r"^\| ([^|]+?) +\| +[-\d.,–]+ (MB|s|ms|x|%|GFLOP/s|GB/s) ", page, re.MULTILINE)
    assert sorted(shown) == sorted((row.name, row.unit) for row in rows)


def test_the_page_shows_what_has_to_be_reached(rows):
    page = README.read_text(encoding="utf-8")
    shown = re.findall(r"^\| ([^|]+?) +\| [-\d.,–]+ \S+ \| ([\d.]+) \| ([\d.–]+) \|", page, re.MULTILINE)
    targets = [row for row in rows if row.must is not None]
    assert len(targets) > 30
    assert shown == [(row.name, f"{row.must:g}", f"{row.aim:g}" if row.aim else "–") for row in targets]


def test_what_is_asked_of_bfloat16_depends_on_the_cpu(monkeypatch):
    for has, asked in (("avx2", (None, None)), ("avx512", (None, None)), ("avx512bf16", (2.6, 3.1))):
        monkeypatch.setattr(native, "sets", lambda has=has: ([has], [has]))
        assert engine._asked("bfloat16", (2.6, 3.1)) == asked
        assert engine._asked("float32", (1.35, 1.5)) == (1.35, 1.5)


def test_reached_or_not():
    fast, slow = (Row("speed", value, "x", "", 1.35, 1.5) for value in (1.4, 1.3))
    assert fast.reached and not slow.reached
    cheap, dear = (Row("cost", value, "x", "", 0.65, 0.5, at_most=True) for value in (0.6, 0.7))
    assert cheap.reached and not dear.reached
    assert Row("unasked", 1.0, "x", "").reached is None and Row("gone", None, "x", "", 2, 3).reached is None


def test_what_only_a_compiled_engine_can_be_asked_is_left_out_without_it(monkeypatch):
    monkeypatch.setattr(native, "_why_missing", "it was not compiled")
    assert engine.rows(quick=True) == []


def test_memory_is_measured(monkeypatch):
    """64 MB more, held for a moment, are seen."""

    def hold(n):
        return lambda: torch.ones(16 * n * n).sum()

    monkeypatch.setattr(alone, "_eager_call", hold)
    _, extra = alone.alone("eager", 1024)
    assert 60e6 < extra < 90e6


def test_a_process_of_its_own_gives_seconds_and_bytes():
    seconds, extra = alone.fresh("spans", 100_000)
    assert 0 < seconds < 60 and extra >= 0


def test_a_measurement_that_fails_says_which():
    with pytest.raises(
        EngineError, match=r"^bench: measuring nonsense at n = 8 failed: KeyError: 'nonsense'$"
    ):
        alone.fresh("nonsense", 8)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(InputError, match=r"^bench: device 'tpu' is not here; use 'cpu'$"):
        bench.run(device="tpu")


def test_the_machine_is_named():
    assert f"torch {torch.__version__}" in bench.machine()


def interpreted(code: str) -> list[str]:
    """The lines that a process prints which runs kernels in Triton's interpreter."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=README.parents[1],
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed here, not even its interpreter"
)
def test_what_a_card_is_asked_first_is_right_in_the_interpreter():
    """And where it is wrong, that is said and the rest asked all the same."""
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import small; assert small.main('cpu', 4) == 0\n"
        "from lookbehind.engines.kernels import reduce; reduce.in_scores = lambda problem, best: best\n"
        "assert small.main('cpu', 4) == 1"
    )
    lines = interpreted(code)
    assert [line[:6] for line in lines[:8]] == ["right "] * 8
    assert any("WRONG queries pass: " in line for line in lines) and lines[-1].startswith(
        "right diagonals: by_distance off by"
    )


@pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed here, not even its interpreter"
)
def test_the_figures_of_a_card_can_be_read_in_the_interpreter():
    """Every row, on tiny sizes: that the code runs, and that it names what has to be reached."""
    code = (
        "import json, warnings; warnings.simplefilter('ignore')\n"
        "from lookbehind.bench import cuda\n"
        "print(json.dumps([row.to_dict() for row in cuda.rows(cuda.TINY)]))"
    )
    rows = [Row(**one) for one in json.loads(interpreted(code)[-1])]
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.unit in ("x", "%", "TFLOP/s", "GB/s") for row in rows)
    page = README.with_name("cuda.md").read_text(encoding="utf-8")
    for row in rows:
        said = re.sub(r": n = .*", "", row.name)
        assert f"| {said} |" in page, said
        if row.must is not None:
            assert re.search(rf"\| {re.escape(said)} \| [^|]*\| {row.must:g} \| {row.aim or '–'} \|", page), (
                said
            )
