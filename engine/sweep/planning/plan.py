"""From grids to trials: which students to train, each once, and what that amounts to.

In: grids, a dataset and an open label store. Out: trials, or the reason why they can't work, before
anything starts. Growing a grid adds trials and changes none (see `Trial.id`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.experiments import (
    LabelTransform,
    Pool,
    Selection,
    parse_label_transform,
    parse_selection,
)
from engine.models import check_model_name
from engine.sweep.planning.epochs import CHOSEN_BY
from engine.sweep.planning.grid import Grid, StudentAxes, load_grids, values_of
from engine.sweep.planning.labels_to_come import LabelsToCome
from engine.sweep.planning.scorers import scorer_of
from engine.sweep.planning.teachers import Teacher, TeacherFinder
from engine.sweep.planning.trial import PROTOCOL_VERSION, DatasetFacts, Shape, SubsetKey, Trial

__all__ = [
    "PROTOCOL_VERSION",
    "Grid",
    "Shape",
    "SubsetKey",
    "Trial",
    "amount_of_work",
    "check_trials",
    "list_trials",
    "load_grids",
    "plan_trials",
    "recorded_plan",
    "sample_pool",
]


def sample_pool(dataset: beton_builder.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the train split, and the sample ids students may see: all but validation's.

    Both int64: (n,) and (m,).
    """
    labels = np.asarray(dataset.split("train").labels, dtype=np.int64)
    return labels, np.setdiff1d(np.arange(len(labels)), dataset.validation_indices)


def plan_trials(
    grids: Grid | Sequence[Grid],
    dataset: beton_builder.Dataset,
    store: labelstore.LabelStore | None,
    *,
    labels_to_come: bool = False,
) -> list[Trial]:
    """Every trial of the grids, each once; those of one shape and subset next to each other.

    Args:
        grids: what to explore.
        dataset: where images and hard labels come from.
        store: the experts' labels; None allows only labels that need no expert.
        labels_to_come: without a store, take the labels for granted. Such trials can't run and
            have no lasting ids; they say what the plan amounts to.

    Raises:
        UsageError: something that can't work: soft labels without a store, an expert or epoch that
            is not in it, an unknown model, more images than a class has (or a decile of it),
            images that have no one resolution or are too small for the model, scores of an expert
            that nobody names, superclasses that the dataset doesn't have.
        labelstore.LabelStoreError: the store has no such view or codec.
    """
    trials = list_trials(grids, dataset, store, labels_to_come=labels_to_come)
    check_trials(trials, dataset)
    return trials


def list_trials(
    grids: Grid | Sequence[Grid],
    dataset: beton_builder.Dataset,
    store: labelstore.LabelStore | None,
    *,
    labels_to_come: bool = False,
) -> list[Trial]:
    """`plan_trials` less `check_trials`, which a finished sweep need not wait for."""
    grids = [grids] if isinstance(grids, Grid) else list(grids)
    for model in dict.fromkeys(m for grid in grids for m in values_of(grid.student.model)):
        check_model_name(model)
    finder: TeacherFinder | LabelsToCome | None = None if store is None else TeacherFinder(store)
    if store is None and labels_to_come:
        finder = LabelsToCome()
    facts = _facts(dataset)
    planned = {
        trial.id: trial for grid in grids for trial in _trials_of(grid, dataset, facts, finder)
    }
    return sorted(planned.values(), key=lambda trial: (trial.shape, trial.subset))


def check_trials(trials: Sequence[Trial], dataset: beton_builder.Dataset) -> None:
    """Refuse trials that can't be trained.

    Raises:
        UsageError: more images than a class has, or images that are too small for the model.
    """
    _check_subsets(trials, dataset)
    _check_depths(trials)


def _trials_of(
    grid: Grid,
    dataset: beton_builder.Dataset,
    facts: DatasetFacts,
    finder: TeacherFinder | LabelsToCome | None,
) -> Iterator[Trial]:
    repeats = grid.seed_sets()
    transforms = [parse_label_transform(text) for text in grid.labels]
    for transform in transforms:
        _check_transform(transform, dataset)
    selections = [parse_selection(text) for text in grid.selection]
    soft = any(transform.needs_expert for transform in transforms)
    if soft and finder is None:
        raise UsageError(
            "soft labels need a label store: pass --labels STORE "
            "(or --set labels=[hard] for hard labels alone)"
        )
    resolutions: set[int | None] = {None}
    store_id = None
    if isinstance(finder, TeacherFinder):
        resolutions = {each.resolution for each in finder.stored(grid)}
        store_id = finder.store.id
    unaided = sorted({_resolution(grid, dataset, found) for found in resolutions})
    for ipc in sorted(grid.ipc):
        teachers = finder.of(grid, ipc) if finder and soft else []
        for transform in transforms:
            sources: list[tuple[Teacher | None, int]] = [(None, size) for size in unaided]
            softened = [transform]
            if transform.needs_expert:
                sources = [(t, _resolution(grid, dataset, t.resolution)) for t in teachers]
                softened = [transform.at_temperature(value) for value in grid.temperature]
            students = {size: grid.students_at(ipc, size) for _, size in sources}
            for (teacher, size), selection in itertools.product(sources, selections):
                scorer = scorer_of(selection, teacher, grid, finder)
                for labels, student, seeds in itertools.product(softened, students[size], repeats):
                    yield Trial(
                        dataset=facts,
                        ipc=ipc,
                        selection=selection,
                        labels=labels,
                        teacher=teacher,
                        seeds=seeds,
                        student=student,
                        store=store_id if teacher or scorer else None,
                        scorer=scorer,
                    )


