"""What an old sweep was asked for: of the days when `sweep.json` recorded its plan alone.

In: that plan, and the sweep's trials. Out: the cells and seeds it asks for, where the plan is one
grid that is the same for every IPC. Sweeps since then record their cells (`asked`), whatever the
plan; running an old sweep's command again adds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.analysis.asked import AskedCell
from engine.analysis.trials import LABEL_VIEW_ID, Seeds, Trial, Value, flatten


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Cells and seeds asked for. `settings` holds, by axis, the values that the plan is about."""

    ipcs: tuple[int, ...]
    expert_epochs: tuple[int, ...]
    labels: tuple[str, ...]
    seeds: tuple[Seeds, ...]
    settings: Mapping[str, tuple[Value, ...]]

    def concerns(self, axes: Mapping[str, Value]) -> bool:
        """Whether trials with these settings belong to this plan: none of them contradicts it."""
        found = {name: axes.get(name) for name in self.settings}
        return all(found[name] in (None, *values) for name, values in self.settings.items())

    def cells(self) -> list[tuple[int, int | None]]:
        """Every cell: (IPC, expert epoch), or (IPC, None) for hard labels."""
        epochs: list[int | None] = list(self.expert_epochs) if "soft" in self.labels else []
        if "hard" in self.labels:
            epochs.append(None)
        return list(product(self.ipcs, epochs))

    def asked_cells(self, trials: Iterable[Trial]) -> list[AskedCell]:
        """The cells; what the plan leaves open is as the sweep's `trials` have it.

        Soft labels that no trial has yet are left out: the plan does not say all of their settings.
        """
        settings: dict[str, tuple[bool, dict[str, Value]]] = {}
        for trial in trials:
            if not self.concerns({**trial.axes, "temperature": None}):
                continue
            unaided = {k: None if k in _OF_EXPERTS else v for k, v in trial.axes.items()}
            settings.setdefault(repr(unaided), (True, unaided))
            if trial.labels == "soft":
                for value in self.settings.get("temperature", (trial.axes.get("temperature"),)):
                    softened = {**trial.axes, "temperature": value}
                    settings.setdefault(repr(softened), (False, softened))
        return [
            AskedCell(
                ipc=ipc,
                labels="hard" if is_hard else "soft",
                expert_epoch=epoch,
                axes=axes,
                seeds=tuple(sorted(self.seeds)),
            )
            for is_hard, axes in settings.values()
            for ipc, epoch in self.cells()
            if (epoch is None) == is_hard
        ]


_OF_EXPERTS = ("expert", "view", "temperature", "transform", "codec", LABEL_VIEW_ID)
"""Axes that do not apply to hard labels."""


def parse_plan(grid: Mapping[str, Any], stored_epochs: Sequence[int]) -> Plan | None:
    """Read the grid of a `sweep.json`; None where it records none, several, or one by IPC.

    `stored_epochs` are those of the label store, which `"expert_epochs": "all"` stands for. Seeds:
    one number sets subset, initial weights, order and augmentation; `subset_seed` fixes the subset.

    Raises ValueError, TypeError or KeyError for a grid that is none.
    """
    if not grid.get("ipc") or not grid.get("seeds") or grid.get("by_ipc"):
        return None
    asked = grid.get("expert_epochs") or "all"
    subset_seed = grid.get("subset_seed")
    settings = {
        f"student.{name}": (value,) for name, value in flatten(grid.get("student") or {}).items()
    }
    if grid.get("temperature"):
        settings["temperature"] = tuple(grid["temperature"])
    return Plan(
        ipcs=tuple(int(ipc) for ipc in grid["ipc"]),
        expert_epochs=tuple(stored_epochs if asked == "all" else map(int, asked)),
        labels=tuple(grid.get("labels") or ("soft", "hard")),
        seeds=tuple(
            tuple(
                sorted(
                    {
                        "subset_seed": int(seed if subset_seed is None else subset_seed),
                        "init_seed": int(seed),
                        "order_seed": int(seed),
                        "augment_seed": int(seed),
                    }.items()
                )
            )
            for seed in grid["seeds"]
        ),
        settings=settings,
    )
