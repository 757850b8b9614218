"""What the suite `sweep` works on: CIFAR-100, whole or a few images of a class, and its labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

import beton_builder
import labelstore
from benchmarks import synthetic_labels
from benchmarks.suite import find_data
from benchmarks.synthetic_labels import SyntheticLogits

SOURCE = "cifar100"
NUM_CLASSES = 100


def build_cifar100(
    workspace: Path, *, train_per_class: int | None = None, test_per_class: int | None = None
) -> beton_builder.Dataset:
    """The dataset in ``workspace/data``; without numbers, all of its images.

    Raises DataMissing.
    """
    source = find_data(SOURCE)
    if train_per_class is not None or test_per_class is not None:
        some = workspace / "source"
        some.mkdir()
        for split, number in (("train", train_per_class), ("test", test_per_class)):
            for file in source.glob(f"{split}*.parquet"):
                _copy_first(file, some / file.name, number)
        source = some
    beton_builder.build_beton(source, workspace / "data")
    return beton_builder.open_dataset(workspace / "data")


def made_up_labels(
    path: Path, dataset: beton_builder.Dataset, epochs: Iterable[int]
) -> labelstore.LabelStore:
    """A store that holds labels of that dataset which no expert ever gave."""
    chosen = list(epochs)
    labels = np.asarray(dataset.split("train").labels, np.int64)
    store = labelstore.create_store(
        path, dataset_id=dataset.id, classes=dataset.classes, num_samples=len(labels)
    )
    view = synthetic_labels.add_view(store)
    logits = SyntheticLogits(dataset.num_classes)
    with view.writer(chosen, synthetic_labels.checkpoint_ids(chosen)) as writer:
        for start, stop, missing in writer.missing_blocks():
            for epoch in missing:
                logits_bc, _ = logits.block(epoch, start, stop)
                writer.write(epoch, start, logits_bc, labels[start:stop])
    return labelstore.open_store(path, dataset_id=dataset.id)


def _copy_first(file: Path, copy: Path, per_class: int | None) -> None:
    """The first images of every class (all, without a number)."""
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    by_class = np.argsort(table["fine_label"].to_numpy(), kind="stable").reshape(NUM_CLASSES, -1)
    pq.write_table(table.take(np.sort(by_class[:, :per_class].ravel())), copy)
