"""How close the scheduler packs 20,000 trials onto 1,000 workers to what no schedule can beat.

Replayed without running anything (`engine.sweep.timing.simulation`): IPC 1 to 50, lengths as in the
paper's Fig 3b. The value is the makespan over max(total / workers, longest trial). Beside it
``with_jitter``, the same when trials take 10 % more or less than was believed (log-normal).
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.suite import Figure, Progress, ceiling
from engine.sweep.timing.simulation import epoch_sweep_jobs, simulate

MOST = 1.03
JITTER = 0.1
WORKERS, TRIALS = 1_000, 20_000
QUICK_WORKERS, QUICK_TRIALS = 100, 4_000


def figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """One row."""
    workers, count = (QUICK_WORKERS, QUICK_TRIALS) if quick else (WORKERS, TRIALS)
    jobs = epoch_sweep_jobs(count)
    progress("replay the scheduler", 0, 2)
    replayed = simulate(jobs, workers)
    progress("replay the scheduler", 1, 2)
    jittered = simulate(jobs, workers, jitter=JITTER)
    progress("replay the scheduler", 2, 2)
    row = ceiling("makespan_1000_workers", replayed.ratio, "of the bound", limit=MOST)
    about = {"trials": count, "workers": workers, "shapes_prepared": replayed.shapes_prepared}
    return [row | {"with_jitter": jittered.ratio, **about}]
