"""A small set of images and labels, for writers of every format, and students that take seconds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import beton_builder
import engine
import labelstore
from engine.experiments import select_random

CLASSES = ("ant", "bee", "cat")
SIDE = 16
FORMATS = ("parquet", "webdataset", "npz")
QUICK = {
    "student.model": "convnet-d2-w8",
    "student.epochs": 4,
    "student.evaluations": 2,
    "student.precision": "fp32",
}


class Pixels(NamedTuple):
    """images_nhwc uint8, class numbers (n,), probabilities (n, k) float32, two of each class."""

    images_nhwc: np.ndarray
    classes_n: np.ndarray
    soft_nk: np.ndarray


def make_pixels(seed: int = 0, per_class: int = 2) -> Pixels:
    generator = np.random.default_rng(seed)
    classes_n = np.repeat(np.arange(len(CLASSES)), per_class)
    images = generator.integers(0, 256, (len(classes_n), SIDE, SIDE, 3)).astype(np.uint8)
    soft_nk = generator.dirichlet(np.ones(len(CLASSES)), len(classes_n)).astype(np.float32)
    return Pixels(images, classes_n, soft_nk)


def normalised(images_nhwc: np.ndarray, mean, std) -> np.ndarray:
    """float32 (n, c, h, w), as torchvision's ToTensor and Normalize make them."""
    unit = images_nhwc.astype(np.float64) / 255
    return ((unit - np.array(mean)) / np.array(std)).astype(np.float32).transpose(0, 3, 1, 2)


def png_of(image: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(image).save(target, "PNG")
    return target.getvalue()


def evaluate(data: Path, path: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Two quick students, in this process."""
    given = {"seeds": [0, 1], "workers": 1, "overrides": QUICK, **options}
    return engine.evaluate_distilled(data, path, out, **given)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


class Expected:
    """What the exports of conftest.py must hold, taken from dataset and store by other means."""

    def __init__(self, data: Path, store: Path) -> None:
        dataset = beton_builder.open_dataset(data)
        split = dataset.split("train")
        allowed = np.setdiff1d(np.arange(split.num_samples), dataset.validation_indices)
        self.labels = np.asarray(split.labels)
        self.ids = select_random(self.labels, allowed, 4, 3, CLASSES)
        self.images_nhwc = np.stack([split.image(int(i)) for i in self.ids])
        view = labelstore.open_store(store).view()
        self.soft_nk = view.probabilities(2, self.ids)
