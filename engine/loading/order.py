"""The one order function: which sample ids are in which batch, on which rank.

In: the indices of a subset, (seed, epoch), the batch size, rank and world, and the batch to start
from. Out: an :class:`EpochPlan`. Both tiers follow it, so that an epoch is the same in either.

- The order comes from numpy's Philox keyed on (seed, epoch): seed 0 epoch 1 is not seed 1 epoch 0.
- Batches are *global*: rank r of W takes a contiguous share of each, so that W ranks together see
  the batches of one. A share may be empty in the last, partial batch; it is still a batch, so that
  ranks stay in step. Nothing is padded or repeated, so evaluation counts every sample once.
- Resuming in mid-epoch is ``start``: the tail of the same order, no state to save.

A permutation of 1.28 M indices takes about 30 ms, once an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.loading.errors import InvalidRequest

__all__ = ["EpochPlan", "batch_slices", "epoch_order", "plan_epoch"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """What one rank reads in one epoch.

    ``ids``: (m,) int64, the sample ids of this rank in the order of reading.
    ``bounds``: (batches + 1,) int64; batch k holds ``ids[bounds[k]:bounds[k + 1]]``.
    ``epoch``: the epoch; ``start``: number of the first batch within the epoch.
    """

    ids: Indices
    bounds: Indices
    epoch: int
    start: int

    @property
    def num_batches(self) -> int:
        return len(self.bounds) - 1

    def batch_ids(self, batch: int) -> Indices:
        """Sample ids of the batch at this position of the plan, (b,) int64."""
        return self.ids[self.bounds[batch] : self.bounds[batch + 1]]


def epoch_order(indices: npt.ArrayLike, seed: int, epoch: int) -> Indices:
    """The indices in the order of this epoch: a permutation of (n,) int64 from (seed, epoch).

    Raises InvalidRequest for a negative seed or epoch.
    """
    for name, word in (("seed", seed), ("epoch", epoch)):
        if not 0 <= word < 2**64:
            raise InvalidRequest(f"{name}: expected 0 ≤ {name} < 2**64, got {word}")
    key = np.array([seed, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(
        np.asarray(indices, dtype=np.int64)
    )


def batch_slices(
    num_samples: int, batch_size: int, *, rank: int = 0, world: int = 1, drop_last: bool = False
) -> npt.NDArray[np.int64]:
    """Where this rank's share of every global batch lies in the epoch's order.

    Returns (batches, 2) int64: [first, after the last] position. The shares of all ranks tile each
    global batch in rank order and differ in length by at most one.
    """
    num_batches = num_samples // batch_size if drop_last else -(-num_samples // batch_size)
    first = np.arange(num_batches, dtype=np.int64) * batch_size
    length = np.minimum(first + batch_size, num_samples) - first
    return np.stack([first + length * rank // world, first + length * (rank + 1) // world], axis=1)


def plan_epoch(
    indices: npt.ArrayLike,
    *,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    rank: int = 0,
    world: int = 1,
) -> EpochPlan:
    """Plan one epoch over ``indices``, (n,) integers: sample ids, kept in order if unshuffled.

    ``batch_size`` is global, over all ranks. Raises InvalidRequest for anything out of range.
    """
    subset = np.asarray(indices)
    if subset.ndim != 1 or (subset.size and subset.dtype.kind not in "iu"):
        raise InvalidRequest(
            f"indices: expected integers of shape (n,), got {subset.dtype} of shape {subset.shape}"
        )
    if batch_size < 1:
        raise InvalidRequest(f"batch_size: expected at least 1, got {batch_size}")
    if not 0 <= rank < world:
        raise InvalidRequest(f"rank: expected 0 ≤ rank < world, got rank {rank} of world {world}")
    subset = subset.astype(np.int64)
    order = epoch_order(subset, seed, epoch) if shuffle else subset
    slices = batch_slices(len(order), batch_size, rank=rank, world=world, drop_last=drop_last)
    if not 0 <= start <= len(slices):
        raise InvalidRequest(
            f"start: expected 0 to {len(slices)} (the epoch's batches), got {start}"
        )
    slices = slices[start:]
    lengths = slices[:, 1] - slices[:, 0]
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
    ids = order[np.repeat(slices[:, 0], lengths) + within]
    return EpochPlan(ids=ids, bounds=bounds, epoch=epoch, start=start)
