"""Does row i describe image i? Asked of a loop's own images, by the classes it gives them.

In: sample indices and the classes that a dataset gives these images. Out: nothing, or an error. A
store keeps the cross-entropy of every label with the true class beside the logits, so a row gives
away what class its image was of: the cross-entropy of the row's logits with the class given must be
the stored one. Another class order, another dataset or a shuffled copy fails at the first image
whose class is another one.

Not noticed: images that were exchanged within one class, and labels of classes that the logits do
not tell apart.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import EpochNotDumped, WrongDataset

if TYPE_CHECKING:
    from .view import LabelView

# Rounding to float16 moves a logit by up to 2^-11 of its size, a cross-entropy by twice that; the
# factor of two more leaves room for the arithmetic on both sides.
_ROUNDING = 2.0**-9
_SMALLEST = 1e-4  # nats


class RowGuard:
    """Compares the first `limit` images that each process serves with the labels of `epoch`."""

    def __init__(self, view: LabelView, epoch: int, limit: int) -> None:
        self._view, self._epoch, self._limit = view, epoch, limit
        self._left, self._process = limit, os.getpid()
        self._codec_error = _codec_error(view, epoch) if limit else None

    def check(self, rows: NDArray[np.int64], classes: Sequence[Any]) -> None:
        """Raises WrongDataset, naming the first sample of `rows` whose class does not fit its row.

        rows: int64 (k,), sample indices. classes: k class indices; None, or anything else that is
        no integer from 0 on, is not compared.
        """
        if os.getpid() != self._process:  # a worker that inherited what its parent had checked
            self._left, self._process = self._limit, os.getpid()
        if self._left <= 0 or self._codec_error is None:
            return
        first = slice(0, self._left)
        self._left -= len(rows)
        pairs = zip(rows[first].tolist(), map(_class_index, classes[first]), strict=True)
        known = [(row, label) for row, label in pairs if label is not None]
        if known:
            samples, labels = (np.array(each, np.int64) for each in zip(*known, strict=True))
            self._compare(samples, labels)

    def _compare(self, samples: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        assert self._codec_error is not None
        stored = self._view.cross_entropy(self._epoch, samples).astype(np.float64)
        logits = self._view.read(self._epoch, samples).astype(np.float64)
        num_classes = logits.shape[1]
        if labels.max() >= num_classes:
            place = int(np.argmax(labels >= num_classes))
            raise self._wrong(samples[place], labels[place], f"there are {num_classes} classes")
        top = logits.max(axis=1, keepdims=True)
        cross_entropy = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) - logits
        given = cross_entropy[np.arange(len(labels)), labels]
        tolerance = _SMALLEST + _ROUNDING * np.abs(logits).max(axis=1) + 2 * self._codec_error
        if self._view.codec.startswith("topk:"):
            # A class outside the largest has no logit of its own, only less than these: one cross-
            # entropy stands for all from that of the smallest of them on.
            tolerance += _ROUNDING * np.log(num_classes)
            known = logits > logits.min(axis=1, keepdims=True) + tolerance[:, None]
            least = np.where(known, cross_entropy, -np.inf).max(axis=1)
            outside = ~known[np.arange(len(labels)), labels]
            given = np.where(outside, np.clip(stored, least, None), given)
        wrong = np.abs(stored - given) > tolerance
        if wrong.any():
            place = int(np.argmax(wrong))
            raise self._wrong(
                samples[place],
                labels[place],
                f"its label of epoch {self._epoch} then has a cross-entropy of "
                f"{given[place]:.4g} nats, but {stored[place]:.4g} was recorded when it was made",
            )

    def _wrong(self, sample: int, label: int, what: str) -> WrongDataset:
        return WrongDataset(
            f"{self._view.folder}: sample {sample} does not belong to row {sample}: the dataset "
            f"gives it class {label}, and {what}. Is this another dataset, a shuffled or filtered "
            "copy of it (give indices=, the store's row of every image), or another class order? "
            "Where classes were changed on purpose, give check=0"
        )


def _class_index(value: Any) -> int | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        index = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return index if index >= 0 else None


def _codec_error(view: LabelView, epoch: int) -> float | None:
    """By how much decoding moves a logit beyond float16's rounding; None where that is unknown."""
    if view.codec == "dense" or view.codec.startswith("topk:"):
        return 0.0
    try:
        return float(view.codec_error(epoch)["max_abs"])
    except EpochNotDumped:  # measured once the epoch is complete
        return None
