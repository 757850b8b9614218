"""`engine bench sweep`: what a sweep costs beside training its students.

- ``trial_overhead_local``, ``trial_overhead_ray``: the executors, with trials that do nothing.
- ``restart_10000_trials``: a finished sweep started again, until it says that nothing is to do.
- ``makespan_1000_workers``: the scheduler, replayed, against what no schedule can beat.
- ``sweep_60_trials``: a real sweep against one process per trial. An hour on 2 cores.

Rows whose value may not exceed a limit have ``peer: null``, the limit, and a ratio above 1 where
they stay below it; further keys of a row are told in its module. A row alone, in a process of its
own (``--trials``: fewer students of ``sweep_60_trials``, scaled):

    python -m benchmarks.sweep restart_10000_trials [--quick] [--trials 12]
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from benchmarks import sweep_makespan, sweep_overhead, sweep_real, sweep_restart
from benchmarks.suite import Figure, Progress, find_data
from benchmarks.sweep_inputs import SOURCE


class Part(Protocol):
    """Measures a row in a folder that is empty before and removed afterwards."""

    def __call__(self, workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]: ...


ROWS: Mapping[str, Part] = {
    "trial_overhead_local": sweep_overhead.local_figures,
    "trial_overhead_ray": sweep_overhead.ray_figures,
    "restart_10000_trials": sweep_restart.figures,
    "makespan_1000_workers": sweep_makespan.figures,
    "sweep_60_trials": sweep_real.figures,
}


def figures(*, progress: Progress, quick: bool) -> list[Figure]:
    """Every row; ``quick`` takes few trials and one round. Raises DataMissing, PeerMissing."""
    find_data(SOURCE)
    sweep_overhead.check_ray_installed()
    return [row for part in ROWS.values() for row in measure(part, progress=progress, quick=quick)]


def measure(part: Part, *, progress: Progress, quick: bool) -> list[Figure]:
    """One part, in a folder of its own (under $TMPDIR), removed however the part ends."""
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
        return part(Path(folder), progress=progress, quick=quick)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description="Measure rows.")
    parser.add_argument("rows", nargs="+", choices=list(ROWS), metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="tiny inputs; figures mean nothing")
    parser.add_argument("--trials", type=int, default=sweep_real.TRIALS, metavar="N")
    given = parser.parse_args()
    parts = dict(ROWS) | {
        "sweep_60_trials": functools.partial(sweep_real.figures, trials=given.trials)
    }
    for name in given.rows:
        for row in measure(parts[name], progress=_to_stderr, quick=given.quick):
            print(json.dumps(row), flush=True)


def _to_stderr(stage: str, done: int, total: int) -> None:
    if done == total:
        print(f"{stage}: done", file=sys.stderr)


if __name__ == "__main__":
    _main()
