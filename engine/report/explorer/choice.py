"""What the explorer shows: which epochs, images and classes, and the order of the classes.

Pure: arrays in, arrays out. Everything is chosen evenly and before any label is seen, so that no
image is there because its label looks well; only where there are too many classes for the matrix
do the labels decide which classes are shown beside those of the images. k classes, n samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

Ids = npt.NDArray[np.int64]


def evenly(items: Sequence[int] | Ids, most: int) -> Ids:
    """At most `most` of the items, evenly spaced in their order, the first and last among them."""
    chosen = np.asarray(items, np.int64)
    if len(chosen) <= most:
        return chosen
    return chosen[np.linspace(0, len(chosen) - 1, most).round().astype(np.int64)]


def ids_by_class(labels_n: Ids, candidates: Ids, num_classes: int) -> list[Ids]:
    """The candidates of every class, ascending: k arrays of sample ids, some perhaps empty."""
    ordered = np.sort(candidates)
    of = labels_n[ordered]
    by_class = ordered[np.argsort(of, kind="stable")]
    return np.split(by_class, np.cumsum(np.bincount(of, minlength=num_classes))[:-1])


def choose_images(
    candidates_of: Sequence[Ids],
    superclass_of: Sequence[int] | None,
    *,
    most: int,
    images_per_class: int | None,
) -> Ids:
    """Sample ids of the images to show: at most `most`, by class, kin classes side by side.

    candidates_of: ids by class. images_per_class: of every class shown; by default as many as fit,
    at least one. Classes are left out, evenly, where not all fit.
    """
    classes = [c for c in by_superclass(len(candidates_of), superclass_of) if len(candidates_of[c])]
    each = max(1, most // max(len(classes), 1)) if images_per_class is None else images_per_class
    shown = evenly(classes, max(1, most // each))
    parts = [evenly(candidates_of[c], each) for c in shown]
    return np.concatenate(parts)[:most] if parts else np.empty(0, np.int64)


def by_superclass(num_classes: int, superclass_of: Sequence[int] | None) -> list[int]:
    """All classes, those of one superclass side by side; in their own order without any."""
    if superclass_of is None:
        return list(range(num_classes))
    return sorted(range(num_classes), key=lambda c: (superclass_of[c], c))


def related_classes(mean_labels_ck: npt.NDArray[np.float64], of: Ids, wanted: int) -> Ids:
    """The classes `of`, and those that their mean labels name most; `wanted` in all, ascending.

    mean_labels_ck: row i is the mean label of class of[i].
    """
    named = mean_labels_ck.max(axis=0)
    named[of] = np.inf
    return np.sort(np.argsort(-named, kind="stable")[:wanted])


def similarity_order(mean_labels_kk: npt.NDArray[np.float64]) -> Ids:
    """Positions of the classes in an order that puts those side by side whose labels mix.

    Average linkage on the symmetrised mean labels, leaves in the optimal order.
    """
    count = len(mean_labels_kk)
    if count < 3:
        return np.arange(count, dtype=np.int64)
    mixed = (mean_labels_kk + mean_labels_kk.T) / 2
    np.fill_diagonal(mixed, 0.0)
    # The logarithm, since a few pairs mix ten times as much as all others.
    distance = -np.log(np.maximum(mixed, 1e-12))
    distance -= distance[~np.eye(count, dtype=bool)].min()
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree).astype(np.int64)
