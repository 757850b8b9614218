"""`explorer_fragment`: a dataset and its label store in, one HTML fragment out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from beton_builder import Dataset, open_dataset
from engine.errors import ArtefactError, MismatchError, UsageError
from engine.report.explorer import curves
from engine.report.explorer.choice import Ids, choose_images, evenly, ids_by_class
from engine.report.explorer.labels import (
    ClassMeans,
    ExpertCurve,
    ImageLabels,
    read_class_means,
    read_expert,
    read_images,
)
from engine.report.explorer.pack import MOST_CLASSES, json_for_html, pack_images, pack_means
from engine.report.explorer.pictures import Picture, read_pictures
from labelstore import LabelStore, LabelView, open_store

MAX_IMAGES = 60
MAX_EPOCHS = 60
MAX_MATRIX_CLASSES = 100
LABELS_PER_CLASS = 100
MOST_NAMED_ROWS = 30
"""Up to how many classes the matrix has room to name each row."""


def explorer_fragment(
    dataset: Dataset | str | Path,
    store: LabelStore | str | Path,
    *,
    expert: str | None = None,
    view: str = "plain",
    codec: str | None = None,
    epochs: Sequence[int] | None = None,
    sample_ids: Sequence[int] | Ids | None = None,
    max_images: int = MAX_IMAGES,
    images_per_class: int | None = None,
    labels_per_class: int = LABELS_PER_CLASS,
    anchor: str = "explorer",
) -> str:
    """A `<section>` with its style, script and data, to be put into any HTML page.

    Args:
        dataset: what the labels were made from; its training split is shown.
        store: its label store.
        expert, view, codec: whose labels, as in `LabelStore.view`; where several experts have the
            view and none is named, the first of them.
        epochs: which expert epochs, ascending; by default all that are complete, evenly thinned
            out to 60.
        sample_ids: choose among these images (those of the students, say); by default among all
            training images but the validation ones.
        max_images: how many images are shown at most.
        images_per_class: how many of each class; by default as many as fit.
        labels_per_class: over how many images' labels a class's mean is taken, at most.
        anchor: the section's id, and the prefix of all others.

    Raises:
        UsageError: an argument that can't work.
        ArtefactError: no epoch is complete, or the training split is empty.
        MismatchError: the labels are of another dataset.
        labelstore's ViewNotFound, EpochNotDumped, DamagedStore; beton_builder's errors.
    """
    _check_counts(max_images, images_per_class, labels_per_class)
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    store = store if isinstance(store, LabelStore) else open_store(store)
    _check_kinship(dataset, store)
    experts = [name for name, of in store.views() if of == view]
    labels = store.view(expert or next(iter(experts), None), view, codec)
    shown_epochs = _epochs(labels, epochs)
    with dataset.split("train") as beton:
        true_n = np.asarray(beton.labels, np.int64)
    ids_of = ids_by_class(true_n, np.arange(len(true_n)), dataset.num_classes)
    candidates = _candidates(dataset, len(true_n), sample_ids)
    ids = choose_images(
        ids_by_class(true_n, candidates, dataset.num_classes),
        dataset.superclass_of,
        most=max_images,
        images_per_class=images_per_class,
    )
    if not len(ids):
        raise ArtefactError(
            f"{dataset.path}: expected training images to show, found none; build the dataset "
            "again with `engine build-beton`"
        )
    means = read_class_means(
        labels,
        shown_epochs,
        [evenly(each, labels_per_class) for each in ids_of],
        most_classes=MAX_MATRIX_CLASSES,
        classes_of_images=np.unique(true_n[ids]),
        superclass_of=dataset.superclass_of,
    )
    content = _Content(
        dataset=dataset,
        view=labels,
        num_experts=len(experts),
        epochs=shown_epochs,
        ids=ids,
        true_classes=true_n[ids],
        images=read_images(labels, shown_epochs, ids, true_n[ids]),
        means=means,
        expert=read_expert(labels, shown_epochs),
        pictures=read_pictures(dataset, ids),
        of_students=sample_ids is not None,
    )
    return _render(content, anchor)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Content:
    dataset: Dataset
    view: LabelView
    num_experts: int
    epochs: list[int]
    ids: Ids
    true_classes: Ids
    images: ImageLabels
    means: ClassMeans
    expert: ExpertCurve
    pictures: list[Picture]
    of_students: bool


def _render(content: _Content, anchor: str) -> str:
    here = files("engine.report.explorer")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((here / "explorer.html.j2").read_text("utf-8"))
    dataset, expert, epochs = content.dataset, content.expert, content.epochs
    names = [dataset.classes[c] for c in content.true_classes]
    return template.render(
        anchor=anchor,
        css=Markup((here / "explorer.css").read_text("utf-8")),
        script=Markup((here / "explorer.js").read_text("utf-8")),
        data=Markup(json_for_html(_data(content))),
        view=content.view,
        num_experts=content.num_experts,
        epochs=epochs,
        images=list(zip(content.ids.tolist(), names, content.pictures, strict=True)),
        of_students=content.of_students,
        num_classes=dataset.num_classes,
        num_in_matrix=len(content.means.classes_m),
        labels_per_class=content.means.labels_per_class,
        classes_differ=content.means.classes_differ,
        rows=_row_names(dataset, content.means.classes_m),
        by_superclass=dataset.superclass_of is not None,
        has_accuracy=bool(np.isfinite(expert.test_accuracy_e).any()),
        box=curves,
        share=curves.share_curve(epochs, expert.test_accuracy_e),
        entropy=curves.entropy_curve(epochs, expert.entropy_e, dataset.num_classes),
    )


def _data(content: _Content) -> dict[str, Any]:
    dataset, expert = content.dataset, content.expert
    kin = None
    if dataset.superclasses is not None and dataset.superclass_of is not None:
        kin = [dataset.superclasses[s] for s in dataset.superclass_of]
    return {
        "epochs": content.epochs,
        "classes": list(dataset.classes),
        "superclasses": kin,
        "images": content.ids.tolist(),
        "labels": content.true_classes.tolist(),
        "accuracy": _rounded(expert.test_accuracy_e),
        "entropy": _rounded(expert.entropy_e),
        **pack_images(content.images, dataset.num_classes),
        **pack_means(content.means),
    }


def _row_names(dataset: Dataset, classes_m: Ids) -> list[dict[str, Any]]:
    """What stands left of the matrix: {"name", "start", "count"} of superclasses or of classes."""
    names = [dataset.classes[c] for c in classes_m]
    if dataset.superclasses is not None and dataset.superclass_of is not None:
        names = [dataset.superclasses[dataset.superclass_of[c]] for c in classes_m]
    elif len(names) > MOST_NAMED_ROWS:
        return []
    rows: list[dict[str, Any]] = []
    for position, name in enumerate(names):
        if rows and rows[-1]["name"] == name and dataset.superclasses is not None:
            rows[-1]["count"] += 1
        else:
            rows.append({"name": name, "start": position, "count": 1})
    return rows


def _rounded(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 5) for value in values]


def _check_counts(max_images: int, images_per_class: int | None, labels_per_class: int) -> None:
    for name, count in (
        ("max_images", max_images),
        ("images_per_class", images_per_class),
        ("labels_per_class", labels_per_class),
    ):
        if count is not None and count < 1:
            raise UsageError(f"{name}: expected at least 1, found {count}")


def _check_kinship(dataset: Dataset, store: LabelStore) -> None:
    if store.dataset_id != dataset.id or store.classes != dataset.classes:
        raise MismatchError(
            f"{store.path}: its labels describe dataset {store.dataset_id}, but {dataset.path} is "
            f"dataset {dataset.id}; give the data that the labels were made from, or make labels "
            f"of these with `engine dump-labels --data {dataset.path} …`"
        )
    if dataset.num_classes < 2 or dataset.num_classes > MOST_CLASSES:
        raise UsageError(
            f"{dataset.path}: expected 2 to {MOST_CLASSES:,} classes, found {dataset.num_classes:,}"
        )


def _epochs(view: LabelView, asked: Sequence[int] | None) -> list[int]:
    """The epochs to show, ascending. Those asked for must be there."""
    if asked is not None and not len(asked):
        raise UsageError("epochs: expected at least one expert epoch, found none")
    stored = view.epochs
    if asked is not None:
        missing = sorted(set(map(int, asked)) - set(stored))
        if missing:
            raise UsageError(
                f"{view.folder}: expected labels of epochs {json.dumps(missing)}, found "
                f"{json.dumps(stored)}; make them with `{view.dump_command(missing)}`"
            )
    elif not stored:
        raise ArtefactError(
            f"{view.folder}: no epoch is complete, so there is nothing to explore; finish it with "
            f"`engine dump-labels`"
        )
    return evenly(sorted(set(stored if asked is None else map(int, asked))), MAX_EPOCHS).tolist()


def _candidates(dataset: Dataset, num_samples: int, sample_ids: Sequence[int] | Ids | None) -> Ids:
    if sample_ids is None:
        return np.setdiff1d(np.arange(num_samples), dataset.validation_indices)
    ids = np.unique(np.asarray(sample_ids, np.int64))
    if not len(ids) or ids[0] < 0 or ids[-1] >= num_samples:
        raise UsageError(
            f"sample_ids: expected ids from 0 to {num_samples - 1}, found "
            f"{f'{ids[0]} to {ids[-1]}' if len(ids) else 'none'}"
        )
    return ids
