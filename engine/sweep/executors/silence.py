"""How long workers have been silent, so that one that makes no progress is ended.

Silence is counted in the looks of whoever listens, and none counts for more than a look should take
(`longest_look`): a driver that was itself away, stopped by Ctrl-Z or held up by a disk, heard
nothing because it didn't listen, and blames nobody for that time.
"""

from __future__ import annotations

from collections.abc import Hashable


class Silence:
    """Seconds since each worker was last heard, as far as somebody listened."""

    def __init__(self, longest_look: float) -> None:
        """``longest_look``: seconds that may count between two calls of `pass_time`."""
        self._longest_look = longest_look
        self._seconds: dict[Hashable, float] = {}
        self._looked: float | None = None

    def heard(self, worker: Hashable) -> None:
        """Something came from a worker, or its time begins."""
        self._seconds[worker] = 0.0

    def forget(self, worker: Hashable) -> None:
        """A worker is gone."""
        self._seconds.pop(worker, None)

    def pass_time(self, now: float) -> None:
        """It is ``now``, in seconds of any clock."""
        passed = 0.0 if self._looked is None else min(now - self._looked, self._longest_look)
        self._looked = now
        for worker in self._seconds:
            self._seconds[worker] += passed

    def of(self, worker: Hashable) -> float:
        """Seconds that a worker has been silent; 0 for one that was never heard."""
        return self._seconds.get(worker, 0.0)


def no_progress(seconds: float, trial_id: str) -> str:
    """Why a worker was ended: ``made no progress for 30 min at trial X, and was killed``."""
    spent = f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
    return f"made no progress for {spent} at trial {trial_id}, and was killed"
