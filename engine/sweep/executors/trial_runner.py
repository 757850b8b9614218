"""Train the students of any trials, one after the other, in one process.

Images, evaluation sets, labels and the compiled networks stay between trials; a trial brings its
seeds, its subset and its labels, both read by sample id. Nothing is written: a record is returned.
"""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

import beton_builder
import labelstore
from engine.errors import MismatchError
from engine.experiments import Pool, Population, Samples
from engine.loading import Resident, load_resident
from engine.sweep.executors.teacher_labels import TeacherLabels, scored_pool
from engine.sweep.planning.plan import sample_pool
from engine.sweep.planning.teachers import Teacher
from engine.sweep.planning.trial import Trial
from engine.training import StudentTrainer
from engine.training.evaluate import EVALUATION_BATCH, count_correct_by_class
from engine.training.precision import Arithmetic, choose_arithmetic, keep_freed_memory
from engine.training.step import Network
from engine.training.student import Subset

__all__ = ["RunnerFactory", "TrialRunner", "pick_accuracies"]

KEPT_NETWORKS = 4
KEPT_SUBSETS = 2
KEPT_RESOLUTIONS = 2
KEPT_TEACHERS = 8
KEPT_POOLS = 2
KEPT_POPULATIONS = 4

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
        superclass_of = dataset.superclass_of
        self.superclass_of = None if superclass_of is None else np.asarray(superclass_of, np.int64)
        self._trainers: _Recent[StudentTrainer] = _Recent(KEPT_NETWORKS)
        self._images: _Recent[Resident] = _Recent(KEPT_SUBSETS)
        self._evaluation: _Recent[dict[str, Resident | None]] = _Recent(KEPT_RESOLUTIONS)
        self._teachers: _Recent[TeacherLabels] = _Recent(KEPT_TEACHERS)
        self._pools: _Recent[Pool] = _Recent(KEPT_POOLS)
        self._populations: _Recent[Population] = _Recent(KEPT_POPULATIONS)

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
            subset = self.subset_of(trial)
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
                "test_per_class": evaluate.test_per_class,
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
                whitening=self.dataset.whitening(),
                arithmetic=self.arithmetic,
            ),
        )

    def subset_of(self, trial: Trial) -> Subset:
        """The images and targets that a trial's student gets; MismatchError: of other data."""
        if trial.dataset.id != self.dataset.id:
            raise MismatchError(
                f"trial {trial.id} is of dataset {trial.dataset.id}, but {self.dataset.path} is "
                f"dataset {self.dataset.id}; give the --data that it was planned for"
            )
        images = self._images.get(trial.subset, lambda: self._load_images(trial))
        ids = images.ids.cpu().numpy()
        return Subset(
            images_nchw=images.images,
            targets_nk=torch.from_numpy(self.targets_of(trial, ids)),
            ids=ids,
        )

    def ids_of(self, trial: Trial) -> npt.NDArray[np.int64]:
        """Sample ids (n,) of the images that a trial's student gets; no image is read."""
        pool = self._pool_of(trial)
        return trial.selection(pool, trial.ipc, trial.subset.subset_seed)

    def _load_images(self, trial: Trial) -> Resident:
        return load_resident(
            self.dataset,
            "train",
            indices=self.ids_of(trial),
            resolution=trial.shape.resolution,
            device=self.arithmetic.device,
        )

    def _pool_of(self, trial: Trial) -> Pool:
        """What a trial's images are chosen from, with the scores that its selection goes by."""
        scorer = None if trial.scorer is None else self._labels_of(trial.scorer)

        def make() -> Pool:
            classes = self.dataset.classes
            every = Pool(labels=self.labels, candidates=self.candidates, classes=classes)
            return scored_pool(every, trial.selection, scorer)

        return self._pools.get((trial.selection.needs, trial.scorer), make)

    def targets_of(self, trial: Trial, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Target probabilities of sample ids (n,): float32 (n, k)."""
        # Labels are part of the data: students of one subset share what a transform draws.
        samples = Samples(
            labels=self.labels[ids],
            ids=ids,
            seed=trial.seeds.subset_seed,
            superclass_of=self.superclass_of,
            population=self._population_of(trial),
        )
        if trial.teacher is None:
            nothing = np.zeros((len(ids), self.dataset.num_classes), np.float32)
            return trial.labels(nothing, samples)
        softened = self._labels_of(trial.teacher).probabilities(ids, trial.labels.temperature)
        return trial.labels.after_softmax(softened, samples)

    def _population_of(self, trial: Trial) -> Population | None:
        """What the labels of all images that students may see have in common, if it is asked."""
        teacher, temperature = trial.teacher, trial.labels.temperature
        if teacher is None or not trial.labels.needs_population:
            return None
        labels = self._labels_of(teacher)
        return self._populations.get(
            (teacher, temperature),
            lambda: labels.population(self.labels, self.candidates, temperature),
        )

    def _labels_of(self, teacher: Teacher) -> TeacherLabels:
        labels = self._teachers.get(teacher, lambda: TeacherLabels(self.store, teacher))
        labels.check()  # for every trial: the store may have changed since the last one
        return labels

    def _evaluation_of(self, trial: Trial) -> _Evaluation:
        resolution = trial.shape.resolution
        sets = self._evaluation.get(resolution, lambda: self._evaluation_images(resolution))
        return _Evaluation(sets, self.dataset.num_classes)

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


class _Evaluation:
    """Accuracies of one student on the evaluation sets, whenever it is called.

    ``test_per_class``: as of the last call, the share of each class's test images that are right
    (None for a class without any); None without a test split.
    """

    def __init__(self, sets: Mapping[str, Resident | None], num_classes: int) -> None:
        self._sets, self._num_classes = sets, num_classes
        self.test_per_class: list[float | None] | None = None

    def __call__(self, network: Network) -> dict[str, float | None]:
        accuracies: dict[str, float | None] = {}
        for name, images in self._sets.items():
            correct, counts = self._by_class(network, images)
            accuracies[name] = sum(correct) / sum(counts) if images is not None else None
            if name == "test" and images is not None:
                self.test_per_class = [
                    right / count if count else None
                    for right, count in zip(correct, counts, strict=True)
                ]
        return accuracies

    def _by_class(self, network: Network, images: Resident | None) -> tuple[list[int], list[int]]:
        """Images of each class that are right, and all of them."""
        if images is None:
            return [], []
        ids = images.ids.cpu().numpy()
        batches = images.batches(ids, batch_size=EVALUATION_BATCH, shuffle=False)
        correct, counts = count_correct_by_class(network, batches, self._num_classes)
        return correct.tolist(), counts.tolist()


def pick_accuracies(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """The three accuracies of one student (docs/protocol.md §1, evaluation), ties to the earliest.

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
