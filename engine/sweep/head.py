"""What `sweep.json` says besides the plan: on which dataset, taught by whom, read from where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import beton_builder
import labelstore
from engine.sweep.planning.grid import Grid
from engine.sweep.planning.teachers import experts_views


def where_sources_lie(data: str | Path, labels: str | Path | None) -> dict[str, str | None]:
    """Where workers, and `engine why`, find what the trials are made of."""
    return {
        "data": str(Path(data).absolute()),
        "labels": None if labels is None else str(Path(labels).absolute()),
    }


def sweep_head(
    asked: dict[str, Any],
    grids: Sequence[Grid],
    dataset: beton_builder.Dataset,
    store: labelstore.LabelStore | None,
) -> dict[str, Any]:
    """The head of a sweep: its plan, its dataset, and how good its experts are at every epoch."""
    experts: dict[str, dict[str, Any]] = {}
    for view in experts_views(grids, store):
        run_id = view.identity.get("run_id", view.id)  # imported labels have no run
        experts.setdefault(
            run_id,
            {
                "name": view.expert,
                "run_id": run_id,
                "held_out": _held_out(view),
                "epochs": {
                    str(epoch): {
                        "test": view.about(epoch).get("test_accuracy"),
                        "train": view.about(epoch).get("train_accuracy"),
                        "label_entropy": float(view.entropy(epoch).mean(dtype=np.float64)),
                    }
                    for epoch in view.epochs
                },
            },
        )
    return {
        "kind": "sweep",
        "plan": asked,
        "dataset": {
            "id": dataset.id,
            "name": dataset.name,
            "num_classes": dataset.num_classes,
            "num_validation": len(dataset.validation_indices),
            "classes": list(dataset.classes),
        },
        "experts": list(experts.values()),
    }


def _held_out(view: labelstore.LabelView) -> bool | None:
    """Whether the expert was trained without the validation images; None where not noted."""
    noted = [view.about(epoch).get("hold_out") for epoch in view.epochs]
    return next((each for each in noted if each is not None), None)
