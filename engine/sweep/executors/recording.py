"""What an executor does with a trial's outcome: the record to the ledger, the news to listeners.

Events are plain dicts, ``{"event": kind, "time": seconds since 1970, …}``, fit for JSON lines:

| Kind | Keys |
|---|---|
| `sweep_started` | pid, trials, work, workers, threads |
| `worker_started` | worker (its place, from 0), pid; on Ray node, host, and no pid yet |
| `worker_ready`, `worker_ended` | worker; pid |
| `worker_died` | worker, pid, reason |
| `trial_started` | worker, id, cell, work |
| `trial_progress` | worker, seen, total (images) |
| `trial_finished` | worker (None: given up), id, cell, work, status, error, test, seconds, rate |
| `tick` | waiting, running; twice a second |
| `sweep_finished`, `sweep_stopped` | |

`work` is the estimate in images, `test` the accuracy after the last epoch, `seconds` by part,
`rate` in images/s. A trial is told to be finished when its record is durable, so its worker may
have begun another one by then.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.sweep.executors.schedule import Job, Schedule
from engine.sweep.executors.worker import Runnable, failed_record

WRITERS = 4
MOST_UNSETTLED = 64  # records handed in and not yet told of

Event = dict[str, Any]


@dataclass
class Outcome:
    """What a run did. ``seconds``: by part, summed over the trials that say so."""

    done: int = 0
    failed: int = 0
    workers_lost: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class Recorder:
    """Records to the ledger, events to the listener, sums to the outcome.

    Records are written by a few threads: the disk is waited for while trials run, and a journalling
    file system makes several files durable at once for the price of one. A signal raises in the
    main thread, so a record that was handed in is written whatever happens there.
    """

    def __init__(
        self,
        schedule: Schedule,
        ledger_write: Callable[[dict[str, Any]], None],
        on_event: Callable[[Event], None] | None,
    ) -> None:
        """``ledger_write`` is called by several threads at once."""
        self.outcome = Outcome()
        self._schedule, self._write, self._on_event = schedule, ledger_write, on_event
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="ledger")
        self._unsettled: deque[_Handed] = deque()

    def tell(self, kind: str, **content: Any) -> None:
        """Tell the listener; one that raises is told no more."""
        if self._on_event is None:
            return
        try:
            self._on_event({"event": kind, "time": time.time(), **content})
        except BaseException:
            self._on_event = None
            raise

    def begin(self, worker: int, trial: Runnable, job: Job) -> None:
        """A worker is at a trial now."""
        self.tell("trial_started", worker=worker, id=trial.id, cell=trial.cell, work=job.work)

    def tick(self) -> None:
        """Time has passed."""
        counts = self._schedule.counts
        self.tell("tick", waiting=counts.waiting, running=counts.running)

    def hand_in(
        self, worker: int | None, trial: Runnable, job: Job, record: dict[str, Any]
    ) -> None:
        """Have a trial's record made durable; `settle` tells of it."""
        writing = self._writers.submit(self._make_durable, trial, record)
        self._unsettled.append(_Handed(worker, trial, job, writing))
        while len(self._unsettled) > MOST_UNSETTLED:
            self._settle_first()

    def settle(self, *, wait: bool = False) -> None:
        """Tell of the records that are durable by now, or of all that were handed in.

        Raises:
            Exception: what ``ledger_write`` raised.
        """
        while self._unsettled and (wait or self._unsettled[0].writing.done()):
            self._settle_first()

    def close(self) -> None:
        """Wait until everything that was handed in is on disk."""
        self._writers.shutdown()

    def _make_durable(self, trial: Runnable, record: dict[str, Any]) -> dict[str, Any]:
        try:
            self._write(record)
        except (TypeError, ValueError):
            error = f"the result can't be recorded as JSON:\n{traceback.format_exc()}"
            record = failed_record(trial, error)
            self._write(record)
        return record

    def _settle_first(self) -> None:
        worker, trial, job, writing = self._unsettled.popleft()
        record = writing.result()
        done = record.get("status") == "done"
        self.outcome.done += done
        self.outcome.failed += not done
        seconds = record.get("seconds") or {}
        for part, spent in seconds.items():
            self.outcome.seconds[part] = self.outcome.seconds.get(part, 0.0) + spent
        error = str(record.get("error") or "").strip()
        self.tell(
            "trial_finished",
            worker=worker,
            id=trial.id,
            cell=trial.cell,
            work=job.work,
            status=record.get("status"),
            error=error.splitlines()[-1] if error else None,
            test=_final_test(record),
            seconds=seconds,
            rate=record.get("images_per_second"),
        )


class _Handed(NamedTuple):
    worker: int | None
    trial: Runnable
    job: Job
    writing: Future[dict[str, Any]]


def _final_test(record: Mapping[str, Any]) -> float | None:
    final = (record.get("result") or {}).get("final")
    return final.get("test") if isinstance(final, Mapping) else None
