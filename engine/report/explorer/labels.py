"""What the explorer shows of the labels, read from the store: numpy arrays, nothing rounded.

Legend: e epochs, i images, t top classes, k classes, m classes in the matrix.

A class's mean label is taken over a bounded number of its images, and read class by class, so that
neither time nor memory grows with the split. For CIFAR-100, 100 images a class, an epoch takes
less than 20 ms of processor time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.report.explorer.choice import Ids, related_classes, similarity_order
from labelstore import LabelView

TOP = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageLabels:
    """The labels of the images shown, epoch by epoch.

    top_classes_eit, top_probabilities_eit: the likeliest classes, likeliest first (equal ones by
    their number). true_probability_ei; true_rank_ei from 1. entropy_ei in nats.
    """

    top_classes_eit: Ids
    top_probabilities_eit: Floats
    true_probability_ei: Floats
    true_rank_ei: Ids
    entropy_ei: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMeans:
    """Row c, column d of epoch e: what the labels of images of class c give to class d, on average.

    classes_m: which classes, in the order of rows and columns. labels_per_class: how many images'
    labels a mean is of, at most.
    """

    means_emm: Floats
    classes_m: Ids
    labels_per_class: int
    classes_differ: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpertCurve:
    """test_accuracy_e: of the expert, NaN where it is unknown. entropy_e: mean of all labels."""

    test_accuracy_e: Floats
    entropy_e: Floats


def read_images(view: LabelView, epochs: Sequence[int], ids: Ids, true_classes: Ids) -> ImageLabels:
    """The labels of samples `ids` (i,), whose true classes are `true_classes` (i,)."""
    top = min(TOP, view.geometry.num_classes)
    per_epoch = [_image_labels(probabilities(view, e, ids), true_classes, top) for e in epochs]
    return ImageLabels(
        **{name: np.stack([each[name] for each in per_epoch]) for name in per_epoch[0]}
    )


def _image_labels(labels_ik: Floats, true_classes: Ids, top: int) -> dict[str, Any]:
    order = np.argsort(-labels_ik, axis=1, kind="stable")
    return {
        "top_classes_eit": order[:, :top],
        "top_probabilities_eit": np.take_along_axis(labels_ik, order[:, :top], 1),
        "true_probability_ei": labels_ik[np.arange(len(labels_ik)), true_classes],
        "true_rank_ei": np.argmax(order == true_classes[:, None], axis=1) + 1,
        "entropy_ei": entropy(labels_ik),
    }


def read_class_means(
    view: LabelView,
    epochs: Sequence[int],
    ids_of: Sequence[Ids],
    *,
    most_classes: int,
    classes_of_images: Ids,
    superclass_of: Sequence[int] | None,
) -> ClassMeans:
    """Mean labels of at most `most_classes` classes, over the samples `ids_of` each.

    The order of the classes: by superclass, or by how much their labels mix at the last epoch.
    """
    filled = np.flatnonzero([len(ids) for ids in ids_of])
    classes = filled
    if len(filled) > most_classes:
        beside = _means(view, epochs[-1], ids_of, classes_of_images)
        empty = np.setdiff1d(np.arange(len(ids_of)), filled)
        beside[:, empty] = -np.inf
        classes = related_classes(beside, classes_of_images, most_classes)
    if superclass_of is not None:
        classes = classes[np.argsort(np.asarray(superclass_of)[classes], kind="stable")]
    means_emm = np.stack([_means(view, epoch, ids_of, classes, classes) for epoch in epochs])
    if superclass_of is None:
        order = similarity_order(means_emm[-1])
        classes, means_emm = classes[order], means_emm[:, order][:, :, order]
    counts = {len(ids_of[c]) for c in classes.tolist()}
    return ClassMeans(
        means_emm=means_emm,
        classes_m=classes,
        labels_per_class=max(counts),
        classes_differ=len(counts) > 1,
    )


def _means(
    view: LabelView, epoch: int, ids_of: Sequence[Ids], rows: Ids, columns: Ids | None = None
) -> Floats:
    means = np.stack([probabilities(view, epoch, ids_of[c]).mean(axis=0) for c in rows.tolist()])
    return means if columns is None else means[:, columns]


def read_expert(view: LabelView, epochs: Sequence[int]) -> ExpertCurve:
    """The expert's test accuracy and the mean entropy of all its labels."""
    accuracy = [view.about(epoch).get("test_accuracy") for epoch in epochs]
    return ExpertCurve(
        test_accuracy_e=np.array([np.nan if a is None else float(a) for a in accuracy]),
        entropy_e=np.array([view.entropy(epoch).mean(dtype=np.float64) for epoch in epochs]),
    )


def probabilities(view: LabelView, epoch: int, ids: Ids) -> Floats:
    """The labels of samples `ids`: (len(ids), k); where a sample has several crops, their mean."""
    labels = view.probabilities(epoch, ids).astype(np.float64)
    return labels.mean(axis=1) if view.crops else labels


def entropy(labels_ik: Floats) -> Floats:
    """Entropy of every row, in nats."""
    return -(labels_ik * np.log(np.where(labels_ik > 0, labels_ik, 1.0))).sum(axis=1)
