"""A distilled set in memory: what a student is trained on, and what was found out about it.

n images, c channels, h and w pixels, k classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.records import canonical_json

SCALES = ("bytes", "unit", "normalised")
"""What pixel values are: 0 to 255, 0 to 1, or network inputs, by the dataset's mean and std."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a file doesn't say: ``about`` what, what it was taken as, and why."""

    about: str
    taken_as: str
    because: str


@dataclass(frozen=True, kw_only=True)
class DistilledSet:
    """Images and their targets, from whatever they were read.

    images_nchw: uint8 where ``scale`` is "bytes", else float32. targets_nk: float32 (n, k), what
    the student's cross-entropy is taken against; ``label_kind`` says what they were made of.
    labels: int64 (n,), the class of each image, or the one with most of its label. ids: int64
    (n,), positions in the train split of the dataset that the images are from, where that is
    known. classes: names in the order of the columns, where the source says them.
    """

    images_nchw: Tensor
    scale: str
    targets_nk: npt.NDArray[np.float32]
    label_kind: str
    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    name: str
    format: str
    findings: tuple[Finding, ...]

    @property
    def normalised(self) -> bool:
        """Whether the images are network inputs already."""
        return self.scale == "normalised"

    @property
    def num_images(self) -> int:
        return len(self.targets_nk)

    @property
    def num_classes(self) -> int:
        return int(self.targets_nk.shape[1])

    @property
    def images_per_class(self) -> float:
        """Images over classes; a whole number where classes are balanced."""
        return self.num_images / self.num_classes

    @cached_property
    def id(self) -> str:
        """16 hex digits of the content: pixels, what they mean, targets and ids."""
        digest = hashlib.sha256()
        parts = [self.images_nchw.contiguous().numpy(), self.targets_nk]
        parts += [] if self.ids is None else [self.ids]
        digest.update(canonical_json([self.scale, *((p.shape, p.dtype.str) for p in parts)]))
        for part in parts:
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]

    def mean_entropy(self) -> float | None:
        """Of the targets, in nats; None where they are no probabilities."""
        if self.label_kind == "weights":
            return None
        return mean_entropy(self.targets_nk)

    def describe(self) -> dict[str, Any]:
        """Plain values for records and for people."""
        per_class = np.bincount(self.labels, minlength=self.num_classes)
        return {
            "id": self.id,
            "name": self.name,
            "format": self.format,
            "num_images": self.num_images,
            "num_classes": self.num_classes,
            "images_per_class": self.images_per_class,
            "fewest_of_a_class": int(per_class.min()),
            "most_of_a_class": int(per_class.max()),
            "channels": int(self.images_nchw.shape[1]),
            "resolution": int(self.images_nchw.shape[2]),
            "images": self.scale,
            "labels": self.label_kind,
            "label_entropy": self.mean_entropy(),
            "findings": [asdict(finding) for finding in self.findings],
        }


def mean_entropy(probabilities_nk: npt.NDArray[np.float32]) -> float:
    """Mean entropy of rows of probabilities, in nats."""
    rows = probabilities_nk.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(rows > 0, rows * np.log(rows), 0.0)
    return float(-terms.sum(axis=1).mean())


def tensor_of(array: npt.NDArray[Any]) -> Tensor:
    """A tensor of its own memory, whatever the array's strides and byte order."""
    return torch.from_numpy(np.array(array, order="C"))
