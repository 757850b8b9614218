"""What joins labels to images: which row belongs to which image, and what its target is.

In: a view, epochs and a dataset. Out: sample indices by position, and probabilities by sample
index. Shared by the wrappers of datasets and of FFCV loaders.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .ensemble import Ensemble
from .errors import BadArgument, WrongDataset
from .indices import Indices, check_rows
from .row_guard import RowGuard

if TYPE_CHECKING:
    from .view import LabelView


class SoftTargets:
    """The labels of a view as training targets: of one epoch, or the ensemble of several."""

    def __init__(self, view: LabelView, epoch: int | Sequence[int], temperature: float) -> None:
        self.view = view
        epochs = [epoch] if isinstance(epoch, (int, np.integer)) else list(epoch)
        self.epochs = [operator.index(each) for each in epochs]
        self.temperature = temperature
        self._labels = Ensemble([view], self.epochs)
        if view.crops:
            raise BadArgument(
                f"{view.folder}: it has labels of {view.crops} crops of every image, and which of "
                "them belongs to a training image only the crop itself can tell; give a view of "
                "whole images, or read the crops with view.crop_boxes and view.read"
            )
        self.read(np.zeros(0, np.int64))  # a temperature that cannot be meant is refused here

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities float32 (k, C) of sample indices (k,)."""
        if len(self.epochs) == 1:
            return self.view.probabilities(self.epochs[0], rows, temperature=self.temperature)
        return self._labels.probabilities(rows, temperature=self.temperature)

    def guard(self, check: int) -> RowGuard:
        return RowGuard(self.view, self.epochs[0], check)


def sample_ids_of(dataset: Any, view: LabelView, indices: Indices | None) -> NDArray[np.int64]:
    """int64 (len(dataset),): the row of `view` that describes each position of `dataset`.

    Raises WrongDataset if the number of images is not that of the store and `indices` don't say
    which they are, BadIndices.
    """
    num_samples, num_images = view.geometry.num_samples, len(dataset)
    if indices is not None:
        rows = check_rows(indices, num_samples).to_array()
        if len(rows) != num_images:
            raise BadArgument(
                f"indices: expected the store's row of each of the {num_images} images, found "
                f"{len(rows)}"
            )
        return rows
    positions = np.arange(num_images)
    while hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        positions = np.asarray(dataset.indices, np.int64)[positions]
        dataset = dataset.dataset
        positions = np.where(positions < 0, positions + len(dataset), positions)
    if len(dataset) != num_samples:
        raise WrongDataset(
            f"{view.folder}: it has labels of {num_samples} images, but the dataset has "
            f"{len(dataset)}; give the split that was labelled, or indices=, the store's row of "
            "every image"
        )
    return check_rows(positions, num_samples).to_array()
