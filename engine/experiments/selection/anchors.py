"""Images that cover a class, or have its mean: k-centre and herding on an expert's features.

A label store holds logits, not the penultimate features that the literature uses. Logits are a
linear image of those, and what softmax ignores is taken out of them by centring each row
(`centred`), so they stand in for the features here.

Both are deterministic given the features: the seed has no influence, ties go to the lowest id. They
add one image after the other, so subsets are nested over images per class. For one class, i images
of n with d features take i × n × d steps; 40 of each class of CIFAR-100 take 0.3 s of one core.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.experiments.selection.named import selection
from engine.experiments.selection.pool import Pool

Features = npt.NDArray[np.float64]


def centred(logits_nk: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Logits less the mean of their row, float32 (n, k): what softmax sees of them."""
    logits = logits_nk.astype(np.float32)
    return logits - logits.mean(axis=1, keepdims=True)


@selection(needs="features", seeded=False)
def k_centre(pool: Pool, images_per_class: int, subset_seed: int) -> npt.NDArray[np.int64]:
    """Greedy k-centre (Gonzalez 1985; as a core-set, Sener & Savarese 2018), within each class.

    First the image nearest the class mean, then always the one farthest from those chosen.
    """
    return _within_each_class(pool, images_per_class, _farthest_first)


@selection(needs="features", seeded=False)
def herding(pool: Pool, images_per_class: int, subset_seed: int) -> npt.NDArray[np.int64]:
    """Herding (Welling 2009, in the form of Rebuffi et al. 2017), within each class.

    Always the image with which the mean of those chosen comes nearest to the class mean; none is
    taken twice.
    """
    return _within_each_class(pool, images_per_class, _nearest_mean)


def _within_each_class(
    pool: Pool, images_per_class: int, choose: Callable[[Features, int], list[int]]
) -> npt.NDArray[np.int64]:
    assert pool.features is not None
    candidates = np.sort(pool.candidates)
    by_class = candidates[np.argsort(pool.labels[candidates], kind="stable")]
    chosen = []
    for ids in np.split(by_class, np.cumsum(pool.counts)[:-1]):
        features_nd = np.asarray(pool.features[ids], np.float64)
        if not np.isfinite(features_nd).all():
            raise UsageError(
                f"the expert's logits of class {pool.classes[pool.labels[ids[0]]]!r} are not all "
                "finite, so its images have no distances: choose another epoch of it"
            )
        chosen.append(ids[choose(features_nd, images_per_class)])
    return np.concatenate(chosen)


def _farthest_first(features_nd: Features, count: int) -> list[int]:
    chosen = [int(_squares_from(features_nd, features_nd.mean(axis=0)).argmin())]
    nearest_n = _squares_from(features_nd, features_nd[chosen[0]])
    while len(chosen) < count:
        nearest_n[chosen[-1]] = -1.0  # below any other, of its copies too
        chosen.append(int(nearest_n.argmax()))
        nearest_n = np.minimum(nearest_n, _squares_from(features_nd, features_nd[chosen[-1]]))
    return chosen


def _nearest_mean(features_nd: Features, count: int) -> list[int]:
    mean_d = features_nd.mean(axis=0)
    total_d = np.zeros_like(mean_d)
    chosen: list[int] = []
    for size in range(1, count + 1):
        # |mean − (total + x) / size| is least where x is nearest to this.
        away_n = _squares_from(features_nd, size * mean_d - total_d)
        away_n[chosen] = np.inf
        chosen.append(int(away_n.argmin()))
        total_d += features_nd[chosen[-1]]
    return chosen


def _squares_from(features_nd: Features, point_d: Features) -> Features:
    """Squared distance of every row from a point, (n,)."""
    return np.square(features_nd - point_d).sum(axis=1)
