"""What the ranks of the classes within a label are worth: exchanged, shuffled, cut off.

Classes of equal probability rank by their number, the lower one first. n samples, k classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.experiments.label_transforms.registry import label_transform, require_whole
from engine.experiments.label_transforms.samples import Probabilities, Samples, draw_rows


@label_transform()
def swap_ith(probabilities_nk: Probabilities, samples: Samples, i: int) -> Probabilities:
    """The i-th largest probability changes places with the smallest (the paper's Fig. 2a).

    Args:
        probabilities_nk: float32 (n, k).
        samples: n of them.
        i: rank from 1, the largest, to k - 1.

    Preserves the entropy (the same numbers at other classes), and the top class where i > 1.
    """
    num_classes = probabilities_nk.shape[1]
    require_whole(f"swap-ith:{i}", i, 1, num_classes - 1, f"there are {num_classes} classes")
    ranked_nk = _classes_by_rank(probabilities_nk)
    swapped_nk = probabilities_nk.copy()
    for at, of in ((i - 1, -1), (-1, i - 1)):
        value_n = probabilities_nk[samples.rows, ranked_nk[:, of]]
        swapped_nk[samples.rows, ranked_nk[:, at]] = value_n
    return swapped_nk


@label_transform()
def shuffle_tail(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """The top class stays, the probabilities of all others are permuted (the paper's Fig. 2b).

    Each sample has its own permutation, drawn from (seed, sample id); every one is equally likely.
    Preserves the entropy and the top class with its probability. The true class keeps its
    probability only where it is the top class.
    """
    num_samples, num_classes = probabilities_nk.shape
    in_tail_nk = np.arange(num_classes) != probabilities_nk.argmax(axis=1)[:, None]
    tails = probabilities_nk[in_tail_nk].reshape(num_samples, num_classes - 1)
    drawn = draw_rows("shuffle-tail", samples.seed, samples.ids, num_classes - 1)
    shuffled_nk = probabilities_nk.copy()
    shuffled_nk[in_tail_nk] = np.take_along_axis(
        tails, drawn.argsort(axis=1, kind="stable"), axis=1
    ).ravel()
    return shuffled_nk


@label_transform()
def top_k(
    probabilities_nk: Probabilities, samples: Samples, k: int, keep: bool = False
) -> Probabilities:
    """The k largest probabilities; the others become 0.

    What remains is divided by its sum, so that the labels' mass, and with it the step a learning
    rate means, does not depend on k (docs/protocol.md §3, trap 6). ``top-k:4,keep`` leaves it as it
    is: the one transform after which rows may sum to less than 1. Preserves the top class, the
    ranks of the classes kept and, renormalised, their ratios.
    """
    num_classes = probabilities_nk.shape[1]
    require_whole(f"top-k:{k}", k, 1, num_classes, f"there are {num_classes} classes")
    cut_nk = probabilities_nk.copy()
    np.put_along_axis(cut_nk, _classes_by_rank(probabilities_nk)[:, k:], 0, axis=1)
    if keep:
        return cut_nk
    exact_nk = cut_nk.astype(np.float64)
    return (exact_nk / exact_nk.sum(axis=1, keepdims=True)).astype(np.float32)


def _classes_by_rank(probabilities_nk: Probabilities) -> npt.NDArray[np.int64]:
    return np.argsort(-probabilities_nk, axis=1, kind="stable")
