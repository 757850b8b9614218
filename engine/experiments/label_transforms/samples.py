"""What rows of probabilities describe, and what is drawn for them.

n samples, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Population:
    """What an expert's labels of all images that students may see have in common.

    Those are the images of train less validation, and the labels are softened by the temperature at
    the composition's head. class_means_kk: (k, k) float32, row c is the mean label of the images of
    class c. co_occurrence_kk: (k, k) float32, the mean of p_i p_j over all images; symmetric.
    """

    class_means_kk: Probabilities
    co_occurrence_kk: Probabilities


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the rows of probabilities describe.

    labels: (n,) int64, the true class of each. ids: (n,) int64, positions in the train split; what
    a transform draws for a sample is keyed on its id, so that it does not depend on the others.
    seed: of everything that is drawn, 32 bits. superclass_of: (k,) int64, the superclass of every
    class, where the dataset has them. population: what the expert's labels have in common, where a
    transform needs it.
    """

    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    seed: int
    superclass_of: npt.NDArray[np.int64] | None = None
    population: Population | None = None

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Positions of the rows, (n,): with ``labels``, the index of every true class."""
        return np.arange(len(self.labels))


def draw_rows(
    what: str, seed: int, counters: npt.NDArray[np.int64], num_columns: int
) -> npt.NDArray[np.float64]:
    """Uniforms in [0, 1), (n, num_columns), of each of ``counters`` (n,): sample ids mostly.

    Row i depends on what is drawn (its name), the seed and ``counters[i]`` alone.
    """
    from engine.augment import philox_uniform, stream_key  # compiles: not before it is needed

    key = stream_key(f"label {what}", seed, 0)
    num_blocks = -(-num_columns // 4)
    drawn = np.empty((len(counters), 4 * num_blocks))
    for block in range(num_blocks):
        drawn[:, 4 * block : 4 * block + 4] = philox_uniform(key, counters, block=block)
    return np.ascontiguousarray(drawn[:, :num_columns])


def with_own_mass(own_n: npt.ArrayLike, tail_nk: npt.NDArray, samples: Samples) -> Probabilities:
    """Rows that give the true class ``own_n`` and the others the rest in proportion to a tail.

    Args:
        own_n: (n,) probabilities, or one for all.
        tail_nk: (n, k) weights of the other classes, not negative; those of true classes don't
            count. Where there is none above 0, the rest is spread evenly.
        samples: n of them.
    """
    # Rounding may have left a label slightly above 1.
    own = np.clip(np.broadcast_to(own_n, samples.labels.shape).astype(np.float64), 0, 1)
    weights: Weights = tail_nk.astype(np.float64)
    weights[samples.rows, samples.labels] = 0
    weights[weights.sum(axis=1) == 0] = 1
    weights[samples.rows, samples.labels] = 0
    total = weights.sum(axis=1)
    # One class alone has no tail.
    share = np.divide(1 - own, total, out=np.zeros_like(total), where=total > 0)
    weights *= share[:, None]
    weights[samples.rows, samples.labels] = own
    return weights.astype(np.float32)
