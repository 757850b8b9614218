"""What a file holds before anybody says what it means, and under which names it is looked for.

In: arrays by name. Out: :class:`Found`. Names are those under which published methods save their
sets: DC and DM (`data`, `image_syn`, `label_syn`), MTT (`images_best.pt`, `labels_best.pt`),
Ra-BPTT (`data`, `label`), and the usual plain ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.distilled.distilled_set import Finding
from engine.distilled.encoded_images import EncodedImages
from engine.errors import ArtefactError

Array = npt.NDArray[Any]

IMAGE_NAMES = (
    "images",
    "images_train",
    "image_syn",
    "images_syn",
    "syn_images",
    "image",
    "imgs",
    "data",
    "x",
)
SOFT_NAMES = ("soft_labels", "soft_label", "probabilities", "probs", "logits", "label_logits")
LABEL_NAMES = (
    "labels",
    "labels_train",
    "label_syn",
    "labels_syn",
    "syn_labels",
    "label",
    "targets",
    "y",
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was read, still to be understood.

    images: numbers, or encoded images. classes_n: class numbers (n,) if there are any. soft_nk: a
    row of numbers an image, if there are any; ``soft_name`` is what the file calls them.
    own_export: whether it is a folder that `export_distilled` or `learn_labels` wrote.
    """

    images: Array | EncodedImages
    classes_n: Array | None
    soft_nk: Array | None
    soft_name: str = ""
    ids: npt.NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None
    format: str
    dataset_id: str | None = None
    own_export: bool = False
    findings: tuple[Finding, ...] = ()


def choose_arrays(arrays: Mapping[str, Array], where: str, file_format: str) -> Found:
    """Images and labels among named arrays.

    Raises:
        ArtefactError: there are none under any of the names.
    """
    image_name = _first(IMAGE_NAMES, arrays)
    label_name = _first(LABEL_NAMES, arrays)
    soft_name = _first(SOFT_NAMES, arrays)
    if image_name is None:
        raise _lacking(where, "images", IMAGE_NAMES, arrays)
    if label_name is None and soft_name is None:
        raise _lacking(where, "labels", (*LABEL_NAMES, *SOFT_NAMES), arrays)
    classes_n = None if label_name is None else _one_column(arrays[label_name])
    soft_nk = None if soft_name is None else arrays[soft_name]
    if classes_n is not None and classes_n.ndim == 2:
        # Under a plain name, rows of numbers are soft labels, unless others are beside them.
        if soft_nk is None:
            soft_nk, soft_name = classes_n, label_name
        classes_n = None
    return Found(
        images=arrays[image_name],
        classes_n=classes_n,
        soft_nk=soft_nk,
        soft_name=soft_name or "",
        format=file_format,
    )


def _one_column(labels: Array) -> Array:
    """Class numbers as (n,) where they were saved as (n, 1)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _first(names: Sequence[str], arrays: Mapping[str, Array]) -> str | None:
    return next((name for name in names if name in arrays), None)


def _lacking(
    where: str, what: str, names: Sequence[str], arrays: Mapping[str, Array]
) -> ArtefactError:
    there = ", ".join(f"{name} {tuple(a.shape)}" for name, a in arrays.items()) or "no array"
    return ArtefactError(
        f"{where}: expected {what} under one of the names {', '.join(names)}; found {there}\n"
        "save them again under such names, as .npz or .pt"
    )
