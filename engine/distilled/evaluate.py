"""`evaluate_distilled`: students on a distilled set, under the very protocol of sweeps.

    set + dataset → what the set is → students of a plan → one record each → three accuracies

The students are those of a sweep's configuration (by default the papers': 3,000 epochs, five of
them), evaluated on the dataset's test split and on its validation images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import beton_builder
from engine.distilled.distilled_set import DistilledSet
from engine.distilled.evaluation import (
    KIND,
    EvaluationFolder,
    hard_or_soft,
)
from engine.distilled.evaluation_result import describe_plan, summarise_evaluation
from engine.distilled.opening import open_distilled
from engine.distilled.student_of_set import SetRunnerFactory, StudentOfSet
from engine.errors import UsageError
from engine.models import build_model
from engine.records import content_id, sole_writer, write_record
from engine.sweep.execution import AUTO, Execution
from engine.sweep.executors.recording import Event
from engine.sweep.planning.grid import load_grids
from engine.sweep.planning.plan import list_trials
from engine.sweep.planning.trial import PROTOCOL_VERSION, Trial
from engine.training.progress import Progress, no_progress

PAPERS_STUDENTS = "students-paper"
OWN_AXES = ("student", "by_ipc", "seeds", "init_seed", "order_seed", "augment_seed")
"""Keys of a plan that mean something for a set whose images and labels are given."""


def evaluate_distilled(
    data: str | Path,
    distilled: str | Path,
    out: str | Path | None = None,
    *,
    config: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    images: str = "auto",
    label_kind: str = "auto",
    workers: int | str = AUTO,
    threads: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    estimate: bool = True,
    progress: Progress | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Train students on a distilled set and evaluate them; finished students are skipped.

    Args:
        data: the dataset that the set was distilled from, for its test and validation images.
        distilled: the set; see `open_distilled`, also for ``images`` and ``label_kind``.
        out: folder of the evaluation, created where it is missing, else extended; by default
            ``NAME-evaluation`` beside the set.
        config: a plan of a sweep, as a YAML file or a preset's name, for its students and seeds.
        seeds: of initial weights, order and augmentation, one student each.
        workers, threads: as of `sweep_students`.
        overrides: further dotted keys of the plan, such as ``student.epochs``.
        dry_run: return the plan and write nothing; estimate: measure how long it will take.
        on_event: told what happens, as dicts (`engine.sweep.executors.recording`).

    Returns:
        ``table``: test accuracy by measure, with mean, standard deviation and 95 % interval;
        ``taken_as``: what had to be guessed of the set; ``failed``, ``errors``.

    Raises:
        ConfigurationError, UsageError, ArtefactError, MismatchError, DamageError.
    """
    execution = Execution(workers=workers, threads=threads)
    dataset = beton_builder.open_dataset(data)
    given = dict(overrides or {}) | ({} if seeds is None else {"seeds": list(seeds)})
    _check_overrides(given)
    source = config or PAPERS_STUDENTS
    opened = open_distilled(
        distilled,
        dataset=dataset,
        images=images,
        label_kind=label_kind,
        resolution=_asked_resolution(source, given),
    )
    students = _plan_students(source, given, dataset, opened)
    files = EvaluationFolder(_beside(Path(distilled)) if out is None else out)
    head = _head(students, dataset, opened)
    set_id = opened.id
    del opened  # each worker reads it for itself
    files.check(head)
    precision = _precision(files, students)
    tell = progress or no_progress
    left = [each for each in students if files.done(each.file_name, each.id) is None]
    if dry_run:
        measure = partial(_estimates, execution, precision=precision, progress=tell)
        return describe_plan(head, files, students, left, measure if estimate else None)
    factory = SetRunnerFactory(
        data=str(Path(data).absolute()),
        distilled=str(Path(distilled).absolute()),
        images=images,
        label_kind=label_kind,
        resolution=students[0].shape.resolution,
        set_id=set_id,
        precision=precision,
    )
    started = time.perf_counter()
    with sole_writer(files.path):
        remembered = files.remembered().get("packing")
        execution, packing = execution.packed(
            left, precision=precision, remembered=remembered, progress=tell
        )
        record = packing.record() if packing else remembered
        files.begin({**head, "precision": precision, "packing": record})
        listen = partial(_tell, on_event, len(students) - len(left))
        execution.run(left, factory, _Students(files, left), listen)  # type: ignore[arg-type]
    return summarise_evaluation(files, head, students, left, time.perf_counter() - started)


def _beside(distilled: Path) -> Path:
    place = distilled.resolve() if distilled.name in ("", "..") else distilled
    return place.with_name(f"{place.name}-evaluation")


