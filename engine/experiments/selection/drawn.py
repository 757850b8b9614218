"""Images drawn at random, of all classes or of all but one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.experiments.selection.named import Counts, Selection, every_image, selection
from engine.experiments.selection.pool import Pool, drawn_order, first_of_each_class


@selection()
def random(pool: Pool, images_per_class: int, subset_seed: int) -> npt.NDArray[np.int64]:
    """Random images of every class (docs/protocol.md §1, image selection).

    Subsets of one seed are nested: those of a smaller IPC lie within those of a larger one, which
    pairs the cells of a grid. Each sample's rank depends on the seed and its own id alone.
    """
    return first_of_each_class(pool, images_per_class, drawn_order(pool, subset_seed))


def _all_but(counts_k: Counts, number: int) -> dict[int, int]:
    if not 0 <= number < len(counts_k):
        raise UsageError(
            f"selection drop-class:{number}: this dataset has {len(counts_k)} classes, expected a "
            f"number from 0 to {len(counts_k) - 1}"
        )
    if len(counts_k) == 1:
        raise UsageError(f"selection drop-class:{number} leaves no class: this dataset has one")
    return {each: count for each, count in every_image(counts_k).items() if each != number}


@selection(offers=_all_but)
def drop_class(
    pool: Pool, images_per_class: int, subset_seed: int, number: int
) -> npt.NDArray[np.int64]:
    """The images of `random` without those of one class, which is given by its number.

    The subset has images_per_class × (k − 1) images; what the student knows of the class, it knows
    from the labels of the others.
    """
    left = pool.candidates[pool.candidate_classes != number]
    return random(replace(pool, candidates=left), images_per_class, subset_seed)


def select_random(
    labels: npt.NDArray[np.int64],
    candidates: npt.NDArray[np.int64],
    images_per_class: int,
    subset_seed: int,
    classes: tuple[str, ...],
) -> npt.NDArray[np.int64]:
    """``images_per_class`` random images of every class, as the selection ``random``.

    Args:
        labels: (n,) int64, the class of every sample of the split.
        candidates: (m,) int64, sample ids to choose from.
        images_per_class: how many of each class.
        subset_seed: of the choice.
        classes: names, for the error.

    Returns:
        (k × images_per_class,) int64 sample ids, by class, then in the order drawn.

    Raises:
        UsageError: a class has fewer candidates.
    """
    pool = Pool(labels=labels, candidates=candidates, classes=classes)
    return Selection("random")(pool, images_per_class, subset_seed)
