"""A finished sweep of 10,000 trials, started again: how long until it says that nothing is to do.

The dataset is some images of every class of CIFAR-100, the labels are made up; the plan is a grid
of IPC × expert epochs × seeds, and every record has been written through the ledger, as long as a
real one. Measured is the whole command in a fresh process, imports included; beside it
``function_seconds``, ``engine.sweep_students`` alone, also in a fresh process, and
``import_seconds``, what ``engine sweep-students`` imports before that call.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import engine
from benchmarks.errors import BenchmarkError
from benchmarks.noop_trials import OUTCOME
from benchmarks.suite import Figure, Progress, ceiling, medians
from benchmarks.sweep_inputs import build_cifar100, made_up_labels
from engine.sweep import Ledger, Trial, load_grids, plan_trials
from engine.sweep.executors.trial_runner import pick_accuracies

MOST_SECONDS = 3.0
ROUNDS = 3
WRITERS = 4
TRAIN_PER_CLASS, TEST_PER_CLASS = 20, 5


class Size(NamedTuple):
    """The grid: its IPCs, and how many expert epochs and seeds."""

    ipc: tuple[int, ...]
    num_epochs: int
    num_seeds: int

    @property
    def trials(self) -> int:
        return len(self.ipc) * self.num_epochs * self.num_seeds


FULL = Size((1, 2, 5, 10), 50, 50)
QUICK = Size((1, 2), 2, 3)


class FinishedSweep(NamedTuple):
    """Arguments of the sweep and of the function that runs it."""

    data: Path
    labels: Path
    out: Path
    size: Size

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "ipc": list(self.size.ipc),
            "seeds": list(range(self.size.num_seeds)),
            "expert_epochs": "all",
            "overrides": {"labels": ["soft"], "student.precision": "fp32"},
        }

    @property
    def command(self) -> list[str]:
        """As typed in a shell."""
        given = self.arguments
        listed = {name: ",".join(map(str, given[name])) for name in ("ipc", "seeds")}
        return [
            *(sys.executable, "-m", "cli.main", "sweep-students", "--json"),
            *("--data", str(self.data), "--labels", str(self.labels), "--out", str(self.out)),
            *("--ipc", listed["ipc"], "--seeds", listed["seeds"], "--expert-epochs", "all"),
            *("--set", "labels=[soft]", "--set", "student.precision=fp32"),
        ]


def figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """One row."""
    sweep = finish_sweep(workspace, QUICK if quick else FULL, progress)
    # What an earlier end of it would have left behind: its head, and whatever is derived.
    engine.sweep_students(sweep.data, sweep.labels, sweep.out, **sweep.arguments)
    apart: list[dict[str, float]] = []

    def function() -> float:
        apart.append(_time_function(sweep))
        return apart[-1]["function_seconds"]

    seconds = medians(
        {"command": lambda: _time_command(sweep), "function": function},
        rounds=1 if quick else ROUNDS,
        stage="restart",
        progress=progress,
    )
    row = ceiling("restart_10000_trials", seconds["command"], "s", limit=MOST_SECONDS)
    imports = statistics.median(each["import_seconds"] for each in apart[1:])
    beside = {"function_seconds": seconds["function"], "import_seconds": imports}
    return [row | beside | {"trials": sweep.size.trials}]


def finish_sweep(workspace: Path, size: Size, progress: Progress) -> FinishedSweep:
    """Plan a sweep and record every trial of it as done."""
    dataset = build_cifar100(
        workspace, train_per_class=TRAIN_PER_CLASS, test_per_class=TEST_PER_CLASS
    )
    store = made_up_labels(workspace / "labels.zarr", dataset, range(size.num_epochs))
    sweep = FinishedSweep(dataset.path, workspace / "labels.zarr", workspace / "sweep", size)
    given = sweep.arguments
    axes = {name: given[name] for name in ("ipc", "seeds", "expert_epochs")}
    trials = plan_trials(load_grids(None, axes | given["overrides"]), dataset, store)
    ledger = Ledger(sweep.out)
    about = {"id": dataset.id, "name": dataset.name}
    ledger.begin({"kind": "sweep", "dataset": about, "experts": []})
    with ThreadPoolExecutor(WRITERS) as writers:
        written = writers.map(lambda trial: ledger.write(finished_record(trial)), trials)
        for number, _ in enumerate(written, 1):
            progress("write finished trials", number, len(trials))
    return sweep


def finished_record(trial: Trial) -> dict[str, Any]:
    """A record such as the trial would leave; what it measured is made up."""
    evaluations = [
        {"epoch": epoch, "test": 0.1 + trial.seeds.init_seed / 997, "validation": epoch / 9973}
        for epoch in trial.student.evaluation_epochs()
    ]
    result = pick_accuracies(evaluations) | {"train_loss": 1.25, "evaluations": evaluations}
    return trial.identity() | OUTCOME | {"result": result}


def _time_command(sweep: FinishedSweep) -> float:
    """Seconds of the command in a shell."""
    begin = time.perf_counter()
    done = _run(sweep.command)
    seconds = time.perf_counter() - begin
    _check(json.loads(done), sweep)
    return seconds


_FUNCTION = """
import json, sys, time
begin = time.perf_counter()
import engine
run = engine.sweep_students
imported = time.perf_counter()
data, labels, out, arguments = json.loads(sys.argv[1])
answer = run(data, labels, out, **arguments)
ended = time.perf_counter()
print(json.dumps({
    "import_seconds": imported - begin,
    "function_seconds": ended - imported,
    "status": answer["status"],
    "trials": answer["trials"],
}))
"""


def _time_function(sweep: FinishedSweep) -> dict[str, float]:
    """Seconds of the imports and of the function, in a fresh process."""
    given = json.dumps([str(sweep.data), str(sweep.labels), str(sweep.out), sweep.arguments])
    answer: dict[str, Any] = json.loads(_run([sys.executable, "-c", _FUNCTION, given]))
    _check(answer, sweep)
    return answer


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        raise BenchmarkError(
            f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{done.stderr.strip()}"
        )
    return done.stdout


def _check(answer: dict[str, Any], sweep: FinishedSweep) -> None:
    if (answer["status"], answer["trials"]) != ("finished already", sweep.size.trials):
        raise BenchmarkError(
            f"expected {sweep.size.trials} trials finished already, found {answer['trials']} "
            f"{answer['status']} in {sweep.out}. Next: `pytest tests/engine/sweep`"
        )
