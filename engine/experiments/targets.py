"""A student's targets where no expert is asked. n samples, k classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def hard_targets(labels: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.float32]:
    """One-hot rows, (n,) int64 → (n, k) float32."""
    return np.eye(num_classes, dtype=np.float32)[labels]
