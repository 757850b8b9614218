"""Trials, and what was asked for, sorted into panels of comparable cells.

A *cell* holds the runs that differ in nothing but seeds. A *panel* is one IPC × expert epoch grid
of cells (and hard labels) in which everything else is fixed: a sweep over temperatures or learning
rates falls apart into one panel per value, never into an average. One exception keeps published
recipes in one table: a setting of the student that is a function of IPC (one learning rate per
IPC, as in the paper's Table 7) varies *within* a panel and is shown in its row.

A cell that was asked for is there from the start, with no run; a cell that nobody asked for is not
there at all. So neither a sweep that was stopped half-way nor one whose expert epochs depend on IPC
shows anything but what it owes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.analysis.asked import AskedCell
from engine.analysis.cells import Cell, runs, spread_meaning
from engine.analysis.trials import LABEL_VIEW_ID, Seeds, Trial, Value

__all__ = [
    "Cell",
    "CellKey",
    "Panel",
    "missing_runs",
    "runs",
    "split_into_panels",
    "spread_meaning",
]

CellKey = tuple[int, int | None]
"""(IPC, expert epoch); None stands for hard labels."""

Place = Trial | AskedCell
"""What has its IPC, kind of labels, expert epoch and axes: a run, or a cell that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One grid: `axes` tell it from the other panels, `fixed` is shared by all of them.

    `by_ipc` holds the student's settings that are a function of IPC.
    """

    axes: Mapping[str, Value]
    fixed: Mapping[str, Value]
    by_ipc: Mapping[str, Mapping[int, Value]]
    cells: Mapping[CellKey, Cell] = field(repr=False)

    @property
    def ipcs(self) -> list[int]:
        return sorted({ipc for ipc, _ in self.cells})

    @property
    def expert_epochs(self) -> list[int]:
        return sorted({epoch for _, epoch in self.cells if epoch is not None})

    @property
    def has_hard(self) -> bool:
        return any(epoch is None for _, epoch in self.cells)

    def cell(self, ipc: int, expert_epoch: int | None) -> Cell | None:
        """The cell of soft labels from `expert_epoch`, or of hard labels (None)."""
        return self.cells.get((ipc, expert_epoch))

    def soft_cells(self, ipc: int) -> list[Cell]:
        """The cells of one IPC in the order of expert epochs."""
        found = (self.cell(ipc, epoch) for epoch in self.expert_epochs)
        return [cell for cell in found if cell is not None]

    @property
    def has_runs(self) -> bool:
        """Whether anything was run, well or not."""
        return any(runs(cell) for cell in self.cells.values())


def missing_runs(panels: Iterable[Panel]) -> Iterator[tuple[Panel, Cell, tuple[Seeds, ...]]]:
    """Every cell that lacks runs it was asked for, with their seeds.

    A cell of hard labels may lie in several panels and comes once, with the first of them.
    """
    told = set()
    for panel in panels:
        for key, cell in panel.cells.items():
            if (key, cell.place) not in told and (lacking := cell.missing):
                told.add((key, cell.place))
                yield panel, cell, lacking


def split_into_panels(trials: Sequence[Trial], asked: Sequence[AskedCell] = ()) -> list[Panel]:
    """Sort trials, and cells that were asked for, into panels, in the order of their axes' values.

    A run with hard labels has no expert, view or temperature (null): it belongs to every panel
    with which its other axes agree. Of several runs with the same cell and seeds the first done
    one counts; the others are set aside in `Cell.repeated`.
    """
    places: list[Place] = [*trials, *asked]
    names = sorted({name for place in places for name in place.axes})
    seen = {name: _distinct(places, name) for name in names}
    by_ipc = {
        name: values
        for name in names
        if len(seen[name]) > 1 and _is_student_axis(name)
        if (values := _function_of_ipc(places, name)) is not None
    }
    varying = [name for name in names if len(seen[name]) > 1 and name not in by_ipc]
    if LABEL_VIEW_ID in varying and _is_determined(places, LABEL_VIEW_ID, varying):
        varying.remove(LABEL_VIEW_ID)
    fixed = {name: seen[name][0] for name in names if len(seen[name]) == 1}
    return [
        Panel(
            axes=dict(zip(varying, key, strict=True)),
            fixed=fixed,
            by_ipc=by_ipc,
            cells=_cells(members, varying),
        )
        for key, members in sorted(
            _members_by_panel(places, varying).items(),
            key=lambda item: [_sort_key(value) for value in item[0]],
        )
    ]


def _members_by_panel(
    places: Sequence[Place], varying: Sequence[str]
) -> dict[tuple[Value, ...], list[Place]]:
    members: dict[tuple[Value, ...], list[Place]] = {}
    for place in (p for p in places if p.labels == "soft"):
        members.setdefault(_own(place, varying), []).append(place)
    soft_keys = list(members)
    for place in (p for p in places if p.labels == "hard"):
        own = _own(place, varying)
        homes = [key for key in soft_keys if _agree(own, key)]
        for key in homes or [own]:
            members.setdefault(key, []).append(place)
    return members


def _own(place: Place, varying: Sequence[str]) -> tuple[Value, ...]:
    return tuple(place.axes.get(name) for name in varying)


def _cells(members: Sequence[Place], varying: Sequence[str]) -> dict[CellKey, Cell]:
    grouped: dict[CellKey, list[Place]] = {}
    for member in members:
        grouped.setdefault((member.ipc, member.expert_epoch), []).append(member)
    return {
        key: _cell(key, grouped[key], _own(grouped[key][0], varying))
        for key in sorted(grouped, key=_cell_order)
    }


def _cell(key: CellKey, members: Sequence[Place], place: tuple[Value, ...]) -> Cell:
    asked = {seeds for each in members if isinstance(each, AskedCell) for seeds in each.seeds}
    of_cell = sorted((m for m in members if isinstance(m, Trial)), key=lambda trial: trial.seeds)
    done: dict[Seeds, Trial] = {}
    repeated: list[Trial] = []
    for trial in (t for t in of_cell if t.done):
        if trial.seeds in done:
            repeated.append(trial)
        else:
            done[trial.seeds] = trial
    # A failed run that succeeded elsewhere (another sweep, another machine) is settled.
    failed = tuple(t for t in of_cell if not t.done and t.seeds not in done)
    ipc, epoch = key
    return Cell(
        ipc=ipc,
        expert_epoch=epoch,
        trials=tuple(done.values()),
        failed=failed,
        repeated=tuple(repeated),
        asked=tuple(sorted(asked)),
        place=place,
    )


def _cell_order(key: CellKey) -> tuple[int, bool, int]:
    """By IPC, then by expert epoch, hard labels last."""
    return key[0], key[1] is None, key[1] or 0


def _distinct(places: Sequence[Place], name: str) -> list[Value]:
    """Values of an axis; null in a hard-label run means that the axis does not apply to it."""
    values = {
        _sort_key(value): value
        for place in places
        if (value := place.axes.get(name)) is not None or place.labels == "soft"
    }
    return [values[key] for key in sorted(values)] or [None]


def _is_student_axis(name: str) -> bool:
    return name == "lr" or name.startswith("student.")


def _function_of_ipc(places: Sequence[Place], name: str) -> dict[int, Value] | None:
    values: dict[int, Value] = {}
    for place in places:
        value = place.axes.get(name)
        if values.setdefault(place.ipc, value) != value:
            return None
    return dict(sorted(values.items()))


def _is_determined(places: Sequence[Place], name: str, varying: Sequence[str]) -> bool:
    """Whether the other varying axes already tell the values of `name` apart."""
    values: dict[tuple[Value, ...], Value] = {}
    for place in places:
        others = tuple(place.axes.get(other) for other in varying if other != name)
        if values.setdefault(others, place.axes.get(name)) != place.axes.get(name):
            return False
    return True


def _agree(hard: tuple[Value, ...], soft: tuple[Value, ...]) -> bool:
    return all(h is None or h == s for h, s in zip(hard, soft, strict=True))


def _sort_key(value: Value) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (2, 0.0, str(value))
    return (1, float(value), "")
