"""What an export is made from: one trial of a sweep that nobody runs, and its images and labels.

In: dataset, label store, trial. Out: the identity of the set, and what its labels turned out to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import beton_builder
import labelstore
from engine.distilled.distilled_set import mean_entropy
from engine.distilled.label_kinds import EXACT_SUM_ERROR
from engine.loading import load_resident
from engine.sweep.planning.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the set is made from: one trial of a sweep that nobody runs."""

    dataset: beton_builder.Dataset
    store: labelstore.LabelStore
    trial: Trial

    def identity(self, file_format: str) -> dict[str, Any]:
        """What decides the content; the id of the set is its hash."""
        trial, dataset = self.trial, self.dataset
        return {
            "format": file_format,
            "dataset": {
                "id": dataset.id,
                "name": dataset.name,
                "classes": list(dataset.classes),
                "channels": dataset.channels,
                "normalisation": trial.dataset.normalisation,
                "resolution": trial.student.resolution,
            },
            "subset": {
                "images_per_class": trial.ipc,
                "num_images": trial.num_images,
                "selection": trial.cell["selection"],
                "subset_seed": trial.seeds.subset_seed,
                "excluded": "validation images",
            },
            "labels": {
                "expert": trial.cell["expert"],
                "expert_epoch": trial.cell["expert_epoch"],
                "view": trial.cell["view"],
                "codec": None if trial.teacher is None else trial.teacher.codec,
                "temperature": trial.cell["temperature"],
                "transform": trial.cell["transform"],
            },
            "parents": trial.parents,
            "expert": self._expert(),
        }

    def _expert(self) -> dict[str, Any] | None:
        """The run and the epoch that labelled, and what its labels lost in the store."""
        teacher = self.trial.teacher
        if teacher is None:
            return None
        view = self.store.view(teacher.experts[0], teacher.view, teacher.codec)
        (epoch,) = teacher.epochs
        about = view.about(epoch)
        return {
            "run": view.identity.get("run_id"),
            "checkpoint": view.checkpoint_id(epoch),
            "labelled_as": view.identity.get("transform"),
            "test_accuracy": about.get("test_accuracy"),
            "train_accuracy": about.get("train_accuracy"),
            "codec_error": view.codec_error(epoch),
            "label_entropy_of_all_images": float(view.entropy(epoch).mean(dtype=np.float64)),
        }

    def figures(
        self, ids: npt.NDArray[np.int64], targets_nk: npt.NDArray[np.float32]
    ) -> dict[str, Any]:
        """What the labels of the set turned out to be."""
        agrees = targets_nk.argmax(axis=1) == self.classes_of(ids)
        sums = targets_nk.sum(axis=1, dtype=np.float64)
        sum_to_one = bool(np.abs(sums - 1).max() <= EXACT_SUM_ERROR)  # not those of top-k:4,keep
        return {
            "figures": {
                "label_entropy": mean_entropy(targets_nk) if sum_to_one else None,
                "label_sum": 1.0 if sum_to_one else float(sums.mean()),
                "top_label_is_class": float(agrees.mean()),
            }
        }

    def classes_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Class numbers (n,) of the images with these sample ids (n,)."""
        with self.dataset.split("train") as train:
            return np.asarray(train.labels[ids], np.int64)

    def pixels_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """These images (n, h, w, c) as students see them, all in memory."""
        side = self.trial.shape.resolution
        images = load_resident(self.dataset, "train", indices=ids, resolution=side).images
        return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
