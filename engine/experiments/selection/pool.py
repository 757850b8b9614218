"""What images are chosen from, and how some of each class are taken in a given order.

n samples of the train split, m candidates among them, k classes, d features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class RowsById(Protocol):
    """Features by sample id: an array (n, d), or what reads rows when they are asked for."""

    def __getitem__(self, ids: Ids, /) -> npt.NDArray[np.float32]:
        """float32 (len(ids), d)."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Images to choose from, and what an expert makes of them.

    labels: (n,) int64, the class of every sample of the split. candidates: (m,) int64, sample ids
    that may be chosen. classes: names, for errors. difficulty: (n,) float32, the expert's
    cross-entropy with the true class, in nats. features: (n, d) float32, by sample id. The last
    two are there for selections that need them.
    """

    labels: npt.NDArray[np.int64]
    candidates: Ids
    classes: tuple[str, ...]
    difficulty: npt.NDArray[np.float32] | None = None
    features: RowsById | None = None

    @property
    def candidate_classes(self) -> npt.NDArray[np.int64]:
        """The class of every candidate, (m,) int64."""
        return self.labels[self.candidates]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Candidates of every class, (k,) int64."""
        return np.bincount(self.candidate_classes, minlength=len(self.classes))


def drawn_order(pool: Pool, subset_seed: int) -> npt.NDArray[np.float64]:
    """A uniform number for every candidate, (m,) float64: of the seed and its own id alone.

    Whatever takes images in this order has nested subsets, and shares images with `random`.
    """
    from engine.augment import philox_uniform, stream_key

    return philox_uniform(stream_key("subset", subset_seed, 0), pool.candidates)[:, 0]


def ranks_within(groups: npt.NDArray[np.int64], *keys: npt.NDArray[np.generic]) -> Ids:
    """The place of every element among those of its group, (m,) int64 from 0.

    Args:
        groups: (m,) int64 from 0.
        keys: (m,) each, what the order within a group goes by, first things first.
    """
    order = np.lexsort((*reversed(keys), groups))
    counts = np.bincount(groups)
    first = np.cumsum(counts) - counts
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - first[groups[order]]
    return ranks


def first_of_each_class(
    pool: Pool, images_per_class: int, *keys: npt.NDArray[np.generic]
) -> npt.NDArray[np.int64]:
    """The candidates that come first in their class: ids by class, then in that order.

    Args:
        keys: (m,) each, what the order goes by, first things first; ties go to the lowest id.
    """
    of_class = pool.candidate_classes
    ranks = ranks_within(of_class, *keys, pool.candidates)
    chosen = np.flatnonzero(ranks < images_per_class)
    return pool.candidates[chosen[np.lexsort((ranks[chosen], of_class[chosen]))]]
