"""Logits to begin with: what is known of the images before anything is learned.

n samples, k classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.experiments.learned_labels.recipe import LearnedRecipe
from engine.experiments.targets import hard_targets

LEAST = np.float32(60)  # below the largest logit: a probability of 1e-26


@dataclass(frozen=True, kw_only=True)
class ExpertEpoch:
    """An epoch of a label store: by its names there, and by what identifies it anywhere."""

    expert: str
    view: str
    epoch: int
    view_id: str
    checkpoint: str

    def describe(self) -> dict[str, Any]:
        """For the manifest of what is made from it."""
        return asdict(self)


def find_expert_epoch(
    dataset: beton_builder.Dataset, store: str | Path | None, expert: str | None, epoch: int | None
) -> tuple[ExpertEpoch, labelstore.LabelView]:
    """The epoch of a store that labels begin with.

    Raises:
        UsageError: store or epoch were not said.
        labelstore.LabelStoreError: there are no such labels.
    """
    if store is None or epoch is None:
        raise UsageError(
            "initial: expert begins with labels of a store: add --labels STORE --expert-epoch 13"
        )
    opened = labelstore.open_store(store, dataset_id=dataset.id, classes=dataset.classes)
    view = opened.view(expert)
    checkpoint = view.checkpoint_id(epoch)
    return ExpertEpoch(
        expert=view.expert, view=view.name, epoch=epoch, view_id=view.id, checkpoint=checkpoint
    ), view


def stored_logits(
    view: labelstore.LabelView, epoch: int, ids: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """A store's logits (n, k), finite: classes that a truncated label left out can be learned."""
    logits_nk = view.read(epoch, ids).astype(np.float32)
    return np.maximum(logits_nk, logits_nk.max(axis=1, keepdims=True) - LEAST)


def initial_logits(
    recipe: LearnedRecipe,
    labels: npt.NDArray[np.int64],
    num_classes: int,
) -> npt.NDArray[np.float32]:
    """Logits (n, k) whose softmax is uniform, or smoothed one-hot.

    Raises:
        UsageError: there is one class, whose labels are all alike.
    """
    if num_classes < 2:
        raise UsageError(
            f"labels are learned of two classes or more, and this dataset has {num_classes}: give "
            "another --data"
        )
    if recipe.initial == "uniform":
        return np.zeros((len(labels), num_classes), np.float32)
    others = recipe.smoothing / (num_classes - 1)
    return hard_targets(labels, num_classes) * np.float32(
        math.log1p(-recipe.smoothing) - math.log(others)
    )
