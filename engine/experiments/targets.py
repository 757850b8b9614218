"""A student's targets: probabilities from stored logits, or one-hot rows. n samples, k classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def hard_targets(labels: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.float32]:
    """One-hot rows, (n,) int64 → (n, k) float32."""
    return np.eye(num_classes, dtype=np.float32)[labels]


def soft_targets(
    logits_nk: npt.NDArray[np.floating], temperature: float = 1.0
) -> npt.NDArray[np.float32]:
    """softmax(logits / temperature) by row: (n, k) logits → (n, k) float32."""
    scaled = logits_nk.astype(np.float32) / np.float32(temperature)
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
