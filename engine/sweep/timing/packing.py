"""How the cores of a machine are shared out: workers × threads, by measurement.

One-thread workers share nothing and scale best while their data fit into the caches; fewer workers
with more threads need less memory. Which is faster depends on the machine and the student, so it is
measured (`engine.sweep.timing.measured_packing`), and kept with the sweep: a worker's threads
decide the order of its sums, and so the last bits of its results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beton_builder.machine import usable_cores

WORTH_MORE_WORKERS = 1.03
"""A packing with more workers must be so much faster: each holds the images once more."""

Measure = Callable[[int, int], float]
"""(workers, threads) → images per second of all workers together."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Workers, threads of each, and why.

    rates: images/s by (workers, threads), as measured. because: what else decided.
    """

    workers: int
    threads: int
    rates: dict[tuple[int, int], float]
    because: str = ""

    @property
    def reason(self) -> str:
        """Such as ``2 workers × 1 thread: 1,590 images/s (1 × 2: 1,450); too little memory …``."""
        return "; ".join(filter(None, (self._rates_in_words(), self.because)))

    def record(self) -> dict[str, Any]:
        """As JSON, for the sweep that runs in it; `recorded_packing` reads it."""
        return {
            "workers": self.workers,
            "threads": self.threads,
            "cores": usable_cores(),
            "because": self.because,
            "rates": [[*packing, rate] for packing, rate in self.rates.items()],
        }

    def _rates_in_words(self) -> str:
        chosen = (self.workers, self.threads)
        others = ", ".join(
            f"{workers} × {threads}: {rate:,.0f}"
            for (workers, threads), rate in self.rates.items()
            if (workers, threads) != chosen
        )
        found = f"{_number(self.workers, 'worker')} × {_number(self.threads, 'thread')}"
        if chosen in self.rates:
            found += f": {self.rates[chosen]:,.0f} images/s"
        return f"{found} ({others})" if others else found


def recorded_packing(record: Mapping[str, Any] | None) -> Packing | None:
    """The packing a sweep began in; None without one, or if the machine has other cores now."""
    if not record or record["cores"] != usable_cores():
        return None
    return Packing(
        workers=record["workers"],
        threads=record["threads"],
        rates={(workers, threads): rate for workers, threads, rate in record["rates"]},
        because=record["because"],
    )


def choose_packing(cores: int, measure: Measure, *, most_workers: int | None = None) -> Packing:
    """Measure every way to use all cores, from one worker to one a core; the fastest wins.

    Args:
        cores: how many may be used.
        measure: of a packing; called once for each number of threads that divides the cores.
        most_workers: more are not tried, for want of memory, say.

    Raises:
        ValueError: fewer than one core or worker.
    """
    limit = cores if most_workers is None else min(most_workers, cores)
    if limit < 1:
        raise ValueError(f"{cores} cores and at most {limit} workers: expected 1 or more of each")
    packings = [(n, cores // n) for n in range(1, limit + 1) if cores % n == 0]
    rates: dict[tuple[int, int], float] = {}
    best = packings[0]
    for packing in packings:
        rates[packing] = measure(*packing)
        if rates[packing] > rates[best] * WORTH_MORE_WORKERS:
            best = packing
    return Packing(workers=best[0], threads=best[1], rates=rates)


def own_cores(workers: int, threads: int, cores: Sequence[int]) -> list[list[int]]:
    """The cores of each worker: its own where together they use all, else none (unpinned).

    Pinned to a part of the machine, two sweeps side by side would share that part and leave the
    rest idle; more threads than cores are better placed by Linux.
    """
    if workers * threads != len(cores):
        return [[] for _ in range(workers)]
    return [list(cores[i * threads : (i + 1) * threads]) for i in range(workers)]


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
