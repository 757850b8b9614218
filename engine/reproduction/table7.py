"""The papers' own hyperparameters (Table 7) in a scale, on the datasets they were found for."""

from __future__ import annotations

import beton_builder
from engine.analysis.published import read_published
from engine.report.published import published_of
from engine.reproduction.plan import architecture
from engine.reproduction.scale import Scale


def as_published(scale: Scale, dataset: beton_builder.Dataset) -> Scale:
    """A scale with Table 7's experts, expert epochs and students' learning rates in it.

    Where the scale does not ask for them, or the table has no row for the dataset with the network
    that the scale takes there, it is returned as it is.
    """
    published = published_of(dataset.name, dataset.classes, dataset.num_classes)
    if not scale.table7 or published is None:
        return scale
    network = architecture(scale, dataset)[0].replace("-", "")
    rows = next((of for name, of in published.table7.items() if name.lower() == network), None)
    if rows is None:
        return scale
    (name,) = (key for key, each in read_published().items() if each is published)
    expert_epoch = {ipc: epoch for ipc, (_, _, epoch, _) in rows.items()}
    recipe = {
        "recipe": f"expert-{name}",
        "epochs": max(scale.expert.epochs, *expert_epoch.values()),
    }
    stored = scale.label_epochs
    if stored != "all":
        stored = sorted({*stored, *expert_epoch.values()})
    return Scale.model_validate(
        scale.model_dump()
        | {
            "expert": scale.expert.model_dump() | recipe,
            "expert_epoch": expert_epoch,
            "label_epochs": stored,
            "lr_by_ipc": {ipc: lr for ipc, (_, lr, _, _) in rows.items()},
        }
    )
