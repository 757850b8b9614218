"""Labels that say nothing of one class: what a student learns of it from its own images alone.

The selection `drop-class` is the other half of the experiment: labels without images.
n samples, k classes.
"""

from __future__ import annotations

import numpy as np

from engine.experiments.label_transforms.registry import label_transform, require_whole
from engine.experiments.label_transforms.samples import Probabilities, Samples


@label_transform()
def drop_class_column(probabilities_nk: Probabilities, samples: Samples, c: int) -> Probabilities:
    """Class c gets 0 in the labels of all other classes' samples, which are renormalised.

    Preserves the rows of class c's own samples, and in all others the ratios of what remains. A row
    that had everything at c, against its true class, becomes its true class alone.
    """
    num_classes = probabilities_nk.shape[1]
    require_whole(f"drop-class-column:{c}", c, 0, num_classes - 1, "classes count from 0")
    exact_nk = probabilities_nk.astype(np.float64)
    exact_nk[:, c] = 0
    nothing_left = exact_nk.sum(axis=1) == 0
    exact_nk[nothing_left, samples.labels[nothing_left]] = 1
    exact_nk /= exact_nk.sum(axis=1, keepdims=True)
    own = (samples.labels == c)[:, None]
    return np.where(own, probabilities_nk, exact_nk.astype(np.float32))
