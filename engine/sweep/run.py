"""Run a sweep: the trials of a plan that the ledger does not have yet, here or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.records import sole_writer
from engine.sweep.grid import Grid, load_grids
from engine.sweep.head import sweep_head, where_sources_lie
from engine.sweep.ledger import Ledger
from engine.sweep.local import run_local
from engine.sweep.plan import amount_of_work, plan_trials, recorded_plan
from engine.sweep.ray_cluster import run_on_ray
from engine.sweep.recording import Event, Outcome
from engine.sweep.status import StatusFile
from engine.sweep.summary import summarise
from engine.sweep.trial import Trial
from engine.sweep.trial_runner import RunnerFactory
from engine.training.launch import Progress, no_progress
from engine.training.precision import Arithmetic, choose_arithmetic

EXECUTORS = ("local", "ray")


def sweep_students(
    data: str | Path,
    labels: str | Path | None,
    out: str | Path,
    *,
    config: str | Path | None = None,
    ipc: Sequence[int] | None = None,
    expert_epochs: Sequence[int | str] | str | None = None,
    seeds: Sequence[int] | None = None,
    executor: str = "local",
    workers: int = 1,
    threads: int | None = None,
    retries: int = 2,
    ray_address: str | None = None,
    gpus_per_worker: float = 0.0,
    overrides: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Train the students of a grid; finished trials are skipped, failed ones run again.

    Args:
        data: the dataset; images and labels are read from it by sample id.
        labels: a label store of that dataset, or None for hard labels alone.
        out: folder of the sweep, created where it is missing, else extended.
        config: the plan, as a YAML file or a preset's name: a grid, or several under ``grids:``.
        ipc, expert_epochs, seeds: override every grid's.
        executor: ``local``, this machine; ``ray``, the actors of a Ray cluster.
        workers: processes of this machine that train at once; one is this process itself.
        threads: of each worker; without it, an equal share of the cores. Actors have 1.
        retries: how many more workers may die of a trial before it is recorded as failed.
        ray_address: of the cluster; without it, Ray is started on this machine.
        gpus_per_worker: GPUs of a Ray actor, a fraction to share one.
        overrides: further dotted keys of the grids, such as ``student.epochs``.
        dry_run: return the plan and touch nothing.
        on_event: told what happens, as dicts (`engine.sweep.recording`).

    Raises:
        ConfigurationError, UsageError, MismatchError; RankError where no worker starts;
        labelstore.LabelStoreError where the store belongs to another dataset.
    """
    if executor not in EXECUTORS:
        raise UsageError(f"executor {executor!r}: expected {' or '.join(EXECUTORS)}")
    dataset = beton_builder.open_dataset(data)
    given = {"ipc": ipc, "expert_epochs": expert_epochs, "seeds": seeds}
    values = {
        key: value if isinstance(value, str) else list(value)
        for key, value in given.items()
        if value is not None
    }
    grids = load_grids(config, {**values, **(overrides or {})})
    store = _open_labels(labels, dataset)
    trials = plan_trials(grids, dataset, store)
    asked = recorded_plan(grids, trials)
    ledger = Ledger(out)
    head = sweep_head(asked, grids, dataset, store) | {"sources": where_sources_lie(data, labels)}
    ledger.check(head["dataset"])
    to_run = [trial for trial in trials if not ledger.is_done(trial.id)]
    if dry_run:
        return _plan(asked, dataset, out, trials, to_run)
    started = time.perf_counter()
    outcome = Outcome()
    with sole_writer(ledger.path):
        arithmetic = _choose_arithmetic(grids, ledger)
        ledger.begin({**head, "precision": arithmetic.precision})
        to_run = [trial for trial in trials if not ledger.is_done(trial.id)]
        listeners: list[Callable[[Event], None]] = [StatusFile(ledger.path)]
        listeners.append(_Images(to_run, progress or no_progress))
        if on_event is not None:
            listeners.append(on_event)
        tell = _all_of(listeners)
        make_runner = RunnerFactory(**head["sources"], precision=arithmetic.precision)
        if to_run and executor == "ray":
            outcome = run_on_ray(
                to_run,
                make_runner,
                ledger.write,
                address=ray_address,
                threads=threads or 1,
                gpus=gpus_per_worker,
                retries=retries,
                on_event=tell,
            )
        elif to_run:
            outcome = run_local(
                to_run,
                make_runner,
                ledger.write,
                workers=workers,
                threads=threads,
                retries=retries,
                on_event=tell,
            )
    return summarise(ledger, trials, to_run, outcome, time.perf_counter() - started)


class _Images:
    """Events to progress: images trained on, of all that the trials will be trained on."""

    def __init__(self, trials: Sequence[Trial], progress: Progress) -> None:
        self._images = {trial.id: trial.training_images for trial in trials}
        self._total = sum(self._images.values())
        self._done = 0
        self._under_way: dict[int, int] = {}
        self._progress = progress

    def __call__(self, event: Event) -> None:
        if event["event"] == "trial_progress":
            self._under_way[event["worker"]] = event["seen"]
        elif event["event"] == "trial_finished":
            self._done += self._images[event["id"]]
            self._under_way.pop(event["worker"], None)
        elif event["event"] in ("trial_started", "worker_died"):
            self._under_way.pop(event["worker"], None)
        else:
            return
        seen = min(self._total, self._done + sum(self._under_way.values()))
        self._progress("train students", seen, self._total)


def _all_of(listeners: Sequence[Callable[[Event], None]]) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _open_labels(
    labels: str | Path | None, dataset: beton_builder.Dataset
) -> labelstore.LabelStore | None:
    if labels is None:
        return None
    return labelstore.open_store(labels, dataset_id=dataset.id, classes=dataset.classes)


def _choose_arithmetic(grids: Sequence[Grid], ledger: Ledger) -> Arithmetic:
    """The precision the sweep began in, so that a resume can't mix two under ``auto``."""
    precisions = sorted({grid.student.precision for grid in grids})
    if len(precisions) > 1:
        raise UsageError(
            f"the grids ask for precisions {' and '.join(precisions)}, and a sweep has one: "
            "add --set student.precision=auto"
        )
    asked = precisions[0]
    if asked == "auto" and ledger.exists():
        asked = ledger.head().get("precision", asked)
    return choose_arithmetic(asked)


def _plan(
    asked: dict[str, Any],
    dataset: beton_builder.Dataset,
    out: str | Path,
    trials: list[Trial],
    to_run: list[Trial],
) -> dict[str, Any]:
    return {
        "plan": "sweep-students",
        "out": str(out),
        "dataset": dataset.name,
        "grid": asked,
        "trials": len(trials),
        "trials_done": len(trials) - len(to_run),
        "trials_to_run": len(to_run),
        **amount_of_work(to_run),
    }
