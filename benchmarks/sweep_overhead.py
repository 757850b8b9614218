"""What the executors themselves cost a trial: trials that do nothing, every result durable.

``trial_overhead_local``: two one-thread worker processes; ``trial_overhead_ray``: two actors on
this machine. Milliseconds a trial, from the call of the executor until it returns: starting the
workers or actors counts, and so does writing each record through the ledger. Ray's own start
(``ray.init``) happens once before and is told apart, as ``ray_init_seconds``.

Beside each row, measured in turns with it: ``durable_file_ms``, a record made durable by itself,
one after the other; with Ray also ``bare_call_ms``, an actor that gives the record back, all calls
submitted ahead, which is the least that Ray asks. Several records become durable at once, so ours
may fall below the sum. ``workers_ready_seconds``: from the call until the last of them was ready.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError, PeerMissing
from benchmarks.noop_trials import NoOpRunner, noop_trials
from benchmarks.suite import Figure, Progress, ceiling, medians
from engine.sweep.executors.local import run_local
from engine.sweep.executors.ray_cluster import run_on_ray
from engine.sweep.executors.recording import Event, Outcome
from engine.sweep.ledger import Ledger

TRIALS, FILES, CALLS = 10_000, 2_000, 5_000
QUICK_TRIALS, QUICK_FILES, QUICK_CALLS = 60, 20, 50
ROUNDS = 3
WORKERS = 2
MOST_MS_LOCAL, MOST_MS_RAY = 1.5, 3.0

Executor = Callable[[list[Any], Ledger, Callable[[Event], None]], Outcome]


def local_figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """The row of the local executor."""
    ours = NoOpSweep(workspace / "local", _locally, QUICK_TRIALS if quick else TRIALS)
    files = QUICK_FILES if quick else FILES
    cost = medians(
        {"ours": ours.round, "file": lambda: durable_file_ms(workspace / "files", files)},
        rounds=1 if quick else ROUNDS,
        stage="no-op trials",
        progress=progress,
    )
    row = ceiling("trial_overhead_local", cost["ours"], "ms", limit=MOST_MS_LOCAL)
    return [row | {"durable_file_ms": cost["file"], **ours.about()}]


def ray_figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """The row of the executor on Ray. Raises PeerMissing where Ray is not installed."""
    check_ray_installed()
    ours = NoOpSweep(workspace / "ray", _on_ray, QUICK_TRIALS if quick else TRIALS)
    files, calls = (QUICK_FILES, QUICK_CALLS) if quick else (FILES, CALLS)
    progress("start Ray", 0, 1)
    with _local_ray() as init_seconds, _echoing_actors() as actors:
        progress("start Ray", 1, 1)
        cost = medians(
            {
                "ours": ours.round,
                "call": lambda: _bare_call_ms(actors, calls),
                "file": lambda: durable_file_ms(workspace / "files", files),
            },
            rounds=1 if quick else ROUNDS,
            stage="no-op trials on Ray",
            progress=progress,
        )
    row = ceiling("trial_overhead_ray", cost["ours"], "ms", limit=MOST_MS_RAY)
    beside = {"bare_call_ms": cost["call"], "durable_file_ms": cost["file"]}
    return [row | beside | {"ray_init_seconds": init_seconds} | ours.about()]


def check_ray_installed() -> None:
    """Raise PeerMissing unless Ray can be imported."""
    if importlib.util.find_spec("ray") is None:
        raise PeerMissing(
            "this suite measures the executor on Ray, which is not installed. Next: "
            "`scripts/setup`, or in the checkout `pip install -e '.[ray]'`"
        )


class NoOpSweep:
    """A sweep of trials that do nothing, into a fresh folder every round."""

    def __init__(self, folder: Path, execute: Executor, num_trials: int) -> None:
        self.folder, self._execute = folder, execute
        self._trials = noop_trials(num_trials)
        self._ready_seconds: list[float] = []

    def round(self) -> float:
        """Run them all; milliseconds a trial.

        Raises BenchmarkError where a trial was not recorded exactly once.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        os.sync()
        ready: list[float] = []
        begin = time.perf_counter()

        def on_event(event: Event) -> None:
            if event["event"] == "worker_ready":
                ready.append(time.perf_counter() - begin)

        outcome = self._execute(self._trials, Ledger(self.folder), on_event)
        seconds = time.perf_counter() - begin
        self._check(outcome)
        self._ready_seconds.append(max(ready))
        return 1000 * seconds / len(self._trials)

    def about(self) -> dict[str, Any]:
        """How many trials, and how long workers took to be ready."""
        return {
            "trials": len(self._trials),
            "workers_ready_seconds": statistics.median(self._ready_seconds),
        }

    def _check(self, outcome: Outcome) -> None:
        recorded = sorted(file.stem for file in self.folder.glob("trials/*/*.json"))
        wanted = sorted(trial.id for trial in self._trials)
        if recorded != wanted or (outcome.done, outcome.failed) != (len(wanted), 0):
            raise BenchmarkError(
                f"expected {len(wanted)} trials recorded once each, found {len(recorded)} records "
                f"of {outcome.done} done and {outcome.failed} failed trials in {self.folder}. "
                "Next: `pytest tests/engine/sweep`"
            )


def durable_file_ms(folder: Path, count: int) -> float:
    """Milliseconds a record, written through the ledger by one thread, one after the other."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    ledger, runner = Ledger(folder), NoOpRunner()
    records = [runner.run(trial, _no_progress) for trial in noop_trials(count)]
    os.sync()
    begin = time.perf_counter()
    for record in records:
        ledger.write(record)
    return 1000 * (time.perf_counter() - begin) / count


def _locally(trials: list[Any], ledger: Ledger, on_event: Callable[[Event], None]) -> Outcome:
    return run_local(
        trials, NoOpRunner, ledger.write, workers=WORKERS, threads=1, on_event=on_event
    )


def _on_ray(trials: list[Any], ledger: Ledger, on_event: Callable[[Event], None]) -> Outcome:
    return run_on_ray(trials, NoOpRunner, ledger.write, threads=1, on_event=on_event)


@contextlib.contextmanager
def _local_ray() -> Iterator[float]:
    """Ray with two CPUs on this machine; gives the seconds that its start took."""
    import ray

    on_sigterm = signal.getsignal(signal.SIGTERM)
    begin = time.perf_counter()
    ray.init(
        address="local",
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    seconds = time.perf_counter() - begin
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts its own in our place
    try:
        yield seconds
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _echoing_actors() -> Iterator[list[Any]]:
    """Two actors that answer with a no-op trial's record; they take no CPU from Ray's count."""
    import ray

    actor_class = ray.remote(num_cpus=0)(_Echo)
    actors: list[Any] = [actor_class.remote() for _ in range(WORKERS)]
    try:
        yield actors
    finally:
        for actor in actors:
            ray.kill(actor)


class _Echo:
    def run(self, trial: Any) -> dict[str, Any]:
        return NoOpRunner().run(trial, _no_progress)


def _bare_call_ms(actors: list[Any], calls: int) -> float:
    import ray

    trials = noop_trials(calls)
    begin = time.perf_counter()
    answers = [actors[n % len(actors)].run.remote(trial) for n, trial in enumerate(trials)]
    for answer in answers:
        ray.get(answer)
    return 1000 * (time.perf_counter() - begin) / calls


def _no_progress(_seen: int, _total: int) -> None:
    """Nobody asks how far a trial is that does nothing."""
