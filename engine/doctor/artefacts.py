"""The dataset and the label store at hand: are they whole enough to open, and of each other?

Opening reads manifests and records, no sample: `engine verify` proves the bytes.
"""

from __future__ import annotations

import shlex

import beton_builder
import labelstore
from engine.doctor.finding import Asked, Finding, ok, problem

MAKE_LABELS = "engine dump-labels --data DATA --expert RUN --out STORE --all-epochs"


def check_data(asked: Asked) -> Finding:
    """Which tier will serve the dataset's images in training. Raises DamagedDataset."""
    from engine.loading import ResolutionNeeded, choose_tier

    assert asked.data is not None
    try:
        dataset = beton_builder.open_dataset(asked.data)
    except beton_builder.DatasetNotFound as error:
        place = shlex.quote(str(asked.data))
        return problem(str(error), f"engine build-beton --source SOURCE --out {place}")
    found = f"{dataset.name}, {dataset.num_classes} classes, id {dataset.id}"
    split = dataset.splits[0]
    try:
        tier, reason = choose_tier(dataset, split)
        return ok(f"{found}; {split} images are {tier}: {reason}")
    except ResolutionNeeded:
        return ok(f"{found}; {split} images of several sizes, so recipes need a resolution")


def check_labels(asked: Asked) -> Finding:
    """The store's views, and that it belongs to the dataset. Raises DamagedStore."""
    assert asked.labels is not None
    dataset = None if asked.data is None else beton_builder.open_dataset(asked.data)
    try:
        store = labelstore.open_store(
            asked.labels,
            dataset_id=dataset.id if dataset else None,
            classes=dataset.classes if dataset else None,
        )
    except (labelstore.StoreNotFound, labelstore.WrongFormat) as error:
        return problem(str(error), MAKE_LABELS)
    except (labelstore.WrongDataset, labelstore.WrongClasses) as error:
        return problem(str(error), f"engine info {shlex.quote(str(asked.labels))}")
    views = "; ".join(
        f"{expert}, {view}, {codec}: {len(store.view(expert, view, codec).epochs)} epochs"
        for expert, view in store.views()
        for codec in store.codecs(expert, view)
    )
    whose = f"labels of dataset {store.dataset_id}"
    matched = "" if dataset is None else ", this one"
    return ok(f"{whose}{matched}; {views or 'none yet'}")
