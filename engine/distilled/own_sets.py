"""Folders that this program wrote: exports and learned labels, with what their manifests say.

In: the folder. Out: `Found`, with the ids of its images and the dataset that they are of, so that a
student is trained as on the same images in a sweep.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.destination import kind_of
from engine.distilled.array_files import load_npz
from engine.distilled.artefact import is_export, require_whole
from engine.distilled.found import Found
from engine.distilled.label_kinds import EXACT_SUM_ERROR
from engine.distilled.shard_readers import read_parquet, read_webdataset
from engine.experiments.learned_labels import read_learned
from engine.experiments.learned_labels.folder import KIND as LEARNED


def is_own(path: Path) -> bool:
    """Whether a folder says that it is one of these, damaged or not."""
    return is_export(path) or kind_of(path) == LEARNED


def read_own(path: Path) -> Found:
    """What such a folder holds.

    Raises:
        ArtefactError: its labels were not learned to the end.
        DamageError: its bytes are not those that were written.
    """
    return _export(path) if is_export(path) else _learned_labels(path)


def _export(path: Path) -> Found:
    manifest = require_whole(path)
    if manifest["format"] == "npz":
        arrays = load_npz(path / "data" / "train.npz")
        found = Found(
            images=arrays["images"],
            classes_n=arrays["labels"],
            soft_nk=arrays["soft_labels"],
            soft_name="soft_labels",
            ids=arrays["sample_ids"],
            format="npz",
        )
    else:
        # Those that were checked, and no other that lies beside them.
        files = [path / name for name in sorted(manifest["files"]) if name.startswith("data/")]
        read = read_parquet if manifest["format"] == "parquet" else read_webdataset
        found = read(files, path)
    assert found.soft_nk is not None
    sums = found.soft_nk.sum(axis=1, dtype=np.float64)
    return replace(
        found,
        class_names=tuple(manifest["dataset"]["classes"]),
        dataset_id=manifest["dataset"]["id"],
        own_export=True,
        # Its soft labels are what a sweep's students were taught, whatever they look like: those
        # of `top-k:4,keep` don't sum to 1.
        soft_name="probabilities" if np.abs(sums - 1).max() <= EXACT_SUM_ERROR else "weights",
    )


def _learned_labels(path: Path) -> Found:
    """The images of a folder of learned labels, with the labels as their last run left them."""
    learned = read_learned(path)
    dataset = learned.manifest["dataset"]
    return Found(
        images=load_npz(path / "distilled.npz")["images"],
        classes_n=learned.labels,
        soft_nk=learned.probabilities_nk,
        soft_name="probabilities",
        ids=learned.ids,
        class_names=tuple(dataset["classes"]),
        format=LEARNED,
        dataset_id=dataset["id"],
        own_export=True,
    )