def _check_overrides(given: Mapping[str, Any]) -> None:
    for key in given:
        if key.partition(".")[0] not in OWN_AXES:
            raise UsageError(
                f"--set {key}: a distilled set has its own images and labels; expected one of "
                f"{', '.join(OWN_AXES)}, such as student.epochs=300"
            )


def _asked_resolution(source: str | Path, given: Mapping[str, Any]) -> int | None:
    asked = {grid.student.resolution for grid in load_grids(source, given)}
    if len(asked) > 1:
        raise UsageError(f"{source} has students of several resolutions: choose one with --set")
    return asked.pop()


def _plan_students(
    source: str | Path,
    given: Mapping[str, Any],
    dataset: beton_builder.Dataset,
    distilled: DistilledSet,
) -> list[StudentOfSet]:
    """The students that a sweep's plan has at this many images per class, one a seed.

    Raises:
        UsageError: the plan has several kinds of them, or images are too small for the model.
    """
    # As if for hard labels on random images, which needs no expert: both are replaced.
    ipc = max(1, round(distilled.images_per_class))
    side = int(distilled.images_nchw.shape[2])
    axes = {"ipc": [ipc], "labels": ["hard"], "selection": ["random"], "subset_seed": 0}
    grids = load_grids(source, {**given, **axes, "student.resolution": side})
    trials = list_trials(grids, dataset, None)
    recipes = {trial.student.model_dump_json(): trial.student for trial in trials}
    if len(recipes) > 1:
        raise UsageError(
            f"{source} has {len(recipes)} kinds of students at {ipc} images per class, and an "
            "evaluation has one: choose with --set, such as --set student.lr=0.01"
        )
    (recipe,) = recipes.values()
    shape = trials[0].shape
    build_model(
        recipe.model,
        num_classes=shape.num_classes,
        channels=shape.channels,
        resolution=shape.resolution,
        init_seed=0,
    )
    identity = content_id(
        {
            "protocol": PROTOCOL_VERSION,
            "dataset": dataset.id,
            "normalisation": trials[0].dataset.normalisation,
            "distilled": distilled.id,
            "student": recipe.model_dump(mode="json"),
        }
    )
    return [
        StudentOfSet(
            **{field.name: getattr(trial, field.name) for field in fields(Trial)},
            set_id=distilled.id,
            set_images=distilled.num_images,
            labels_are=hard_or_soft(distilled.label_kind),
            evaluation=identity,
        )
        for trial in trials
    ]


def _head(
    students: Sequence[StudentOfSet], dataset: beton_builder.Dataset, distilled: DistilledSet
) -> dict[str, Any]:
    has_test = dataset.has_split("test")
    return {
        "kind": KIND,
        "id": students[0].evaluation,
        "protocol": PROTOCOL_VERSION,
        "distilled": distilled.describe(),
        "dataset": {
            "id": dataset.id,
            "name": dataset.name,
            "normalisation": students[0].dataset.normalisation,
            "num_classes": dataset.num_classes,
            "test_images": dataset.split("test").num_samples if has_test else 0,
            "validation_images": len(dataset.validation_indices),
        },
        "student": students[0].student.model_dump(mode="json"),
        "asked": [student.file_name.removesuffix(".json") for student in students],
    }


def _precision(files: EvaluationFolder, students: Sequence[StudentOfSet]) -> str:
    """The precision the evaluation began in, so that a resume can't mix two under ``auto``."""
    asked = students[0].student.precision
    if asked == "auto":
        asked = files.remembered().get("precision", asked)
    from engine.training.precision import choose_arithmetic

    return choose_arithmetic(asked).precision


@dataclass(frozen=True)
class _Students:
    """The one file for each student, in the place of a sweep's ledger."""

    files: EvaluationFolder
    left: Sequence[StudentOfSet]

    def write(self, record: Mapping[str, Any]) -> None:
        """Make a student's outcome durable; called by several threads at once."""
        student = next(each for each in self.left if each.id == record["id"])
        write_record(self.files.file_of(student.file_name), record)


def _tell(on_event: Callable[[Event], None] | None, done_before: int, event: Event) -> None:
    if on_event is None:
        return
    if event["event"] == "sweep_started":
        event = {**event, "already_done": done_before, "cell_keys": ["seed"]}
    on_event(event)


def _estimates(
    execution: Execution, left: Sequence[Trial], *, precision: str, progress: Progress
) -> list[dict[str, Any]]:
    from engine.sweep.dry_run import estimate_trials

    return estimate_trials(execution, left, precision=precision, progress=progress)
