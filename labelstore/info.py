"""What is in a store, as numbers.

In: the folder of a store. Out: a plain dict. Reads the statistics (4 bytes a sample and epoch), no
logits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .store import open_store
from .view import LabelView


def store_info(path: str | Path) -> dict[str, Any]:
    """Size on disk, experts and views, their epochs, mean entropies and checkpoints.

    Returns {"kind", "id", "path", "dataset_id", "num_samples", "num_classes", "chunk_rows",
    "bytes", "views": [{"expert", "view", "codec", "crops", "id", "identity", "bytes",
    "bytes_per_sample", "epochs", "unfinished_epochs", "missing_epochs", "checkpoints": {"13": id},
    "mean_entropy": {"13": nats}, "mean_cross_entropy": {"13": nats}, "codec_errors": {"13":
    {"max_abs", "kl_mean", "kl_worst", "against"}}}]}, one entry for every codec of a view.
    `bytes_per_sample` is what the labels of a sample take at one epoch. `missing_epochs` are
    positions below the last epoch of the axis that were never begun. Means are over all samples of
    a complete epoch. Raises StoreNotFound, DamagedStore.
    """
    path = Path(path)
    store = open_store(path)
    return {
        "kind": "label-store",
        "id": store.id,
        "path": str(path),
        "dataset_id": store.dataset_id,
        "num_samples": store.num_samples,
        "num_classes": store.num_classes,
        "chunk_rows": store.geometry.chunk_rows,
        "bytes": _bytes_below(path),
        "views": [
            _view_info(store.view(*names, codec))
            for names in store.views()
            for codec in store.codecs(*names)
        ],
    }


def _view_info(view: LabelView) -> dict[str, Any]:
    epochs, checkpoints = view.epochs, view.checkpoints
    axis = range(max(checkpoints, default=-1) + 1)
    return {
        "expert": view.expert,
        "view": view.name,
        "codec": view.codec,
        "crops": view.crops,
        "id": view.id,
        "identity": view.identity,
        "bytes": sum(_bytes_below(view.folder / each.name) for each in view.geometry.arrays),
        "bytes_per_sample": view.geometry.rows.row_bytes,
        "epochs": list(epochs),
        "unfinished_epochs": sorted(set(checkpoints) - set(epochs)),
        "missing_epochs": [epoch for epoch in axis if epoch not in checkpoints],
        "checkpoints": {str(epoch): checkpoints[epoch] for epoch in sorted(checkpoints)},
        "mean_entropy": {
            str(epoch): float(np.mean(view.entropy(epoch), dtype=np.float64)) for epoch in epochs
        },
        "mean_cross_entropy": {
            str(epoch): float(np.mean(view.cross_entropy(epoch), dtype=np.float64))
            for epoch in epochs
        },
        "codec_errors": {str(epoch): view.codec_error(epoch) for epoch in epochs},
    }


def _bytes_below(folder: Path) -> int:
    """Bytes that files below `folder` take on the disk."""
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())
