"""A call among others: memory, Ctrl-C, threads, and what the processor lends to all."""

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lookbehind.attention import attend, logsumexp, observe
from lookbehind.pattern import Causal, Chunk, Full
from tests.engines.native.sets import SETS, on


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak is read from Linux's /proc"
)
def test_nothing_as_large_as_all_weights_is_ever_made():
    n = 8192
    q, k, v = torch.randn(3, 1, 1, n, 16).unbind()
    attend(q[:, :, :64], k[:, :, :64], v[:, :, :64], Causal(), engine="native")
    status = Path("/proc/self/status")

    def held(field: str) -> int:
        return int(
            next(line for line in status.read_text().splitlines() if line.startswith(field)).split()[1]
        )

    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    _, lse = attend(q, k, v, Causal(), engine="native")
    observe(q, k, lse, Causal(), received=True, entropy=True, top=2, map=(256, 256), engine="native")
    assert held("VmHWM") - before < 4 * n * n / 1024 / 8  # kB; all weights are 262,144


@contextmanager
def interrupted_within(seconds: float):
    """Ctrl-C in 0.3 s: what is inside is left by KeyboardInterrupt, so soon after it was pressed."""
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def handle(number, frame):
        raise KeyboardInterrupt

    timer = threading.Timer(0.3, press)
    before = signal.signal(signal.SIGINT, handle)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            yield
        assert time.monotonic() - pressed[0] < seconds
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("verb", ["attend", "logsumexp", "observe"])
def test_interrupting_stops_within_a_second(verb, threads):
    n = 60_000
    q, every = torch.randn(1, 8, n, 64), Full().spans(n)
    lse = torch.zeros(1, 8, n)
    call = {
        "attend": lambda: attend(q, q, q, every, engine="native"),
        "logsumexp": lambda: logsumexp(q, q, every, engine="native"),
        "observe": lambda: observe(q, q, lse, every, received=True, by_distance=True, engine="native"),
    }[verb]
    with on(SETS[0], threads), interrupted_within(1.0):
        call()
    few = q[:, :, :50]
    assert (
        attend(few, few, few, Causal(), engine="native")[0].isfinite().all()
    )  # the next call is as good as any


def test_other_threads_run_meanwhile():
    """The GIL is released."""
    q = torch.randn(1, 4, 4000, 64)
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1
            time.sleep(0.001)

    other = threading.Thread(target=count)
    other.start()
    before = counted[0]
    attend(q, q, q, Full(), engine="native")
    during = counted[0] - before
    done.set()
    other.join()
    assert during > 5


def test_callers_on_many_threads_do_not_disturb_one_another():
    q = torch.randn(1, 2, 400, 32)
    expected = attend(q, q, q, Chunk(90), engine="native")
    wrong: list[int] = []

    def call(number: int) -> None:
        for _ in range(5):
            found = attend(q, q, q, Chunk(90), engine="native")
            if not (torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


@pytest.mark.skipif("amx" not in SETS, reason="no matrix unit here, or the system does not lend it")
def test_the_matrix_unit_is_left_as_pytorch_had_it():
    """oneDNN shapes the unit's registers for itself and remembers that it did."""
    a, b = torch.randn(2, 96, 96).bfloat16().unbind()
    q, k, v = torch.randn(3, 1, 2, 300, 64).bfloat16().unbind()
    with on("amx", 1):
        product, (out, lse) = a @ b, attend(q, k, v, Causal(), engine="native")
        for _ in range(3):
            assert torch.equal(a @ b, product)
            again, its_lse = attend(q, k, v, Causal(), engine="native")
            assert torch.equal(again, out) and torch.equal(its_lse, lse)
