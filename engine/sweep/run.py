"""Run a sweep on this machine: the trials of a plan that the ledger does not have yet."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import beton_builder
import labelstore
from engine.analysis import MEASURES, parse_trial, split_into_panels
from engine.configuration import load_configuration
from engine.errors import EngineError, UsageError
from engine.experiments import hard_targets, select_random
from engine.loading import Resident, load_resident
from engine.models import check_model_name
from engine.sweep.ledger import Ledger
from engine.sweep.plan import Grid, Trial, plan_trials
from engine.training import StudentTrainer
from engine.training.evaluate import EVALUATION_BATCH, count_correct
from engine.training.launch import Progress, no_progress
from engine.training.precision import choose_arithmetic, keep_freed_memory
from engine.training.step import Network
from engine.training.student import Subset


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
    select_random(*_pool(dataset), max(grid.ipc), 0, dataset.classes)
    ledger = Ledger(out)
    if ledger.exists():
        ledger.head()
    to_run = [trial for trial in trials if not ledger.is_done(trial.id)]
    if dry_run:
        return _plan(grid, dataset, out, trials, to_run)
    ledger.begin(_head(grid, dataset, view))
    started = time.perf_counter()
    runner = None
    with ledger.sole_driver():
        if to_run:
            keep_freed_memory()
            runner = _TrialRunner(dataset, view, grid, ledger)
            runner.run_all(to_run, progress or no_progress)
    records = [ledger.trial_path(t.id) for t in trials]
    return _summary(ledger, trials, to_run, runner, time.perf_counter() - started, len(records))


def _open_labels(
    labels: str | Path | None, dataset: beton_builder.Dataset, grid: Grid
) -> tuple[labelstore.LabelView | None, str]:
    if labels is None:
        return None, ""
    store = labelstore.open_store(labels, dataset_id=dataset.id, classes=dataset.classes)
    return store.view(grid.expert, grid.view), store.id


def _pool(dataset: beton_builder.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the train split, and the sample ids students may see: all but validation's."""
    labels = np.asarray(dataset.split("train").labels, dtype=np.int64)
    return labels, np.setdiff1d(np.arange(len(labels)), dataset.validation_indices)


def _resolve_student(
    grid: Grid, dataset: beton_builder.Dataset, view: labelstore.LabelView | None
) -> Grid:
    check_model_name(grid.student.model)
    resolution = grid.student.resolution
    if resolution is None and view is not None:
        resolution = view.identity["transform"]["resolution"]
    if resolution is None:
        resolution = dataset.height if dataset.height == dataset.width else None
    if resolution is None:
        raise UsageError(
            f"the images of {dataset.path} are not all of one square size, so students need a "
            "resolution: add --set student.resolution=64"
        )
    student = grid.student.model_copy(update={"resolution": resolution})
    return grid.model_copy(update={"student": student})


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
                "run_id": view.identity["run_id"],
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


