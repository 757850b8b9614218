"""Labels whose structure is kept on one level of the classes' hierarchy, and even on the other.

Together they ask which level carries what soft labels teach: which classes of its own superclass a
sample resembles, or which superclasses. Both flatten wrong top classes and leave the true class its
probability, so it becomes the top class more often (CIFAR-100, IPC 10, expert epoch 15: of 67 and
62 % of the labels, against 37 %), which helps a student for a reason of its own.

n samples, k classes, s superclasses.
"""

from __future__ import annotations

import numpy as np

from engine.experiments.label_transforms.registry import label_transform
from engine.experiments.label_transforms.samples import Probabilities, Samples


@label_transform(needs_superclasses=True)
def within_superclasses(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """Kept inside the true class's superclass; the mass outside is spread evenly outside.

    Preserves every probability inside the superclass, the true class's among them, and the mass of
    both sides; the top class where it lies inside. The entropy only grows.
    """
    assert samples.superclass_of is not None
    own_n = samples.superclass_of[samples.labels]
    outside_nk = own_n[:, None] != samples.superclass_of
    mass_n = np.where(outside_nk, probabilities_nk.astype(np.float64), 0).sum(axis=1)
    even_n = mass_n / np.maximum(outside_nk.sum(axis=1), 1)
    return np.where(outside_nk, even_n[:, None].astype(np.float32), probabilities_nk)


@label_transform(needs_superclasses=True)
def between_superclasses(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """The mass of each superclass kept and spread evenly over its classes, but for the true class.

    Preserves the true class's own probability and the mass of every superclass; in the true class's
    superclass its other classes share what it leaves them. The entropy only grows.
    """
    assert samples.superclass_of is not None
    _, superclass_of, sizes = np.unique(
        samples.superclass_of, return_inverse=True, return_counts=True
    )
    tail_nk = probabilities_nk.astype(np.float64)
    tail_nk[samples.rows, samples.labels] = 0
    side_by_side = superclass_of.argsort(kind="stable")
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    mass_ns = np.add.reduceat(np.take(tail_nk, side_by_side, axis=1), first, axis=1)
    count_ns = np.repeat(sizes[None, :], len(tail_nk), axis=0)
    count_ns[samples.rows, superclass_of[samples.labels]] -= 1
    even_ns = (mass_ns / np.maximum(count_ns, 1)).astype(np.float32)
    even_nk = np.take(even_ns, superclass_of, axis=1)
    even_nk[samples.rows, samples.labels] = probabilities_nk[samples.rows, samples.labels]
    return even_nk
