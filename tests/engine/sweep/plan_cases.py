"""Stores of made-up labels of two experts, and plans over them, for the tests of plans."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import beton_builder
import labelstore
from engine.sweep import Trial, load_grids, plan_trials

STUDENT = {
    "student.model": "convnet-d2-w8",
    "student.epochs": 4,
    "student.evaluations": 2,
    "student.batch_size": 4,
    "student.precision": "fp32",
}
SMALL = {"ipc": [1], "expert_epochs": [4], "seeds": [0], "labels": ["soft"], **STUDENT}
EPOCHS = (0, 4, 7, 9)
VALIDATION_ACCURACY = {"ada": {4: 0.8, 7: 0.8, 9: 0.7}, "bob": {4: 0.7, 7: 0.8, 9: 0.9}}
TEST_ACCURACY = {"ada": {4: 0.6, 7: 0.8, 9: 0.8}, "bob": {4: 0.9, 7: 0.8, 9: 0.7}}


def logits_of(expert: str, epoch: int, num_samples: int) -> np.ndarray:
    generator = np.random.default_rng([len(expert), ord(expert[0]), epoch])
    return generator.normal(0, 2, (num_samples, 3)).astype(np.float32)


def write_store(
    path: Path,
    dataset: beton_builder.Dataset,
    *,
    names: Mapping[str, str] = {"ada": "ada", "bob": "bob"},
    validation: Mapping[str, Mapping[int, float]] = VALIDATION_ACCURACY,
    test: Mapping[str, Mapping[int, float]] = TEST_ACCURACY,
    views: tuple[str, ...] = ("plain",),
    epochs: tuple[int, ...] = EPOCHS,
) -> labelstore.LabelStore:
    """Two experts' made-up labels; ``names`` says what each is called in the store."""
    labels = np.asarray(dataset.split("train").labels, np.int64)
    store = labelstore.create_store(
        path, dataset_id=dataset.id, classes=dataset.classes, num_samples=len(labels)
    )
    for (expert, name), view in itertools.product(names.items(), views):
        identity = {"run_id": f"run-of-{expert}", "transform": {"name": view}}
        target = store.add_view(name, view, identity=identity)
        checkpoints = {epoch: f"{expert}{view}{epoch:04d}".encode().hex() for epoch in epochs}
        noted: dict[int, dict[str, float]] = {epoch: {} for epoch in epochs}
        for name, by_expert in (("validation_accuracy", validation), ("test_accuracy", test)):
            for epoch, accuracy in by_expert.get(expert, {}).items():
                noted.get(epoch, {})[name] = accuracy
        target.prepare(epochs, checkpoints, noted)
        with target.writer(epochs, checkpoints) as writer:
            for start, stop, missing in writer.missing_blocks():
                for epoch in missing:
                    rows = logits_of(expert, epoch, len(labels))[start:stop]
                    writer.write(epoch, start, rows, labels[start:stop])
    return labelstore.open_store(path, dataset_id=dataset.id)


def planned(
    dataset: beton_builder.Dataset, store: labelstore.LabelStore | None, **settings: Any
) -> list[Trial]:
    return plan_trials(load_grids(None, {**SMALL, "expert": "ada", **settings}), dataset, store)
