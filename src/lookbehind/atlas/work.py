"""Work: what is computed, in which order, once for all who wait for it.

Jobs of viewers go before background jobs; among them the cheap before the dear, and of those that cost about
the same the newest first. One more thread takes cheap jobs only, so that a slow tile never blocks a fast one.
No background job begins while a viewer waits or has just been served, and one that runs gives way. A job that
nobody waits for any more is dropped.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import os
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any

import torch

CHEAP = 1 << 22  # products; a hundredth of a second or less
QUIET = 0.05  # seconds: a page asks its questions one after another, and the background waits for the last


class StoppedError(Exception):
    """The queue was stopped while a job ran."""


class Job:
    """Something to compute, shared by all who ask for it under the same name.

    Attributes:
        cost: products, about.
        background: None for a viewer's job; else which of several passes it belongs to.
        future: its result.
    """

    def __init__(self, name: Hashable, work: Callable[[], Any], cost: int, background: int | None) -> None:
        self.name, self.work, self.cost, self.background = name, work, cost, background
        self.future: Future[Any] = Future()
        self.waiting = 0
        self.begun = False


class Work:
    """A queue of jobs and its threads. Asked from any thread.

    Args:
        threads: how many jobs run side by side, beside a cheap one; one for each core unless given.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._turn = Condition()
        self._jobs: dict[Hashable, Job] = {}
        self._heap: list[tuple[tuple[int, int, int], Job]] = []
        self._number = itertools.count()
        self._viewed = 0  # viewers' jobs that wait or run
        self._quiet_from = 0.0  # when the background may begin
        self._stopped = False
        self._threads = [
            Thread(target=self._run, args=(takes,), name="lookbehind-atlas", daemon=True)
            for takes in [self._anything] * (threads or cores()) + [_cheap]
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.stop)

    def ask(self, name: Hashable, work: Callable[[], Any], cost: int, background: int | None = None) -> Job:
        """The job of that name; `drop` it when its result is no longer waited for.

        Once the queue is stopped, what it gives is cancelled.

        Args:
            name: jobs of the same name are one.
            work: what to do, on one of the queue's threads.
            cost: products, about.
            background: not for a viewer: a number of the pass it belongs to, whose higher go first.
        """
        with self._turn:
            job = self._jobs.get(name)
            if self._stopped:
                job = Job(name, work, cost, background)
                job.begun = job.future.cancel()
            elif job is None:
                job = self._jobs[name] = Job(name, work, cost, background)
                self._viewed += background is None
            job.waiting += 1
            if not job.begun:
                number = next(self._number)
                place = (
                    (0, _magnitude(job.cost), -number)
                    if job.background is None
                    else (1, -job.background, number)
                )
                heapq.heappush(self._heap, (place, job))
                self._turn.notify_all()
            return job

    def drop(self, job: Job) -> None:
        """Wait for it no longer."""
        with self._turn:
            job.waiting -= 1
            if job.waiting > 0 or job.begun or self._stopped:
                return
            job.begun = True  # its places in the queue are passed over
            self._forget(job)
            self._turn.notify_all()
        job.future.cancel()

    def give_way(self, to: int | None = None, behind: int | None = None) -> None:
        """Called by a long job now and then: does what viewers wait for first, on the same thread.

        Args:
            to: only jobs that cost less than this; any viewer's job unless given.
            behind: by a background job, the number of its pass: passes that go first are done as well.

        Raises:
            StoppedError: the queue was stopped; end at once.
        """
        while True:
            with self._turn:
                if self._stopped:
                    raise StoppedError
                job = self._take(lambda one: _first(one, to, behind))
            if job is None:
                return
            self._do(job)

    def stop(self) -> None:
        """Drop what waits. What runs is short or gives way, and is waited for.

        A thread that is inside PyTorch when Python ends would abort the process: this is also done at exit.
        """
        atexit.unregister(self.stop)
        with self._turn:
            self._stopped = True
            waiting = [job for job in self._jobs.values() if not job.begun]
            self._turn.notify_all()
        for job in waiting:
            job.future.cancel()
        for thread in self._threads:
            thread.join()

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        with self._turn:
            return not self._jobs

    # -- inside -----------------------------------------------------------------------------------------

    def _run(self, takes: Callable[[Job], bool]) -> None:
        # Both are per thread: each job stays on one core, and nothing is recorded for autograd.
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        while (job := self._await(takes)) is not None:
            self._do(job)
            del job  # and what it stands on

    def _await(self, takes: Callable[[Job], bool]) -> Job | None:
        """The next job that may be taken; None when the queue was stopped."""
        with self._turn:
            while not self._stopped:
                quiet_in = self._quiet_from - time.monotonic()
                job = self._take(takes)
                if job is not None:
                    return job
                self._turn.wait(quiet_in if quiet_in > 0 else None)
            return None

    def _take(self, takes: Callable[[Job], bool]) -> Job | None:
        """The first job, if it may be taken: the queue is in order, so what follows is no more urgent."""
        while self._heap and self._heap[0][1].begun:
            heapq.heappop(self._heap)
        if not self._heap or not takes(self._heap[0][1]):
            return None
        job = heapq.heappop(self._heap)[1]
        job.begun = True
        job.future.set_running_or_notify_cancel()
        return job

    def _do(self, job: Job) -> None:
        try:
            result = job.work()
        except BaseException as error:
            self._done(job)
            job.future.set_exception(error)
        else:
            self._done(job)
            job.future.set_result(result)

    def _done(self, job: Job) -> None:
        with self._turn:
            self._forget(job)
            self._turn.notify_all()

    def _forget(self, job: Job) -> None:
        del self._jobs[job.name]
        if job.background is None:
            self._viewed -= 1
            self._quiet_from = time.monotonic() + QUIET

    def _anything(self, job: Job) -> bool:
        return job.background is None or (not self._viewed and time.monotonic() >= self._quiet_from)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first(job: Job, to: int | None, behind: int | None) -> bool:
    if job.background is None:
        return to is None or job.cost < to
    return behind is not None and job.background > behind


def _cheap(job: Job) -> bool:
    return job.background is None and job.cost <= CHEAP


def _magnitude(cost: int) -> int:
    """Jobs of one magnitude cost about the same; the least is that of all that take next to no time."""
    return max(cost - 1 >> 20, 1).bit_length()
