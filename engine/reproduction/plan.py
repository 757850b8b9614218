"""A scale fitted to a dataset: recipes by image size, lengths in epochs, and grids that can run.

What doesn't fit (more images than a class has, the 64th largest of 10 probabilities, superclasses
that a dataset doesn't name) is left out, each with its reason; nothing is changed silently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import beton_builder
from engine.errors import UsageError
from engine.experiments import Pool, parse_label_transform, parse_selection
from engine.records import write_bytes
from engine.reproduction.scale import (
    DerivedLabels,
    Experiment,
    LearnedLabels,
    Scale,
    Students,
    holding_at,
)
from engine.sweep.planning.plan import sample_pool
from engine.training import StudentRecipe

SMALL_PIXELS, MIDDLE_PIXELS = 48, 96
"""ConvNetD3 up to 48 pixels, ConvNetD4 up to 96 (docs/protocol.md §1: 32 and 64); larger images,
and those of different sizes, are shown at 64."""

ALWAYS_HAD = 0.7
"""Nats from which on derived labels exist on any images: the sharpest label of an image that lies
nearest to another class is divided between the two, which is ln 2."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is going to be done. ``grids``: blocks of a sweep's plan, by experiment.

    ``student``: the settings that all of them share, but for ``lr_by_ipc``. ``experts``: names in
    the label store.
    ``learned``: settings of a `LearnedRecipe`, a mapping for each labels to learn.
    ``derived``: (IPC, mean entropy in nats) of labels without an expert. ``left_out``: sentences.
    """

    model: str
    resolution: int | None
    student: Students
    experts: tuple[str, ...]
    num_classes: int
    grids: dict[str, dict[str, Any]]
    learned: tuple[dict[str, Any], ...] = ()
    derived: tuple[tuple[int, float], ...] = ()
    left_out: tuple[str, ...]
    lr_by_ipc: Mapping[int, float] = field(default_factory=dict)

    def student_at(self, ipc: int) -> dict[str, Any]:
        """The student of one IPC as overrides of a sweep's plan."""
        settings = self.student.model_dump(exclude_none=True, exclude={"steps"})
        if self.student.steps is not None:
            settings["epochs"] = epochs_of_steps(self.student.steps, ipc * self.num_classes)
        if (lr := holding_at(self.lr_by_ipc, ipc)) is not None:
            settings["lr"] = lr
        return {f"student.{name}": value for name, value in settings.items()}


def fit_to(scale: Scale, dataset: beton_builder.Dataset, expert_names: Sequence[str]) -> Plan:
    """The plan of a scale for one dataset; ``expert_names``: of its experts, as a store has them.

    Raises:
        UsageError: nothing of it fits.
    """
    model, resolution = architecture(scale, dataset)
    student = scale.student.model_copy(update={"model": model, "resolution": resolution})
    left_out: list[str] = []
    if scale.student.resolution not in (None, resolution, dataset.height):
        left_out.append(
            f"resolution {scale.student.resolution}: the dataset is whitened at {dataset.width} × "
            f"{dataset.height} pixels"
        )
    grids = {}
    for name, experiment in scale.experiments.items():
        kept, reasons = _that_fits(experiment, dataset)
        left_out += [f"{name}: {reason}" for reason in reasons]
        if kept is not None:
            grids[name] = _grid(scale, kept, student, dataset.num_classes, expert_names)
    if not grids:
        why = "; ".join(left_out) or "it has none"
        raise UsageError(f"no experiment of this scale fits {dataset.path}: {why}")
    learned: list[dict[str, Any]] = []
    if scale.learned is not None:
        fitting, reasons = _ipcs_that_fit(scale.learned.ipc, dataset)
        left_out += [f"learned labels: {reason}" for reason in reasons]
        learned = [*_learned(scale.learned, fitting, model, resolution)]
    derived: list[tuple[int, float]] = []
    if scale.derived is not None:
        fitting, reasons = _ipcs_that_fit(scale.derived.ipc, dataset)
        nats, too_sharp = _entropies(scale.derived, dataset.num_classes)
        left_out += [f"derived labels: {reason}" for reason in reasons + too_sharp]
        derived = [*product(fitting, nats)]
    return Plan(
        model=model,
        resolution=resolution,
        student=student,
        experts=tuple(expert_names),
        num_classes=dataset.num_classes,
        grids=grids,
        learned=tuple(learned),
        derived=tuple(derived),
        left_out=tuple(left_out),
        lr_by_ipc=scale.lr_by_ipc,
    )


def architecture(scale: Scale, dataset: beton_builder.Dataset) -> tuple[str, int | None]:
    """The network of experts and students, and the resolution, None for the dataset's own."""
    side = dataset.height if dataset.height == dataset.width else None
    resolution = scale.student.resolution
    if resolution is None and (side is None or side > MIDDLE_PIXELS):
        resolution = 64
    if dataset.whitening_id and side is not None:
        resolution = None  # a whitening is for images of one size
    seen = resolution or side
    assert seen is not None
    by_size = "convnet-d3" if seen <= SMALL_PIXELS else "convnet-d4"
    return scale.student.model or by_size, resolution