class _TrialRunner:
    """What all trials of one process share: images, evaluation and the compiled network."""

    def __init__(
        self,
        dataset: beton_builder.Dataset,
        view: labelstore.LabelView | None,
        grid: Grid,
        ledger: Ledger,
    ) -> None:
        self.dataset = dataset
        self.view = view
        self.ledger = ledger
        self.labels, self.candidates = _pool(dataset)
        self.arithmetic = choose_arithmetic(grid.student.precision)
        self.resolution = grid.student.resolution or 0
        self.trainer = StudentTrainer(
            grid.student.model,
            num_classes=dataset.num_classes,
            channels=dataset.channels,
            resolution=self.resolution,
            mean=dataset.mean,
            std=dataset.std,
            arithmetic=self.arithmetic,
        )
        self.evaluations = self._evaluation_images()
        self.seconds = {"setup": 0.0, "compile": 0.0, "steps": 0.0, "evaluation": 0.0}
        self._subset: tuple[object, Subset] | None = None

    def _evaluation_images(self) -> dict[str, Resident | None]:
        images: dict[str, Resident | None] = {"test": None, "validation": None}
        device = self.arithmetic.device
        if self.dataset.has_split("test"):
            images["test"] = load_resident(
                self.dataset, "test", resolution=self.resolution, device=device
            )
        if len(self.dataset.validation_indices):
            images["validation"] = load_resident(
                self.dataset,
                "train",
                indices=self.dataset.validation_indices,
                resolution=self.resolution,
                device=device,
            )
        return images

    def run_all(self, trials: list[Trial], progress: Progress) -> None:
        work = [t.cell["ipc"] * self.dataset.num_classes * t.student.epochs for t in trials]
        total, done = sum(work), 0

        def at(seen: int, _total: int) -> None:
            progress("train students", done + seen, total)

        for number, trial in enumerate(trials):
            self.ledger.write(self.run(trial, at))
            done += work[number]
            progress("train students", done, total)

    def run(self, trial: Trial, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Train one student; returns its record, of a failure too."""
        record = trial.identity()
        environment = self.arithmetic.describe()
        try:
            started = time.perf_counter()
            subset = self._subset_of(trial)
            setup = time.perf_counter() - started
            outcome = self.trainer.train(
                subset, trial.student, trial.seeds, self._evaluate, progress=progress
            )
        except (EngineError, labelstore.LabelStoreError, RuntimeError, MemoryError):
            return record | {
                "status": "failed",
                "error": traceback.format_exc(),
                "environment": environment,
            }
        seconds = {"setup": setup, **outcome["seconds"]}
        for part, spent in seconds.items():
            self.seconds[part] += spent
        return record | {
            "status": "done",
            "result": {
                **pick_accuracies(outcome["evaluations"]),
                "train_loss": outcome["train_loss"],
                "evaluations": outcome["evaluations"],
            },
            "seconds": seconds,
            "images_per_second": outcome["images_per_second"],
            "environment": environment,
        }

    def _subset_of(self, trial: Trial) -> Subset:
        """Images of the trial's subset (kept for the next trial on the same one), and targets."""
        key = (trial.cell["ipc"], trial.seeds.subset_seed)
        if self._subset is None or self._subset[0] != key:
            ids = select_random(
                self.labels,
                self.candidates,
                trial.cell["ipc"],
                trial.seeds.subset_seed,
                self.dataset.classes,
            )
            resident = load_resident(
                self.dataset,
                "train",
                indices=ids,
                resolution=self.resolution,
                device=self.arithmetic.device,
            )
            self._subset = (
                key,
                Subset(images_nchw=resident.images, targets_nk=torch.empty(0), ids=ids),
            )
        chosen = self._subset[1]
        if trial.cell["labels"] == "hard":
            targets = hard_targets(self.labels[chosen.ids], self.dataset.num_classes)
        else:
            assert self.view is not None
            targets = self.view.probabilities(
                trial.cell["expert_epoch"], chosen.ids, temperature=trial.cell["temperature"]
            )
        return Subset(
            images_nchw=chosen.images_nchw,
            targets_nk=torch.from_numpy(targets),
            ids=chosen.ids,
        )

    def _evaluate(self, network: Network) -> dict[str, float | None]:
        return {name: self._accuracy(network, images) for name, images in self.evaluations.items()}

    def _accuracy(self, network: Network, images: Resident | None) -> float | None:
        if images is None:
            return None
        batches = images.batches(
            images.ids.cpu().numpy(), batch_size=EVALUATION_BATCH, shuffle=False
        )
        return int(count_correct(network, batches)) / len(images)


def pick_accuracies(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """The three accuracies of one student (PROTOCOL.md §1, evaluation), ties to the earliest.

    ``final``: after the last epoch. ``selected``: at the best validation accuracy. ``max_on_test``:
    the papers' optimistic measure. A part is None where its split is missing.
    """

    def best(split: str) -> dict[str, Any] | None:
        measured = [e for e in evaluations if e[split] is not None]
        return max(measured, key=lambda e: e[split]) if measured else None

    top = best("test")
    return {
        "final": evaluations[-1],
        "selected": best("validation"),
        "max_on_test": None if top is None else {"epoch": top["epoch"], "test": top["test"]},
    }


def _summary(
    ledger: Ledger,
    trials: list[Trial],
    ran: list[Trial],
    runner: _TrialRunner | None,
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
