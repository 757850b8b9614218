"""Run a sweep on this machine: the trials of a plan that the ledger does not have yet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import beton_builder
import labelstore
from engine.analysis import MEASURES, parse_trial, split_into_panels
from engine.configuration import load_configuration
from engine.errors import UsageError
from engine.experiments import select_random
from engine.models import check_model_name
from engine.records import sole_writer
from engine.sweep.ledger import Ledger
from engine.sweep.plan import Grid, Trial, plan_trials
from engine.sweep.trial_runner import TrialRunner, sample_pool
from engine.training.launch import Progress, no_progress
from engine.training.precision import Arithmetic, choose_arithmetic, keep_freed_memory


def sweep_students(
    data: str | Path,
    labels: str | Path | None,
    out: str | Path,
    *,
    config: str | Path | None = None,
    ipc: Sequence[int] | None = None,
    expert_epochs: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    executor: str = "local",
    overrides: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train the students of a grid; finished trials are skipped, failed ones run again.

    Args:
        data: the dataset; images and labels are read from it by sample id.
        labels: a label store of that dataset, or None for hard labels alone.
        out: folder of the sweep, created where it is missing, else extended.
        config: grid, as a YAML file or a preset's name.
        ipc, expert_epochs, seeds: override the grid's.
        executor: ``local``, this process.
        overrides: further dotted keys of the grid, such as ``student.epochs``.
        dry_run: return the plan and touch nothing.

    Raises:
        ConfigurationError, UsageError, MismatchError; labelstore.LabelStoreError where the store
        belongs to another dataset.
    """
    if executor != "local":
        raise UsageError(f"executor {executor!r}: expected local")
    dataset = beton_builder.open_dataset(data)
    given = {"ipc": ipc, "expert_epochs": expert_epochs, "seeds": seeds}
    values = {key: list(value) for key, value in given.items() if value is not None}
    grid = load_configuration(Grid, config, {**values, **(overrides or {})})
    view, store_id = _open_labels(labels, dataset, grid)
    grid = _resolve_student(grid, dataset, view)
    trials = plan_trials(grid, dataset, view, store_id)
    select_random(*sample_pool(dataset), max(grid.ipc), 0, dataset.classes)
    ledger = Ledger(out)
    head = _head(grid, dataset, view)
    ledger.check(head["dataset"])
    to_run = [trial for trial in trials if not ledger.is_done(trial.id)]
    if dry_run:
        return _plan(grid, dataset, out, trials, to_run)
    started = time.perf_counter()
    runner = None
    with sole_writer(ledger.path):
        arithmetic = _choose_arithmetic(grid, ledger)
        ledger.begin({**head, "precision": arithmetic.precision})
        to_run = [trial for trial in trials if not ledger.is_done(trial.id)]
        if to_run:
            keep_freed_memory()
            runner = TrialRunner(dataset, view, grid, ledger, arithmetic)
            runner.run_all(to_run, progress or no_progress)
    records = [ledger.trial_path(t.id) for t in trials]
    return _summary(ledger, trials, to_run, runner, time.perf_counter() - started, len(records))


def _open_labels(
    labels: str | Path | None, dataset: beton_builder.Dataset, grid: Grid
) -> tuple[labelstore.LabelView | None, str]:
    if labels is None:
        return None, ""
    store = labelstore.open_store(labels, dataset_id=dataset.id, classes=dataset.classes)
    view = store.view(grid.expert, grid.view, grid.codec)
    if view.crops:
        raise UsageError(
            f"{view.folder} has labels of {view.crops} crops of every image, and students train on "
            "whole images: choose another view, such as --set view=plain"
        )
    return view, store.id


def _resolve_student(
    grid: Grid, dataset: beton_builder.Dataset, view: labelstore.LabelView | None
) -> Grid:
    check_model_name(grid.student.model)
    resolution = grid.student.resolution
    if resolution is None and view is not None:
        resolution = view.identity.get("transform", {}).get("resolution")
    if resolution is None:
        resolution = dataset.height if dataset.height == dataset.width else None
    if resolution is None:
        raise UsageError(
            f"the images of {dataset.path} are not all of one square size, so students need a "
            "resolution: add --set student.resolution=64"
        )
    student = grid.student.model_copy(update={"resolution": resolution})
    return grid.model_copy(update={"student": student})


def _choose_arithmetic(grid: Grid, ledger: Ledger) -> Arithmetic:
    """The precision the sweep began in, so that a resume can't mix two under ``auto``."""
    asked = grid.student.precision
    if asked == "auto" and ledger.exists():
        asked = ledger.head().get("precision", asked)
    return choose_arithmetic(asked)


def _plan(
    grid: Grid,
    dataset: beton_builder.Dataset,
    out: str | Path,
    trials: list[Trial],
    to_run: list[Trial],
) -> dict[str, Any]:
    images = sum(trial.cell["ipc"] * dataset.num_classes * trial.student.epochs for trial in to_run)
    return {
        "plan": "sweep-students",
        "out": str(out),
        "dataset": dataset.name,
        "grid": grid.model_dump(mode="json"),
        "trials": len(trials),
        "trials_done": len(trials) - len(to_run),
        "trials_to_run": len(to_run),
        "training_images": images,
    }


def _head(
    grid: Grid, dataset: beton_builder.Dataset, view: labelstore.LabelView | None
) -> dict[str, Any]:
    experts = []
    if view is not None:
        experts = [
            {
                "name": view.expert,
                "run_id": view.identity.get("run_id", view.id),  # imported labels have no run
                "epochs": {
                    str(epoch): {
                        "test": view.about(epoch).get("test_accuracy"),
                        "train": view.about(epoch).get("train_accuracy"),
                        "label_entropy": float(view.entropy(epoch).mean(dtype=np.float64)),
                    }
                    for epoch in view.epochs
                },
            }
        ]
    return {
        "kind": "sweep",
        "plan": grid.model_dump(mode="json"),
        "dataset": {
            "id": dataset.id,
            "name": dataset.name,
            "num_classes": dataset.num_classes,
            "classes": list(dataset.classes),
        },
        "experts": experts,
    }


def _summary(
    ledger: Ledger,
    trials: list[Trial],
    ran: list[Trial],
    runner: TrialRunner | None,
    seconds: float,
    total: int,
) -> dict[str, Any]:
    wanted = {trial.id for trial in trials}
    records = [record for record in ledger.records() if record["id"] in wanted]
    failed = [record for record in records if record["status"] == "failed"]
    return {
        "status": "swept" if ran else "finished already",
        "sweep": str(ledger.path),
        "trials": total,
        "ran": len(ran),
        "failed": len(failed),
        "errors": sorted({record["error"].strip().splitlines()[-1] for record in failed}),
        "seconds": seconds,
        "seconds_by_part": runner.seconds if runner else {},
        "table": _table(records),
    }


def _table(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for panel in split_into_panels([parse_trial(record) for record in records]):
        for cell in panel.cells.values():
            found = {measure: cell.summary(measure) for measure in MEASURES}
            rows.append(
                {
                    "ipc": cell.ipc,
                    "labels": "hard" if cell.expert_epoch is None else "soft",
                    "expert_epoch": cell.expert_epoch,
                    "n": len(cell.trials),
                    **{m: None if each is None else each.mean for m, each in found.items()},
                }
            )
    return rows
