"""What a sweep was asked for, so that a report can tell what is missing.

In: the grid recorded in `sweep.json`. Out: the cells and seeds it asks for, and which panels it is
about. A sweep that was stopped half-way then shows every cell it owes, not only the gaps between
those it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.analysis.trials import Seeds, Value, flatten


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Cells and seeds asked for. `settings` holds, by axis, the values that the plan is about."""

    ipcs: tuple[int, ...]
    expert_epochs: tuple[int, ...]
    labels: tuple[str, ...]
    seeds: tuple[Seeds, ...]
    settings: Mapping[str, tuple[Value, ...]]

    def concerns(self, axes: Mapping[str, Value]) -> bool:
        """Whether a panel with these settings belongs to this plan: none of them contradicts it."""
        found = {name: axes.get(name) for name in self.settings}
        return all(found[name] in (None, *values) for name, values in self.settings.items())

    def cells(self) -> list[tuple[int, int | None]]:
        """Every cell: (IPC, expert epoch), or (IPC, None) for hard labels."""
        epochs: list[int | None] = list(self.expert_epochs) if "soft" in self.labels else []
        if "hard" in self.labels:
            epochs.append(None)
        return list(product(self.ipcs, epochs))


def parse_plan(grid: Mapping[str, Any], stored_epochs: Sequence[int]) -> Plan | None:
    """Read the grid of a `sweep.json`; None where it records none.

    `stored_epochs` are those of the label store, which `"expert_epochs": "all"` stands for. Seeds:
    one number sets subset, initial weights, order and augmentation; `subset_seed` fixes the subset.

    Raises ValueError, TypeError or KeyError for a grid that is none.
    """
    if not grid.get("ipc") or not grid.get("seeds"):
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
