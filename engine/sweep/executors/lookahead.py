"""How many trials a worker should hold beside the one that it is at.

A worker with nothing in hand waits for the driver after every trial; one with much in hand keeps
trials from others. So it holds a fixed time's worth, by the pace of the trials that have ended:
many that take a millisecond, none that take a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.sweep.executors.schedule import Job, Schedule

MOST_AHEAD = 64
NEWEST = 0.2  # weight of the newest trials in the pace


class Lookahead:
    """Follows the pace of a run; `trials_ahead` answers by it."""

    def __init__(self, schedule: Schedule, seconds_ahead: float) -> None:
        """``seconds_ahead``: of work that a worker should hold beside its trial."""
        self._schedule, self._seconds_ahead = schedule, seconds_ahead
        self._seconds_a_work: float | None = None

    def finished(self, work: float, seconds: float) -> None:
        """A worker has ended trials of so much work in so many seconds."""
        pace, known = seconds / work, self._seconds_a_work
        self._seconds_a_work = pace if known is None else known + NEWEST * (pace - known)

    def trials_ahead(self, held: Sequence[Job], workers: int) -> int:
        """For a worker that holds some, one of so many."""
        counts = self._schedule.counts
        if self._seconds_a_work is None or not counts.waiting:
            return 0
        mean_work = counts.work_waiting / counts.waiting
        seconds = self._seconds_a_work * max(mean_work, held[0].work if held else 0)
        fair = counts.waiting // (2 * max(workers, 1))
        return int(min(self._seconds_ahead / max(seconds, 1e-9), MOST_AHEAD, fair))
