"""Whether a worker may leave the longest-first order: the arithmetic behind `schedule`.

For every waiting length p, (work shorter than p) / workers >= p - 1 % of the makespan must hold, so
that the shorter jobs can fill the gaps that this long one may leave.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

TOLERANCE = 0.01
"""Share of the makespan that may be given for keeping shapes."""

MOST_LENGTHS = 128
"""Lengths told apart when a worker leaves the order; more are merged, on the safe side."""


class Fillers:
    """Whether enough short jobs wait to fill the gaps that the longer ones will leave.

    Lengths are merged into at most MOST_LENGTHS classes, each judged by its longest and filled by
    the classes below it alone.
    """

    def __init__(self, works: Sequence[float], workers: int) -> None:
        """``works``: of every job there will be. None waits yet."""
        lengths = np.unique(np.asarray(works, dtype=np.float64))
        parts = np.array_split(lengths, min(MOST_LENGTHS, max(len(lengths), 1)))
        self._longest = np.array([part[-1] for part in parts if len(part)])
        self._edges = self._longest.tolist()
        self._counts = np.zeros(len(self._longest), np.int64)
        self._shorter = np.zeros(len(self._longest))
        self._total = float(sum(works))
        self.workers = workers

    def put(self, work: float) -> None:
        """A job waits."""
        self._change(work, 1)

    def take(self, work: float) -> None:
        """A job waits no longer."""
        self._change(work, -1)

    def _change(self, work: float, sign: int) -> None:
        at = bisect.bisect_left(self._edges, work)
        self._counts[at] += sign
        self._shorter[at + 1 :] += sign * work

    def can_spare(self, work: float, longest: float) -> bool:
        """Whether a job may start before the longest that waits, without hurting the makespan."""
        if work >= longest:
            return True
        at = bisect.bisect_left(self._edges, work)
        first = at if work < self._edges[at] else at + 1
        waiting = self._counts[first:] > 0
        left = self._shorter[first:] - work * (np.arange(first, len(self._edges)) > at)
        needed = self.workers * self._longest[first:] - TOLERANCE * self._total
        return bool(np.all(left[waiting] >= needed[waiting]))
