"""A small set of images and labels, for writers of every format, and students that take seconds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CLASSES = ("ant", "bee", "cat")
SIDE = 16
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
