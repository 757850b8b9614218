"""A crew of threads that prepares batches ahead of whoever iterates.

In: how many batches there are, a function that opens batch k, and a function that makes one
thread's tools. Out: the finished batches in order. What FFCV's scheduler lacks, and why this is
ours:

- several threads share each batch (runs of a few samples), so the first batch is there soon and
  the result does not depend on how many threads there are;
- at most ``prefetch`` batches are open or waiting; each has memory of its own, so a batch that was
  handed out is never written again;
- an exception travels to the consumer and is raised where its batch would have come; a crew whose
  threads cannot work says so rather than let the consumer wait;
- stopping at any moment (break, error, garbage collection, interpreter exit) ends the threads.

Nothing is compiled. Taking a run of samples costs a few µs for work of some ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Crew", "Job", "Tools"]


class Tools(Protocol):
    """What one thread works with; made in that thread and closed by it."""

    def close(self) -> None: ...


class Job(Protocol):
    """One batch: ``num_items`` pieces of work that may be done in any order by any thread."""

    num_items: int

    def do(self, tools: Any, item: int) -> None: ...


JobT = TypeVar("JobT", bound=Job)


class _Open(Generic[JobT]):
    """A job in progress: what is still to hand out, what is still to finish, what went wrong."""

    def __init__(self, job: JobT) -> None:
        self.job = job
        self.next_item = 0
        self.unfinished = job.num_items
        self.failures: list[tuple[int, BaseException]] = []


class Crew(Generic[JobT]):
    """``num_workers`` threads over ``num_jobs`` jobs; :meth:`take` gives them back in order.

    ``seconds_waited``: how long :meth:`take` has waited so far; ``seconds_idle``: how long threads
    have, summed over them, because enough batches were ready.
    """

    def __init__(
        self,
        num_jobs: int,
        open_job: Callable[[int], JobT],
        make_tools: Callable[[], Tools],
        *,
        num_workers: int,
        prefetch: int = 3,
        run_length: int = 4,
    ) -> None:
        self._num_jobs = num_jobs
        self._open_job = open_job
        self._make_tools = make_tools
        self._prefetch = prefetch
        self._run_length = run_length
        self._changed = threading.Condition()
        self._jobs: dict[int, _Open[JobT]] = {}
        self._num_opened = 0
        self._num_taken = 0
        self._stopped = False
        self._breakdown: BaseException | None = None
        self.seconds_waited = 0.0
        self.seconds_idle = 0.0
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-loading-{k}", daemon=True)
            for k in range(num_workers if num_jobs else 0)
        ]
        for thread in self._threads:
            thread.start()

    def take(self) -> JobT | None:
        """The next finished job, or None after the last; raises what was raised in its work."""
        with self._changed:
            if self._num_taken == self._num_jobs:
                return None
            number = self._num_taken
            began = time.perf_counter()
            self._changed.wait_for(lambda: self._is_settled(number))
            self.seconds_waited += time.perf_counter() - began
            if number not in self._jobs or self._jobs[number].unfinished:
                raise self._breakdown or RuntimeError("this epoch has been closed")
            opened = self._jobs.pop(number)
            self._num_taken += 1
            self._changed.notify_all()
        if opened.failures:
            raise min(opened.failures, key=lambda failure: failure[0])[1]
        return opened.job

    def stop(self) -> None:
        """End the threads, after the samples they are at, and drop what is unfinished."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        # Garbage collection may run this in a worker thread, which cannot wait for itself and
        # may hold the lock that the others need.
        if threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join()
            self._jobs.clear()

    def _is_settled(self, number: int) -> bool:
        if self._stopped or self._breakdown is not None:
            return True
        return number in self._jobs and not self._jobs[number].unfinished

    def _work(self) -> None:
        try:
            tools = self._make_tools()
            try:
                while (run := self._next_run()) is not None:
                    self._do(tools, *run)
            finally:
                tools.close()
        except BaseException as error:
            with self._changed:
                self._breakdown = self._breakdown or error
                self._changed.notify_all()

    def _next_run(self) -> tuple[_Open[JobT], range] | None:
        with self._changed:
            while not self._stopped and self._breakdown is None:
                opened = self._jobs.get(self._num_opened - 1)
                if opened is not None and opened.next_item < opened.job.num_items:
                    first = opened.next_item
                    opened.next_item = min(first + self._run_length, opened.job.num_items)
                    return opened, range(first, opened.next_item)
                if self._num_opened == self._num_jobs:
                    return None
                if self._num_opened - self._num_taken < self._prefetch:
                    self._jobs[self._num_opened] = _Open(self._open_job(self._num_opened))
                    self._num_opened += 1
                    self._changed.notify_all()
                else:
                    began = time.perf_counter()
                    self._changed.wait()
                    self.seconds_idle += time.perf_counter() - began
            return None

    def _do(self, tools: Tools, opened: _Open[JobT], run: range) -> None:
        failures: list[tuple[int, BaseException]] = []
        for item in run:
            if self._stopped:
                return
            try:
                opened.job.do(tools, item)
            except Exception as error:
                failures.append((item, error))
        with self._changed:
            opened.failures += failures
            opened.unfinished -= len(run)
            if not opened.unfinished:
                self._changed.notify_all()