def _check_transform(transform: LabelTransform, dataset: beton_builder.Dataset) -> None:
    transform.check(dataset.num_classes)
    if transform.needs_superclasses and dataset.superclass_of is None:
        raise UsageError(
            f"labels {transform} need superclasses, and dataset {dataset.name} has none: build it "
            "from a source that says them (such as CIFAR-100's own files or parquet), or leave "
            "these labels out"
        )


def _facts(dataset: beton_builder.Dataset) -> DatasetFacts:
    test_images = dataset.split("test").num_samples if dataset.has_split("test") else 0
    return DatasetFacts(
        id=dataset.id,
        mean=tuple(dataset.mean),
        std=tuple(dataset.std),
        channels=dataset.channels,
        num_classes=dataset.num_classes,
        evaluation_images=test_images + len(dataset.validation_indices),
        whitening=dataset.whitening_id,
        superclass_of=dataset.superclass_of,
    )


def _resolution(grid: Grid, dataset: beton_builder.Dataset, labelled: int | None) -> int:
    """The students' resolution: as asked, else that of the labelled images, else the dataset's."""
    found = grid.student.resolution or labelled
    if found is None and dataset.height == dataset.width:
        found = dataset.height
    if found is None:
        raise UsageError(
            f"the images of {dataset.path} are not all of one square size, so students need a "
            "resolution: add --set student.resolution=64"
        )
    if dataset.whitening_id and found != dataset.height:
        raise UsageError(
            f"{dataset.path} is whitened at {dataset.width} × {dataset.height} pixels, and the "
            f"students have {found}: leave student.resolution out, or build the dataset with "
            "another --normalisation"
        )
    return found


def _check_subsets(trials: Sequence[Trial], dataset: beton_builder.Dataset) -> None:
    """Raise UsageError where a class has too few images; the largest IPC speaks for the others."""
    if not trials:
        return
    largest: dict[Selection, int] = {}
    for trial in trials:
        largest[trial.selection] = max(trial.ipc, largest.get(trial.selection, 0))
    labels, candidates = sample_pool(dataset)
    pool = Pool(labels=labels, candidates=candidates, classes=dataset.classes)
    for selection, ipc in largest.items():
        selection.check(pool, ipc)


def _check_depths(trials: Iterable[Trial]) -> None:
    """Raise UsageError where images are too small for a ConvNet's depth."""
    for model, resolution in dict.fromkeys(trial.shape[:2] for trial in trials):
        if model.startswith("convnet"):
            from engine.models import build_model

            build_model(model, num_classes=2, channels=1, resolution=resolution, init_seed=0)


def amount_of_work(trials: Sequence[Trial]) -> dict[str, Any]:
    """What trials amount to: images, records, and the shapes among which compiled steps differ.

    ``shapes``: a row each, most images first; ``record_bytes``: of their records, about.
    """
    count: Counter[tuple[Shape, int]] = Counter()
    images: Counter[tuple[Shape, int]] = Counter()
    record_bytes: dict[tuple[int, int], int] = {}  # one of each length speaks for the others
    total_bytes = 0
    for trial in trials:
        key = trial.shape, trial.ipc
        count[key] += 1
        images[key] += trial.training_images
        checkpoints = len(trial.teacher.checkpoints) if trial.teacher else 0
        alike = checkpoints, trial.student.evaluations
        if alike not in record_bytes:
            record_bytes[alike] = trial.record_bytes()
        total_bytes += record_bytes[alike]
    return {
        "training_images": sum(images.values()),
        "evaluation_images": sum(trial.evaluation_images for trial in trials),
        "record_bytes": total_bytes,
        "shapes": [
            {
                "model": shape.model,
                "resolution": shape.resolution,
                "ipc": ipc,
                "batch_sizes": list(shape.batch_sizes),
                "trials": count[shape, ipc],
                "training_images": total,
            }
            for (shape, ipc), total in images.most_common()
        ],
    }


def recorded_plan(grids: Sequence[Grid], trials: Sequence[Trial]) -> dict[str, Any]:
    """What a sweep's head says was asked for.

    One grid whose trials are the product of IPC, labels, expert epochs, temperatures and seeds says
    so, with everything resolved; anything else is recorded as it was asked for, under ``grids``, so
    that a word which had an accuracy choose the epochs stays.
    """
    asked = [grid.model_dump(mode="json") for grid in grids]
    if len(grids) != 1 or not _is_plain(grids[0]):
        return {"grids": asked}
    epochs = {trial.cell["expert_epoch"] for trial in trials} - {None}
    resolution = trials[0].student.resolution
    (student,) = grids[0].student.recipes(resolution)
    return asked[0] | {
        "expert_epochs": sorted(epochs),
        "student": student.model_dump(mode="json"),
    }


def _is_plain(grid: Grid) -> bool:
    one_value = (grid.expert, grid.view, grid.codec, grid.subset_seed)
    apart = (grid.init_seed, grid.order_seed, grid.augment_seed)
    student = (getattr(grid.student, name) for name in StudentAxes.model_fields)
    return (
        {*grid.labels} <= {"soft", "hard"}
        and not CHOSEN_BY.keys() & {*grid.expert_epochs}
        and len(grid.selection) == 1
        and grid.ensemble == [None]
        and grid.expert != "all"
        and not any(isinstance(value, list) for value in (*one_value, *student))
        and not any(seed is not None for seed in apart)
        and not any(change.expert_epochs for change in grid.by_ipc.values())
    )
