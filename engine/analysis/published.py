"""The published numbers, which figures, tables and advice set beside ours: `published.yaml`.

All are in percent, of students trained for `student_epochs`, and maxima over the test evaluations
during training, but for the experts' and Figure 3a's (`generated`), which are final accuracies.
Tables set maxima beside our own; figures draw our final accuracies beside them and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published of one dataset; empty where a figure was drawn for other ones alone.

    `rows`: method → IPC → (accuracy, std), of Tables 1 and 2. `full`: accuracy on all images.
    `table7`: model → IPC → (expert lr, student lr, expert epoch, expert test accuracy). `expert`:
    epoch → (test accuracy, mean label entropy in nats). `grid`: IPC → expert epoch → accuracy.
    `hard`: IPC → accuracy. `swap`: IPC → i → share of the accuracy of untouched labels. `shuffle`:
    IPC → (soft, hard, shuffled). `generated`: IPC → mass of the true class → accuracy. `noise`:
    (IPC, alpha) → share of the samples in percent → accuracy.
    """

    title: str
    student_epochs: int
    full: Mapping[str, float]
    rows: Mapping[str, Mapping[int, tuple[float, float]]]
    table7: Mapping[str, Mapping[int, tuple[float, float, int, float]]]
    expert: Mapping[int, tuple[float, float]]
    grid: Mapping[int, Mapping[int, float]]
    hard: Mapping[int, float]
    swap: Mapping[int, Mapping[int, float]]
    shuffle: Mapping[int, tuple[float, float, float]]
    generated: Mapping[int, Mapping[float, float]]
    noise: Mapping[tuple[int, float], Mapping[int, float]]


@lru_cache(maxsize=1)
def read_published() -> Mapping[str, Published]:
    """What was published, by dataset: "imagenet", "tinyimagenet", "cifar10", "cifar100"."""
    text = (files("engine.analysis") / "published.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    epochs = int(document["student_epochs"])
    return {key: _parsed(of, epochs) for key, of in document["datasets"].items()}


def _parsed(of: Mapping[str, Any], epochs: int) -> Published:
    def pairs(rows: Mapping[Any, Any]) -> dict[Any, Any]:
        return {
            name: {ipc: tuple(values) for ipc, values in row.items()} for name, row in rows.items()
        }

    return Published(
        title=of["title"],
        student_epochs=epochs,
        full=of["full"],
        rows=pairs(of.get("table1") or of.get("table2") or {}),
        table7=pairs(of.get("table7") or {}),
        expert={epoch: tuple(values) for epoch, values in (of.get("expert") or {}).items()},
        grid=of.get("grid") or {},
        hard=of.get("hard") or {},
        swap=of.get("swap") or {},
        shuffle={ipc: tuple(values) for ipc, values in (of.get("shuffle") or {}).items()},
        generated={
            ipc: {float(mass): value for mass, value in row.items()}
            for ipc, row in (of.get("generated") or {}).items()
        },
        noise={(row["ipc"], row["alpha"]): row["accuracy"] for row in of.get("noise") or []},
    )