def expert_options(scale: Scale, plan: Plan) -> dict[str, Any]:
    """What `train_expert` is asked for, whatever the seed."""
    return {
        "config": scale.expert.recipe,
        "model": plan.model,
        "epochs": scale.expert.epochs,
        "overrides": {} if plan.resolution is None else {"resolution": plan.resolution},
    }


def write_plan(file: Path, plan: Plan) -> None:
    """The plan as a file that `engine sweep-students --config` reads, an experiment a block."""
    lines = ["# Made by `engine reproduce`; an experiment a block."]
    lines += [f"# Left out: {reason}" for reason in plan.left_out]
    blocks = [f"# {name}\n{_yaml([grid])}" for name, grid in plan.grids.items()]
    write_bytes(file, "\n".join([*lines, "grids:", *blocks]).encode())


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100)).rstrip()


def _that_fits(
    experiment: Experiment, dataset: beton_builder.Dataset
) -> tuple[Experiment | None, list[str]]:
    """The part of an experiment that this dataset allows, and why the rest is left out."""
    ipcs, reasons = _ipcs_that_fit(experiment.ipc, dataset)
    transforms = []
    for text in experiment.labels:
        reason = _why_not(text, dataset)
        if reason:
            reasons.append(reason)
        else:
            transforms.append(text)
    selections = []
    labels, candidates = sample_pool(dataset)
    pool = Pool(labels=labels, candidates=candidates, classes=dataset.classes)
    for text in experiment.selection if ipcs else ():
        try:
            parse_selection(text).check(pool, max(ipcs))
        except UsageError as error:
            reasons.append(f"{text}: {error}")
        else:
            selections.append(text)
    if not (ipcs and transforms and selections):
        return None, reasons
    fitting = {"ipc": ipcs, "labels": transforms, "selection": selections}
    return experiment.model_copy(update=fitting), reasons


def _ipcs_that_fit(
    ipcs: Sequence[int], dataset: beton_builder.Dataset
) -> tuple[list[int], list[str]]:
    labels, candidates = sample_pool(dataset)
    smallest = int(np.bincount(labels[candidates], minlength=dataset.num_classes).min())
    lost = sorted({each for each in ipcs if each > smallest})
    reasons = [f"IPC {_listed(lost)}: the smallest class has {smallest} images"] if lost else []
    return [each for each in ipcs if each <= smallest], reasons


def _why_not(labels: str, dataset: beton_builder.Dataset) -> str | None:
    transform = parse_label_transform(labels)
    if transform.needs_superclasses and dataset.superclass_of is None:
        return f"{labels}: the dataset names no superclasses"
    try:
        transform.check(dataset.num_classes)
    except UsageError as error:
        return str(error)
    return None


def _learned(
    wanted: LearnedLabels, ipcs: Sequence[int], model: str, resolution: int | None
) -> Iterator[dict[str, Any]]:
    for ipc, initial in product(ipcs, wanted.initial):
        own = {"ipc": ipc, "initial": initial, "model": model, "resolution": resolution}
        yield {**own, **wanted.settings}


def _entropies(wanted: DerivedLabels, num_classes: int) -> tuple[list[float], list[str]]:
    """In hundredths of a nat, and why others are left out."""
    every = sorted({round(share * math.log(num_classes), 2) for share in wanted.entropies})
    reasons = [
        f"{nats:.2f} nats: with {num_classes} classes they may not get as sharp as that"
        for nats in every
        if nats < ALWAYS_HAD
    ]
    return [nats for nats in every if nats >= ALWAYS_HAD], reasons


def _grid(
    scale: Scale,
    experiment: Experiment,
    common: Students,
    num_classes: int,
    expert_names: Sequence[str],
) -> dict[str, Any]:
    """One block of a sweep's plan."""
    student = experiment.student.over(common)
    settings = student.model_dump(exclude_none=True, exclude={"steps"})
    grid: dict[str, Any] = {
        "ipc": experiment.ipc,
        "labels": experiment.labels,
        "selection": experiment.selection,
        "expert": [expert_names[number] for number in experiment.experts],
        "seeds": experiment.seeds or scale.seeds,
        "student": settings,
        "by_ipc": {
            ipc: change
            for ipc in experiment.ipc
            if (change := dict(_changes_at(ipc, scale, experiment, student, num_classes)))
        },
    }
    optional = {
        "expert_epochs": experiment.expert_epochs,
        "temperature": experiment.temperature,
        "subset_seed": experiment.subset_seed,
    }
    return grid | {name: value for name, value in optional.items() if value is not None}


def _changes_at(
    ipc: int, scale: Scale, experiment: Experiment, student: Students, num_classes: int
) -> Iterator[tuple[str, Any]]:
    if experiment.expert_epochs is None:
        yield "expert_epochs", [scale.expert_epoch_at(ipc)]
    if student.steps is not None:
        yield "epochs", epochs_of_steps(student.steps, ipc * num_classes)
    lr = holding_at(scale.lr_by_ipc, ipc)
    if experiment.student.lr is None and lr not in (None, student.lr):
        yield "lr", lr


def epochs_of_steps(steps: int, num_images: int) -> int:
    """As many epochs as come nearest to so many steps of SGD, at least one."""
    batch_size: int = StudentRecipe.model_fields["batch_size"].default
    return max(1, round(steps / math.ceil(num_images / batch_size)))


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


__all__ = ["Plan", "architecture", "epochs_of_steps", "fit_to", "write_plan"]
