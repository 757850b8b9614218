"""Labels of any kind to a student's targets, and the honesty about which kind they are.

| Kind | What is in the file | Targets |
|---|---|---|
| `hard` | class numbers, or their one-hot rows | one-hot rows |
| `probabilities` | rows that sum to 1 | the rows |
| `logits` | a teacher's outputs | softmax of the rows |
| `weights` | numbers learned as targets of the cross-entropy (Ra-BPTT) | the rows as they are |

n images, k classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.distilled.distilled_set import Finding
from engine.distilled.found import Found
from engine.errors import ArtefactError, MismatchError, UsageError
from engine.experiments import hard_targets

Array = npt.NDArray[Any]
Targets = npt.NDArray[np.float32]

KINDS = ("hard", "probabilities", "logits", "weights")
NAMED = {
    "probabilities": "probabilities",
    "probs": "probabilities",
    "logits": "logits",
    "label_logits": "logits",
    "weights": "weights",
}
MAX_SUM_ERROR = 1e-2  # beyond it a row is no distribution
EXACT_SUM_ERROR = 1e-4  # within it rows are left as they are, so that ours come back bit for bit
SURELY_LOGITS = 4.0
"""No learned target weight is as large; logits of a trained network mostly are."""


def understand_labels(
    found: Found, asked: str, num_classes: int | None, where: str
) -> tuple[Targets, str, npt.NDArray[np.int64], Finding | None]:
    """Targets (n, k), their kind, the class of every image (n,), and why the kind was chosen.

    Args:
        found: what the file has.
        asked: one of `KINDS`, or ``auto``: soft labels where there are any.
        num_classes: of the dataset; None takes it from the labels.

    Raises:
        UsageError: unknown kind, or labels that contradict it.
        MismatchError: labels of another number of classes.
        ArtefactError: NaN, or labels whose kind is open.
    """
    if asked not in ("auto", *KINDS):
        raise UsageError(f"label kind {asked!r}: expected auto, {', '.join(KINDS)}")
    if asked == "hard" or (asked == "auto" and found.soft_nk is None):
        if found.classes_n is None:
            raise UsageError(
                f"{where}: expected class numbers for --label-kind hard, found rows of numbers"
            )
        classes, finding = _class_numbers(found.classes_n, num_classes, where)
        k = num_classes or int(classes.max()) + 1
        return hard_targets(classes, k), "hard", classes, finding
    if found.soft_nk is None:
        raise UsageError(
            f"{where}: expected a row of numbers an image for --label-kind {asked}, found class "
            "numbers alone"
        )
    rows = _rows(found.soft_nk, num_classes, where)
    kind, finding = _kind_of(rows, asked, found.soft_name, where)
    targets = _targets(rows, kind, where)
    classes = targets.argmax(axis=1).astype(np.int64)
    if found.classes_n is not None:
        classes, _ = _class_numbers(found.classes_n, rows.shape[1], where)
    if kind == "probabilities" and asked == "auto" and _are_hard(rows, classes):
        kind, finding = "hard", finding and replace(finding, taken_as="hard")
    return targets, kind, classes, finding


def _are_hard(rows: npt.NDArray[np.float64], classes: npt.NDArray[np.int64]) -> bool:
    """Whether every row is its image's class and no other: a hard label, however it was saved.

    `top-k:1` keeps the class that an expert took an image for, right or wrong: no hard label.
    """
    one_hot = ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()
    return bool(one_hot) and np.array_equal(rows.argmax(axis=1), classes)


def _class_numbers(
    labels: Array, num_classes: int | None, where: str
) -> tuple[npt.NDArray[np.int64], Finding | None]:
    if labels.ndim != 1 or labels.dtype.kind not in "fiu":
        raise ArtefactError(
            f"{where}: expected class numbers of shape (n,), found {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    _require_some(labels, where)
    if not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        raise ArtefactError(f"{where}: labels aren't whole numbers, so they are no class numbers")
    classes = labels.astype(np.int64)
    if len(classes) and classes.min() < 0:
        raise MismatchError(f"{where}: there is a class number {classes.min()}; they begin at 0")
    if num_classes is not None and len(classes) and classes.max() >= num_classes:
        raise MismatchError(
            f"{where}: there is a class number {classes.max()}, and the dataset has {num_classes} "
            f"classes, 0 to {num_classes - 1}; give the --data that the set belongs to"
        )
    finding = None
    if labels.dtype.kind == "f":
        finding = Finding(about="labels", taken_as="hard", because="whole numbers, kept as floats")
    return classes, finding


def _rows(labels: Array, num_classes: int | None, where: str) -> npt.NDArray[np.float64]:
    if labels.ndim != 2 or labels.dtype.kind not in "fiub":
        raise ArtefactError(
            f"{where}: expected soft labels of shape (n, classes), found {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    if num_classes is not None and labels.shape[1] != num_classes:
        raise MismatchError(
            f"{where}: labels have {labels.shape[1]} columns, and the dataset has {num_classes} "
            "classes; give the --data that the set belongs to"
        )
    _require_some(labels, where)
    bad = ~np.isfinite(labels).all(axis=1)
    if bad.any():
        raise ArtefactError(f"{where}: the label of image {int(np.argmax(bad))} has NaN or inf")
    return labels.astype(np.float64)


def _require_some(labels: Array, where: str) -> None:
    if labels.size == 0:
        raise ArtefactError(f"{where}: there is no label in it (shape {tuple(labels.shape)})")


def _kind_of(
    rows: npt.NDArray[np.float64], asked: str, name: str, where: str
) -> tuple[str, Finding | None]:
    if asked != "auto":
        return asked, None
    if name in NAMED:
        return NAMED[name], None
    low, high = float(rows.min()), float(rows.max())
    sums = rows.sum(axis=1)
    seen = f"rows sum to {sums.min():.4g} to {sums.max():.4g}, values are {low:.4g} to {high:.4g}"
    if low >= 0 and np.abs(sums - 1).max() <= MAX_SUM_ERROR:
        return "probabilities", Finding(about="labels", taken_as="probabilities", because=seen)
    if max(-low, high) > SURELY_LOGITS:
        return "logits", Finding(about="labels", taken_as="logits", because=seen)
    raise ArtefactError(
        f"{where}: {seen}, which could mean several things\n"
        "say what the labels are: --label-kind logits (softmax is taken), or weights (targets of "
        "the cross-entropy as they are, as Ra-BPTT learns them)"
    )


def _targets(rows: npt.NDArray[np.float64], kind: str, where: str) -> Targets:
    if kind == "weights":
        return rows.astype(np.float32)
    if kind == "logits":
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    sums = rows.sum(axis=1, keepdims=True)
    if rows.min() < 0 or np.abs(sums - 1).max() > MAX_SUM_ERROR:
        worst = int(np.abs(sums[:, 0] - 1).argmax())
        raise UsageError(
            f"{where}: the label of image {worst} lies between {rows[worst].min():.4g} and "
            f"{rows[worst].max():.4g} and sums to {sums[worst, 0]:.4g}; probabilities are not "
            "negative and sum to 1. Is it --label-kind logits, or weights?"
        )
    exact = np.abs(sums - 1) <= EXACT_SUM_ERROR
    return np.where(exact, rows, rows / sums).astype(np.float32)
