"""Train the students of trials, one after the other, in one process.

Images, evaluation sets and the compiled network stay between trials; a trial brings its seeds, its
subset and its labels, both read by sample id.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import beton_builder
import labelstore
from engine.errors import EngineError
from engine.experiments import hard_targets, select_random
from engine.loading import Resident, load_resident
from engine.sweep.ledger import Ledger
from engine.sweep.plan import Grid, Trial
from engine.training import StudentTrainer
from engine.training.evaluate import EVALUATION_BATCH, count_correct
from engine.training.launch import Progress
from engine.training.precision import Arithmetic
from engine.training.step import Network
from engine.training.student import Subset


def sample_pool(dataset: beton_builder.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the train split, and the sample ids students may see: all but validation's."""
    labels = np.asarray(dataset.split("train").labels, dtype=np.int64)
    return labels, np.setdiff1d(np.arange(len(labels)), dataset.validation_indices)


class TrialRunner:
    """What all trials of one process share: images, evaluation and the compiled network."""

    def __init__(
        self,
        dataset: beton_builder.Dataset,
        view: labelstore.LabelView | None,
        grid: Grid,
        ledger: Ledger,
        arithmetic: Arithmetic,
    ) -> None:
        self.dataset = dataset
        self.view = view
        self.ledger = ledger
        self.labels, self.candidates = sample_pool(dataset)
        self.arithmetic = arithmetic
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
