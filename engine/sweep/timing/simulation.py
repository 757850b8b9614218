"""Schedules replayed without running anything: how well trials would pack onto many workers."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.sweep.executors.schedule import Job, Schedule


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A schedule that was replayed.

    makespan, bound: in images; bound is max(total / workers, longest), which no schedule beats.
    shapes_prepared: how often a worker met another shape than it had.
    """

    makespan: float
    bound: float
    shapes_prepared: int
    finished: int
    given_up: int

    @property
    def ratio(self) -> float:
        """Makespan over its lower bound."""
        return self.makespan / self.bound


def simulate(
    jobs: Sequence[Job],
    workers: int,
    *,
    preparation: float = 0.0,
    jitter: float = 0.0,
    losses: float = 0.0,
    retries: int = 2,
    seed: int = 0,
) -> Simulation:
    """Replay a schedule on workers of equal speed.

    Args:
        jobs: what to do; ``work`` is what the scheduler believes.
        workers: their number; a lost one is replaced at once.
        preparation: images' worth of time that a worker needs for a shape that is new to it.
        jitter: standard deviation of true over believed work, log-normal with mean 1.
        losses: probability that a worker is lost at the end of a job, before it is recorded.
        retries: as of `Schedule`.
        seed: of jitter and losses.
    """
    random = np.random.default_rng(seed)
    spread = np.sqrt(np.log1p(jitter**2))
    factors = (
        random.lognormal(-(spread**2) / 2, spread, len(jobs)) if jitter else np.ones(len(jobs))
    ).tolist()
    true_work = {job.id: job.work * factor for job, factor in zip(jobs, factors, strict=True)}
    schedule = Schedule(jobs, retries, workers=workers)
    names = itertools.count()
    has: dict[int, Hashable] = {}
    busy_until: list[tuple[float, int]] = []
    idle: deque[int] = deque(next(names) for _ in range(workers))
    now, prepared = 0.0, 0
    while not schedule.is_over:
        for _ in range(len(idle)):
            worker = idle.popleft()
            job = schedule.next_for(worker)
            if job is None:
                idle.append(worker)
                continue
            is_new = worker not in has or has[worker] != job.shape
            has[worker] = job.shape
            prepared += is_new
            end = now + true_work[job.id] + preparation * is_new
            heapq.heappush(busy_until, (end, worker))
        now, worker = heapq.heappop(busy_until)
        if losses and random.random() < losses:
            schedule.lost(worker, "simulated")
            worker = next(names)
        else:
            schedule.finished(worker)
        idle.append(worker)
    counts = schedule.counts
    longest = max(true_work.values(), default=0.0)
    return Simulation(
        makespan=now,
        bound=max(sum(true_work.values()) / workers, longest),
        shapes_prepared=prepared,
        finished=counts.finished,
        given_up=counts.given_up,
    )


def epoch_sweep_jobs(count: int = 20_000) -> list[Job]:
    """The time mix of an IPC × expert epoch sweep (the paper's Fig 3b).

    IPC 1 to 50, ten subsets of each, one shape a subset, and as many expert epochs as make
    ``count`` trials; students of equal length, so that work is proportional to IPC.
    """
    subsets = list(itertools.product(range(1, 51), range(10)))
    return [
        Job(id=f"{number}", shape=subsets[number % len(subsets)], work=subsets[number % 500][0])
        for number in range(count)
    ]
