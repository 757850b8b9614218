"""Take labels made elsewhere into a store: a dataset's identity, and `labelstore`'s import.

In: a dataset and a file of labels of its train split. Out: a label store, as of `dump_labels`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import beton_builder
import labelstore
from engine.training.launch import Progress


def import_labels(
    data: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    expert: str,
    epoch: int = 0,
    values: str = "auto",
    column: str | None = None,
    index_column: str | None = None,
    codec: str = "dense",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write labels made elsewhere into a label store, as one epoch of an expert.

    Args:
        data: the dataset whose train split the labels describe.
        source: an .npz file, or a parquet file or folder; see `labelstore.import_labels`, which
            also takes a teacher that is a function.
        out: the store, created where it is missing, else extended.
        expert: the teacher's name inside the store.
        epoch: which of its epochs these labels become.
        values: ``"logits"``, ``"probabilities"``, or ``"auto"`` to go by the column's name.
        column, index_column: names of the arrays or columns, where they are others than usual.
        codec: how labels are stored.
        dry_run: check the file, return the plan and write nothing.

    Raises:
        labelstore.LabelStoreError: the file is not one row for every sample of this dataset, or the
            store belongs to another one.
    """
    dataset = beton_builder.open_dataset(data)
    with dataset.split("train") as train:
        labels = train.labels.astype("int64")
    return labelstore.import_labels(
        out,
        Path(source),
        dataset_id=dataset.id,
        classes=dataset.classes,
        labels=labels,
        expert=expert,
        epoch=epoch,
        values=values,
        column=column,
        index_column=index_column,
        codec=codec,
        dry_run=dry_run,
        progress=progress,
    )
