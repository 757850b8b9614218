"""Train the students of any trials, one after the other, in one process.

Images, evaluation sets, labels and the compiled networks stay between trials; a trial brings its
seeds, its subset and its labels, both read by sample id. Nothing is written: a record is returned.
"""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

import beton_builder
import labelstore
from engine.errors import MismatchError
from engine.experiments import Samples, selection_named
from engine.loading import Resident, load_resident
from engine.sweep.planning.plan import sample_pool
from engine.sweep.planning.teachers import Teacher
from engine.sweep.planning.trial import SubsetKey, Trial
from engine.training import StudentTrainer
from engine.training.evaluate import EVALUATION_BATCH, count_correct
from engine.training.precision import Arithmetic, choose_arithmetic, keep_freed_memory
from engine.training.step import Network
from engine.training.student import Subset

__all__ = ["RunnerFactory", "TrialRunner", "pick_accuracies"]

KEPT_NETWORKS = 4
KEPT_SUBSETS = 2
KEPT_RESOLUTIONS = 2

Kept = TypeVar("Kept")


class _Recent(Generic[Kept]):
    """The few things used last; what falls out is made again when it is needed."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        if key not in self._kept:
            while len(self._kept) >= self.most:  # before the new one takes memory, too
                self._kept.popitem(last=False)
            self._kept[key] = make()
        self._kept.move_to_end(key)
        return self._kept[key]


@dataclass(frozen=True, kw_only=True)
class RunnerFactory:
    """Makes a runner in whatever process it is called; pickled, it is two paths and a word."""

    data: str
    labels: str | None
    precision: str

    def __call__(self) -> TrialRunner:
        keep_freed_memory()
        dataset = beton_builder.open_dataset(self.data)
        store = None
        if self.labels is not None:
            store = labelstore.open_store(
                self.labels, dataset_id=dataset.id, classes=dataset.classes
            )
        return TrialRunner(dataset, store, choose_arithmetic(self.precision))


class TrialRunner:
    """What all trials of one process share: images, evaluation sets and compiled networks.

    Trials of one shape and subset next to each other are fastest; results don't depend on the
    order.
    """

    def __init__(
        self,
        dataset: beton_builder.Dataset,
        store: labelstore.LabelStore | None,
        arithmetic: Arithmetic,
    ) -> None:
        self.dataset = dataset
        self.store = store
        self.arithmetic = arithmetic
        self.labels, self.candidates = sample_pool(dataset)
        self._trainers: _Recent[StudentTrainer] = _Recent(KEPT_NETWORKS)
        self._images: _Recent[Resident] = _Recent(KEPT_SUBSETS)
        self._evaluation: _Recent[dict[str, Resident | None]] = _Recent(KEPT_RESOLUTIONS)
        self._views: dict[tuple[str, str, str], labelstore.LabelView] = {}

    def run(self, trial: Trial, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Train one student; returns its record, of a failure too, with the traceback.

        Args:
            trial: one of this dataset, with labels of this store.
            progress: called with (images seen, images in all).
        """
        record = trial.identity()
        environment = self.arithmetic.describe()
        try:
            started = time.perf_counter()
            subset = self._subset_of(trial)
            trainer, evaluate = self._trainer_of(trial), self._evaluation_of(trial)
            setup = time.perf_counter() - started
            outcome = trainer.train(subset, trial.student, trial.seeds, evaluate, progress=progress)
        except Exception:
            return record | {
                "status": "failed",
                "error": traceback.format_exc(),
                "environment": environment,
            }
        seconds = {"setup": setup, **outcome["seconds"]}
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

    def _trainer_of(self, trial: Trial) -> StudentTrainer:
        shape = trial.shape
        return self._trainers.get(
            (shape.model, shape.resolution),
            lambda: StudentTrainer(
                shape.model,
                num_classes=shape.num_classes,
                channels=shape.channels,
                resolution=shape.resolution,
                mean=self.dataset.mean,
                std=self.dataset.std,
                arithmetic=self.arithmetic,
            ),
        )

    def _subset_of(self, trial: Trial) -> Subset:
        if trial.dataset.id != self.dataset.id:
            raise MismatchError(
                f"trial {trial.id} is of dataset {trial.dataset.id}, but {self.dataset.path} is "
                f"dataset {self.dataset.id}; give the --data that it was planned for"
            )
        key = trial.subset
        images = self._images.get(key, lambda: self._load_images(key))
        ids = images.ids.cpu().numpy()
        return Subset(
            images_nchw=images.images,
            targets_nk=torch.from_numpy(self._targets(trial, ids)),
            ids=ids,
        )

    def _load_images(self, key: SubsetKey) -> Resident:
        ids = selection_named(key.selection)(
            self.labels, self.candidates, key.ipc, key.subset_seed, self.dataset.classes
        )
        return load_resident(
            self.dataset,
            "train",
            indices=ids,
            resolution=key.resolution,
            device=self.arithmetic.device,
        )

    def _targets(self, trial: Trial, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Target probabilities of sample ids (n,): float32 (n, k)."""
        # Labels are part of the data: students of one subset share what a transform draws.
        samples = Samples(labels=self.labels[ids], ids=ids, seed=trial.seeds.subset_seed)
        if trial.teacher is None:
            nothing = np.zeros((len(ids), self.dataset.num_classes), np.float32)
            return trial.labels(nothing, samples)
        probabilities = self._teach(trial.teacher, ids, trial.labels.temperature)
        return trial.labels.after_softmax(probabilities, samples)

    def _teach(
        self, teacher: Teacher, ids: npt.NDArray[np.int64], temperature: float
    ) -> npt.NDArray[np.float32]:
        """softmax(logits / temperature), of the mean logits where the teacher is an ensemble."""
        views = [self._view(expert, teacher) for expert in teacher.experts]
        found = tuple(view.checkpoint_id(epoch) for view in views for epoch in teacher.epochs)
        if found != teacher.checkpoints:
            raise MismatchError(
                f"{views[0].folder} has labels of checkpoints {', '.join(found)}, but the trial "
                f"was planned for {', '.join(teacher.checkpoints)}; plan the sweep again"
            )
        if len(found) == 1:
            return views[0].probabilities(teacher.epochs[0], ids, temperature=temperature)
        assert self.store is not None
        ensemble = self.store.ensemble(teacher.epochs, teacher.experts, teacher.view, teacher.codec)
        return ensemble.probabilities(ids, temperature=temperature)

    def _view(self, expert: str, teacher: Teacher) -> labelstore.LabelView:
        if self.store is None:
            raise MismatchError("the trial needs soft labels, and there is no label store")
        name = expert, teacher.view, teacher.codec
        if name not in self._views:
            self._views[name] = self.store.view(*name)
        return self._views[name]

    def _evaluation_of(self, trial: Trial) -> Callable[[Network], dict[str, float | None]]:
        resolution = trial.shape.resolution
        sets = self._evaluation.get(resolution, lambda: self._evaluation_images(resolution))
        return lambda network: {
            name: self._accuracy(network, images) for name, images in sets.items()
        }

    def _evaluation_images(self, resolution: int) -> dict[str, Resident | None]:
        images: dict[str, Resident | None] = {"test": None, "validation": None}
        device = self.arithmetic.device
        if self.dataset.has_split("test"):
            images["test"] = load_resident(
                self.dataset, "test", resolution=resolution, device=device
            )
        if len(self.dataset.validation_indices):
            images["validation"] = load_resident(
                self.dataset,
                "train",
                indices=self.dataset.validation_indices,
                resolution=resolution,
                device=device,
            )
        return images

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
