"""Images by how hard they are for an expert: its cross-entropy with the true class.

Within each class the candidates are sorted by difficulty (ties: lower id first) and cut into ten
deciles, 0 the easiest and 9 the hardest, whose sizes differ by at most one (docs/protocol.md §1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.experiments.selection.named import Counts, every_image, selection
from engine.experiments.selection.pool import (
    Pool,
    drawn_order,
    first_of_each_class,
    ranks_within,
)

NUM_DECILES = 10

SPREAD = np.array([0, 5, 2, 7, 4, 9, 1, 6, 3, 8])
"""Steps from a class's first decile to its next ones: any first few of them lie far apart."""


def _in_decile(counts_k: Counts, decile: int) -> dict[int, int]:
    if not 0 <= decile < NUM_DECILES:
        raise UsageError(
            f"selection difficulty:{decile}: expected a decile from 0 (easiest) to 9 (hardest)"
        )
    first, end = (-(-each * counts_k // NUM_DECILES) for each in (decile, decile + 1))
    return every_image(end - first)


@selection(needs="difficulty", offers=_in_decile)
def difficulty(
    pool: Pool, images_per_class: int, subset_seed: int, decile: int
) -> npt.NDArray[np.int64]:
    """Random images of one decile of every class, in the order in which `random` draws them."""
    outside = _deciles(pool) != decile
    return first_of_each_class(pool, images_per_class, outside, drawn_order(pool, subset_seed))


@selection(needs="difficulty")
def stratified(pool: Pool, images_per_class: int, subset_seed: int) -> npt.NDArray[np.int64]:
    """One random image of each decile in turn: 10 images per class are one of each.

    Deciles of a class differ by at most one image, as long as they have any left. A class starts
    from a decile that the seed draws for it, and goes on half the range away (`SPREAD`): 2 images
    per class are of deciles five apart, 5 of every second one or so. So over all classes each
    decile is equally likely, with one image per class too.
    """
    from engine.augment import philox_uniform, stream_key

    of_class, decile = pool.candidate_classes, _deciles(pool)
    numbers = np.arange(len(pool.classes))
    drawn_k = philox_uniform(stream_key("stratum", subset_seed, 0), numbers)[:, 0]
    steps = (decile - (drawn_k * NUM_DECILES).astype(np.int64)[of_class]) % NUM_DECILES
    stratum = of_class * NUM_DECILES + decile
    turn = ranks_within(stratum, drawn_order(pool, subset_seed), pool.candidates)
    return first_of_each_class(pool, images_per_class, turn, np.argsort(SPREAD)[steps])


def _deciles(pool: Pool) -> npt.NDArray[np.int64]:
    """The decile of every candidate within its class, (m,) int64."""
    assert pool.difficulty is not None
    nats = pool.difficulty[pool.candidates]
    if not np.isfinite(nats).all():
        sample = pool.candidates[int(np.flatnonzero(~np.isfinite(nats))[0])]
        raise UsageError(
            f"the expert's cross-entropy of sample {sample} is {pool.difficulty[sample]}, so its "
            "images have no order: choose another epoch of it, such as difficulty:0@13"
        )
    of_class = pool.candidate_classes
    ranks = ranks_within(of_class, nats, pool.candidates)
    return ranks * NUM_DECILES // pool.counts[of_class]
