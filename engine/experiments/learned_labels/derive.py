"""Soft labels without any learning: how alike classes are, measured in the images themselves.

In: a dataset and how much entropy its labels shall have. Out: logits of every train image in a
label store, where sweeps find them like those of an expert. The label of image i is the softmax of
-‖x_i - mean of class c‖² / τ over classes c, mixed with as much of its true class as puts that on
top; τ is found by bisection, on at most 20,000 images. x are pixels (``class-mean-images``) or what
an untrained network makes of them before its last layer (``random-features``). Class means leave
validation out.

What method, network, seed and resolution are is part of the view's identity, so one teacher's name
never stands for two of them; τ is noted with each epoch, and a stopped epoch goes on with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.experiments.learned_labels.class_distances import (
    METHODS,
    ClassDistances,
    SimilarityTeacher,
)
from engine.experiments.learned_labels.problem import student_candidates
from engine.records import content_id
from engine.training.precision import keep_freed_memory
from engine.training.progress import Progress, no_progress

Teacher = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]


def derive_labels(
    data: str | Path,
    out: str | Path,
    *,
    method: str = "class-mean-images",
    entropies: Sequence[float] = (3.0,),
    expert: str | None = None,
    model: str = "convnet-d3",
    resolution: int | None = None,
    seed: int = 0,
    codec: str = "dense",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write labels that know of no expert into a label store, an epoch for every entropy.

    Args:
        data: a built dataset.
        out: the store, created where it is missing, else extended.
        method: ``class-mean-images`` or ``random-features``.
        entropies: mean entropies in nats; one of 3.25 becomes epoch 325 (hundredths of a nat), so
            that a sweep over ``--expert-epochs`` is one over entropies.
        expert: their teacher's name inside the store; by default the method's, with the network's
            and its seed where it has one.
        model, seed: of ``random-features``: the untrained network and its weights.
        resolution: of images that differ in size.
        codec: how labels are stored.
        dry_run: return the plan and touch nothing.

    Raises:
        UsageError: another method, or an entropy that can't be had.
        labelstore.LabelStoreError: the store belongs to another dataset, has labels of another
            method, network, seed or resolution under that name, or refuses the labels.
    """
    if method not in METHODS:
        raise UsageError(f"--method {method}: expected {' or '.join(METHODS)}")
    progress = progress or no_progress
    dataset = beton_builder.open_dataset(data)
    side = resolution or (dataset.height if dataset.height == dataset.width else None)
    if side is None:
        raise UsageError(
            f"the images of {dataset.path} are not all of one square size: add --resolution 64"
        )
    rule = _rule(dataset, method, model, seed, side)
    expert = expert or _usual_name(method, model, seed)
    wanted = {epoch_of(nats): float(nats) for nats in sorted(set(entropies))}
    labels, _ = student_candidates(dataset)
    begun = _view_of(out, expert, codec)

    def write(epoch: int, teacher: Teacher, **options: Any) -> dict[str, Any]:
        return labelstore.import_labels(
            out,
            teacher,
            dataset_id=dataset.id,
            classes=dataset.classes,
            labels=labels,
            expert=expert,
            epoch=epoch,
            values="logits",
            checkpoint_id=_checkpoint_id(begun, epoch, {"dataset": dataset.id, **rule}),
            rule=rule,
            codec=codec,
            **options,
        )

    # Before anything is computed: a store that refuses them, or has them all.
    plans = [write(epoch, _nobody, dry_run=True) for epoch in wanted]
    missing = [epoch for each in plans for epoch in each["epochs_missing"]]
    plan = {"out": str(out), "expert": expert, "method": method, "codec": codec}
    if dry_run:
        epochs = {"epochs": list(wanted), "epochs_missing": missing}
        size = sum(each["bytes"] for each in plans)
        return {"plan": "derive-labels", **plan, **epochs, "bytes": size}
    teachers: dict[int, Teacher] = {}
    temperatures = _noted_temperatures(begun)
    if missing:
        keep_freed_memory()
        distances = ClassDistances(
            dataset, method, model=model, resolution=side, seed=seed, progress=progress
        )
        similarity = SimilarityTeacher(distances, progress)
        for epoch in missing:
            if epoch not in temperatures:
                temperatures[epoch] = similarity.temperature(wanted[epoch])
            teachers[epoch] = similarity.at(temperatures[epoch])
    table = []
    for epoch in wanted:
        found = write(
            epoch,
            teachers.get(epoch, _nobody),
            noted={"temperature": temperatures.get(epoch)},
            progress=functools.partial(_staged, progress, epoch),
        )
        table.append(
            {
                "epoch": epoch,
                "mean_entropy": found["mean_entropy"],
                "cross_entropy": found["mean_cross_entropy"],
                "temperature": temperatures.get(epoch),
                "status": found["status"],
            }
        )
    return {
        "status": "derived" if missing else "finished already",
        **plan,
        "knowledge": "none of an expert: images and hard labels of the train split alone",
        "samples": len(labels),
        "table": table,
    }


def _rule(
    dataset: beton_builder.Dataset, method: str, model: str, seed: int, resolution: int
) -> dict[str, Any]:
    """What all labels of one teacher have in common, whatever their entropy."""
    network = {"model": model, "seed": seed} if method == "random-features" else {}
    normalisation = [list(dataset.mean), list(dataset.std), dataset.whitening_id]
    return {"method": method, **network, "resolution": resolution, "normalisation": normalisation}


def _usual_name(method: str, model: str, seed: int) -> str:
    return f"{method}-{model}-seed{seed}" if method == "random-features" else method


def _view_of(out: str | Path, expert: str, codec: str) -> labelstore.LabelView | None:
    """The labels of this teacher that the store has begun, if it has."""
    try:
        return labelstore.open_store(out).view(expert, codec=codec)
    except (labelstore.StoreNotFound, labelstore.ViewNotFound, labelstore.DamagedStore):
        return None  # `import_labels` makes again what is missing, and refuses what is damaged


def _checkpoint_id(begun: labelstore.LabelView | None, epoch: int, rule: Mapping[str, Any]) -> str:
    """What identifies the labels of an epoch: how they were made, and with how many nats.

    Earlier versions hashed the temperature, too, and left the rule out of the view's identity;
    what they wrote is taken for what it says it is.
    """
    nats = epoch / 100
    name = f"{rule['method']}-{nats:.2f}-nats-"
    if begun is not None and "rule" not in begun.identity.get("source", {}):
        written = begun.checkpoints.get(epoch, "")
        if written.startswith(name):
            return written
    return name + content_id({**rule, "nats": nats})


def _noted_temperatures(begun: labelstore.LabelView | None) -> dict[int, float]:
    """Of the epochs that the store has begun."""
    noted = {epoch: begun.about(epoch) for epoch in begun.checkpoints} if begun else {}
    found = {epoch: each.get("source", {}).get("temperature") for epoch, each in noted.items()}
    return {epoch: temperature for epoch, temperature in found.items() if temperature is not None}


def _nobody(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    raise AssertionError(f"labels that the store has are not asked for: {ids}")


def epoch_of(nats: float) -> int:
    """The epoch under which labels of so many nats lie in a store: 3.25 → 325."""
    if not 0 < nats < 100 or abs(round(100 * nats) / 100 - nats) > 1e-9:
        raise UsageError(f"--entropy {nats:g}: expected nats in hundredths, such as 3 or 3.25")
    return round(100 * nats)


def _staged(progress: Progress, epoch: int, _stage: str, done: int, total: int) -> None:
    progress(f"write labels of {epoch / 100:g} nats", done, total)
