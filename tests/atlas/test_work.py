import threading
import time

import pytest

from lookbehind.atlas.work import CHEAP, StoppedError, Work


class Gate:
    """Holds every thread of a queue of one, so that what is asked meanwhile has to wait."""

    def __init__(self, work: Work) -> None:
        self.open, self.held = threading.Event(), threading.Event()
        self.job = work.ask("gate", self._wait, CHEAP + 1)
        assert self.held.wait(5)

    def _wait(self) -> None:
        self.held.set()
        assert self.open.wait(5)


@pytest.fixture
def work():
    made = Work(threads=1)
    yield made
    made.stop()


def asked(work, done, name, cost=CHEAP + 1, background=None):
    return work.ask(name, lambda: done.append(name), cost, background)


def test_viewers_go_first_the_cheap_before_the_dear_the_newest_first_then_the_background(work):
    done: list[str] = []
    gate = Gate(work)
    jobs = [
        asked(work, done, "pass 1, first", background=1),
        asked(work, done, "pass 2, first", background=2),
        asked(work, done, "pass 2, second", background=2),
        asked(work, done, "dear", cost=CHEAP * 64),
        asked(work, done, "older", cost=CHEAP + 1),
        asked(work, done, "newer", cost=CHEAP + 5),
    ]
    gate.open.set()
    for job in jobs:
        job.future.result(5)
    assert done == ["newer", "older", "dear", "pass 2, first", "pass 2, second", "pass 1, first"]


def test_a_slow_job_does_not_block_a_cheap_one(work):
    gate = Gate(work)
    assert work.ask("cheap", lambda: "at once", 5).future.result(5) == "at once"
    assert not gate.job.future.done()
    gate.open.set()


def test_jobs_of_one_name_are_one(work):
    gate = Gate(work)
    count: list[int] = []
    jobs = [work.ask("tile", lambda: count.append(1), CHEAP + 1) for _ in range(3)]
    assert len(set(map(id, jobs))) == 1
    work.drop(jobs[0])
    work.drop(jobs[0])
    gate.open.set()
    jobs[0].future.result(5)
    assert count == [1]


def test_what_nobody_waits_for_is_dropped(work):
    gate = Gate(work)
    done: list[str] = []
    dropped, kept = asked(work, done, "dropped"), asked(work, done, "kept")
    work.drop(dropped)
    assert dropped.future.cancelled()
    again = asked(work, done, "dropped")
    work.drop(again)
    gate.open.set()
    kept.future.result(5)
    assert done == ["kept"]


def test_the_background_waits_for_viewers_and_gives_way_to_them(work):
    done: list[str] = []
    gate = Gate(work)

    def background() -> None:
        done.append("background begins")
        later.append(asked(work, done, "viewer"))
        work.give_way()
        done.append("background ends")

    later: list = []
    job = work.ask("background", background, CHEAP + 1, background=0)
    first = asked(work, done, "first")
    gate.open.set()
    job.future.result(5)
    first.future.result(5)
    assert done == ["first", "background begins", "viewer", "background ends"]


def test_a_pass_behind_others_gives_way_to_those_that_go_first(work):
    done: list[str] = []
    gate = Gate(work)

    def last() -> None:
        first.append(asked(work, done, "first", background=1))
        later.append(asked(work, done, "later", background=0))
        work.give_way(behind=0)
        done.append("last ends")

    first: list = []
    later: list = []
    job = work.ask("last", last, CHEAP + 1, background=0)
    gate.open.set()
    job.future.result(5)
    later[0].future.result(5)
    assert done == ["first", "last ends", "later"]


def test_a_long_job_of_a_viewer_gives_way_to_cheaper_ones(work):
    done: list[str] = []
    gate = Gate(work)

    def long() -> None:
        cheaper.append(asked(work, done, "cheaper", cost=CHEAP * 8))
        dearer.append(asked(work, done, "dearer", cost=CHEAP * 32))
        work.give_way(CHEAP * 16)
        done.append("long")

    cheaper: list = []
    dearer: list = []
    job = work.ask("long", long, CHEAP * 16)
    gate.open.set()
    job.future.result(5)
    dearer[0].future.result(5)
    assert done == ["cheaper", "long", "dearer"]


def test_errors_go_to_who_waits_and_the_queue_lives_on(work):
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work.ask("fails", fails, 0).future.result(5)
    assert work.ask("next", lambda: 1, 0).future.result(5) == 1
    deadline = time.monotonic() + 5
    while not work.idle and time.monotonic() < deadline:
        time.sleep(0.001)
    assert work.idle


def test_stopping_ends_what_runs_in_the_background_and_cancels_what_waits():
    work = Work(threads=1)
    begun = threading.Event()

    def endless() -> None:
        while True:
            begun.set()
            work.give_way()
            time.sleep(0.001)

    running = work.ask("endless", endless, CHEAP + 1, background=0)
    waiting = work.ask("waiting", lambda: None, CHEAP + 1, background=0)
    assert begun.wait(5)
    work.stop()
    assert isinstance(running.future.exception(5), StoppedError)
    assert waiting.future.cancelled()
    assert work.ask("later", lambda: None, 0).future.cancelled()
    assert not [one for one in threading.enumerate() if one in work._threads]
