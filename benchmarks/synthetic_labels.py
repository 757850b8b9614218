"""Made-up labels that look like an expert's, and stores that are filled with them.

Logits are a class's mean plus noise, both normal, with the spread at which a softmax over that many
classes has an entropy of about 3 nats (2.7 at 100 classes, 3.5 at 1,000: an expert after some
epochs), and the true class raised. Classes follow each other in a fixed cycle, and noise comes from
a pool of rows drawn once, so that a block costs one addition.

Axes: b rows of a block, c classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import labelstore
from labelstore import LabelStore, LabelView

EXPERT, VIEW = "synthetic", "plain"
ENTROPY_NATS = 3.0
_MEANS_SHARE = 0.9  # of the spread; the rest is noise, different for every sample and epoch
_POOL_ROWS = 3_001  # with no divisor in common with the cycle: few samples have both alike
_CYCLE_ROWS = 1_024  # at least, so that few classes do not mean many small additions
_STEP = 7_919  # a prime: neighbouring samples are of different classes


class SyntheticLogits:
    """Labels of any sample at any epoch, the same however they are divided into blocks' rows."""

    def __init__(self, num_classes: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        most = math.log(num_classes)
        spread = math.sqrt(2 * (most - min(ENTROPY_NATS, 0.65 * most)))
        means_cc = random.standard_normal((num_classes, num_classes), np.float32)
        means_cc *= _MEANS_SHARE * spread
        np.fill_diagonal(means_cc, 3 * spread)
        cycle = num_classes * -(-_CYCLE_ROWS // num_classes)
        self._labels = np.arange(cycle) * _STEP % num_classes
        self._means = means_cc[self._labels]
        self._noise = random.standard_normal((_POOL_ROWS, num_classes), np.float32)
        self._noise *= math.sqrt(1 - _MEANS_SHARE**2) * spread

    def block(
        self, epoch: int, start: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits (b, c) and true labels (b,) of samples ``start`` to ``stop`` - 1."""
        logits_bc = np.empty((stop - start, self._means.shape[1]), np.float32)
        sample = start
        while sample < stop:
            place, drawn = sample % len(self._means), (sample + epoch * _STEP) % _POOL_ROWS
            num_rows = min(stop - sample, len(self._means) - place, _POOL_ROWS - drawn)
            np.add(
                self._means[place : place + num_rows],
                self._noise[drawn : drawn + num_rows],
                out=logits_bc[sample - start : sample - start + num_rows],
            )
            sample += num_rows
        return logits_bc, self._labels[np.arange(start, stop) % len(self._labels)]


def create(path: Path, *, num_samples: int, num_classes: int) -> LabelStore:
    """An empty store for so many samples and classes."""
    return labelstore.create_store(
        path,
        dataset_id=f"synthetic-{num_samples}",
        classes=[f"class {number}" for number in range(num_classes)],
        num_samples=num_samples,
    )


def add_view(store: LabelStore, codec: str = "dense") -> LabelView:
    """The view that :func:`write` fills."""
    return store.add_view(EXPERT, VIEW, identity={"run_id": "synthetic"}, codec=codec)


def checkpoint_ids(epochs: Sequence[int]) -> dict[int, str]:
    """An id for every epoch, as a store wants them."""
    return {epoch: f"synthetic-{epoch}" for epoch in epochs}


def write(view: LabelView, logits: SyntheticLogits, epochs: Sequence[int]) -> None:
    """Write the epochs."""
    with view.writer(epochs, checkpoint_ids(epochs)) as writer:
        for start, stop, missing in writer.missing_blocks():
            for epoch in missing:
                writer.write(epoch, start, *logits.block(epoch, start, stop))
