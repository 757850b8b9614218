"""Choosing a student's images, by name. Pure: labels in, sample ids out.

A selection is a function of (labels, candidates, images per class, seed, class names) to sample
ids; adding one is one decorated function. n samples, k classes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError

Selection = Callable[
    [npt.NDArray[np.int64], npt.NDArray[np.int64], int, int, tuple[str, ...]],
    npt.NDArray[np.int64],
]

_KNOWN: dict[str, Selection] = {}


def selection(name: str) -> Callable[[Selection], Selection]:
    """Register a way to choose images under a name that grids can use."""

    def register(function: Selection) -> Selection:
        _KNOWN[name] = function
        return function

    return register


def selection_named(name: str) -> Selection:
    """The selection of that name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    if name not in _KNOWN:
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(_KNOWN))}"
        raise UsageError(f"unknown selection {name!r}; {hint}")
    return _KNOWN[name]


@selection("random")
def select_random(
    labels: npt.NDArray[np.int64],
    candidates: npt.NDArray[np.int64],
    images_per_class: int,
    subset_seed: int,
    classes: tuple[str, ...],
) -> npt.NDArray[np.int64]:
    """``images_per_class`` random images of every class (PROTOCOL.md §1, image selection).

    Subsets of one seed are nested: those of a smaller IPC lie within those of a larger one, which
    pairs the cells of a grid. Each sample's rank depends on the seed and its own id alone.

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
    from engine.augment import philox_uniform, stream_key

    if images_per_class < 1:
        raise UsageError(f"images per class must be at least 1, not {images_per_class}")
    drawn = philox_uniform(stream_key("subset", subset_seed, 0), candidates)[:, 0]
    order = np.lexsort((candidates, drawn, labels[candidates]))
    chosen_class = labels[candidates][order]
    counts = np.bincount(chosen_class, minlength=len(classes))
    smallest = int(counts.argmin())
    if counts[smallest] < images_per_class:
        raise UsageError(
            f"IPC {images_per_class} is larger than the smallest class: "
            f"{classes[smallest]!r} has {counts[smallest]} images to choose from "
            f"(validation images excluded). Choose an --ipc up to {counts[smallest]}."
        )
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    within = np.arange(len(order)) - first[chosen_class]
    return candidates[order[within < images_per_class]]
