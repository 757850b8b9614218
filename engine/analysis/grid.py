"""Trials sorted into panels of comparable cells.

A *cell* holds the runs that differ in nothing but seeds. A *panel* is one IPC × expert epoch grid
of cells (and hard labels) in which everything else is fixed: a sweep over temperatures or learning
rates falls apart into one panel per value, never into an average. One exception keeps published
recipes in one table: a setting of the student that is a function of IPC (one learning rate per
IPC, as in the paper's Table 7) varies *within* a panel and is shown in its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from engine.analysis.plan import Plan
from engine.analysis.statistics import Difference, Summary, difference, summarise
from engine.analysis.trials import LABEL_VIEW_ID, Seeds, Trial, Value

CellKey = tuple[int, int | None]
"""(IPC, expert epoch); None stands for hard labels."""

_SPREADS = {
    "one": "a single run",
    "initialisations": "initial weights, order and augmentation on one subset",
    "subsets": "subsets, initial weights, order and augmentation together",
    "both": "subsets and, within a subset, initial weights, order and augmentation "
    "(the tooltips split the two)",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Runs that differ in nothing but seeds: `trials` are done, `failed` are not.

    `repeated` holds further runs of seeds that `trials` already has; they are listed in a report
    and counted in no mean, since the same seeds twice are no new evidence.
    """

    ipc: int
    expert_epoch: int | None
    trials: tuple[Trial, ...]
    failed: tuple[Trial, ...]
    repeated: tuple[Trial, ...]

    def values(self, measure: str, split: str = "test") -> dict[Seeds, float]:
        """Accuracy (fraction 0..1) of every run that has it, by the run's seeds."""
        found = {}
        for trial in self.trials:
            value = (trial.test if split == "test" else trial.validation).get(measure)
            if value is not None:
                found[trial.seeds] = value
        return found

    def summary(self, measure: str, split: str = "test") -> Summary | None:
        """Mean, spread and interval of one accuracy; None where it was not measured."""
        values = self.values(measure, split)
        subset_of = {trial.seeds: trial.subset_seed for trial in self.trials}
        return summarise(list(values.values()), [subset_of[seeds] for seeds in values])

    def gain_over(self, other: Cell, measure: str) -> Difference | None:
        """This cell's test accuracy minus another's, paired by seeds where they share them."""
        subset_of = {trial.seeds: trial.subset_seed for trial in self.trials}
        return difference(self.values(measure), other.values(measure), subset_of)

    @property
    def spread(self) -> str:
        """What the ± of this cell is taken over: a key of the legend (`spread_meaning`)."""
        if len(self.trials) < 2:
            return "one"
        subsets = {trial.subset_seed for trial in self.trials}
        if len(subsets) == 1:
            return "initialisations"
        return "subsets" if len(subsets) == len(self.trials) else "both"


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

    def missing(
        self, plans: Sequence[Plan] = ()
    ) -> list[tuple[int, int | None, tuple[Seeds, ...]]]:
        """Cells of the full grid that lack runs: (IPC, expert epoch or None, seeds not run).

        The full grid is every IPC × every expert epoch (and hard labels) × every seed that this
        panel has seen for that kind of labels, and what the `plans` that concern it asked for.
        A failed run is not missing: it is in its cell's `failed`.
        """
        asked: dict[tuple[int, int | None], set[Seeds]] = {}
        for kind in ("soft", "hard"):
            of_kind = {k: c for k, c in self.cells.items() if (k[1] is None) == (kind == "hard")}
            if of_kind:
                seeds = {trial.seeds for cell in of_kind.values() for trial in runs(cell)}
                epochs = [None] if kind == "hard" else self.expert_epochs
                for key in product(self.ipcs, epochs):
                    asked.setdefault(key, set()).update(seeds)
        for plan in plans:
            if plan.concerns({**self.fixed, **self.axes}):
                for key in plan.cells():
                    asked.setdefault(key, set()).update(plan.seeds)
        lacking = []
        for ipc, epoch in sorted(asked, key=_cell_order):
            found = self.cell(ipc, epoch)
            have = {trial.seeds for trial in runs(found)} if found else set()
            if absent := asked[ipc, epoch] - have:
                lacking.append((ipc, epoch, tuple(sorted(absent))))
        return lacking


def runs(cell: Cell) -> tuple[Trial, ...]:
    """Every run of a cell: done, failed, repeated."""
    return cell.trials + cell.failed + cell.repeated


def spread_meaning(cells: Iterable[Cell]) -> list[str]:
    """What the ± of these cells is taken over, in words, each kind once."""
    kinds = {cell.spread for cell in cells if cell.trials}
    return [text for kind, text in _SPREADS.items() if kind in kinds]


def split_into_panels(trials: Sequence[Trial]) -> list[Panel]:
    """Sort trials into panels. Order of panels: by the values of their axes.

    A run with hard labels has no expert, view or temperature (null): it belongs to every panel
    with which its other axes agree. Of several runs with the same cell and seeds the first done
    one counts; the others are set aside in `Cell.repeated`.
    """
    names = sorted({name for trial in trials for name in trial.axes})
    seen = {name: _distinct(trials, name) for name in names}
    by_ipc = {
        name: values
        for name in names
        if len(seen[name]) > 1 and _is_student_axis(name)
        if (values := _function_of_ipc(trials, name)) is not None
    }
    varying = [name for name in names if len(seen[name]) > 1 and name not in by_ipc]
    if LABEL_VIEW_ID in varying and _is_determined(trials, LABEL_VIEW_ID, varying):
        varying.remove(LABEL_VIEW_ID)
    fixed = {name: seen[name][0] for name in names if len(seen[name]) == 1}

    soft = [trial for trial in trials if trial.labels == "soft"]
    hard = [trial for trial in trials if trial.labels == "hard"]
    members: dict[tuple[Value, ...], list[Trial]] = {}
    for trial in soft:
        members.setdefault(tuple(trial.axes.get(name) for name in varying), []).append(trial)
    soft_keys = list(members)
    for trial in hard:
        own = tuple(trial.axes.get(name) for name in varying)
        homes = [key for key in soft_keys if _agree(own, key)]
        for key in homes or [own]:
            members.setdefault(key, []).append(trial)
    return [
        Panel(
            axes=dict(zip(varying, key, strict=True)),
            fixed=fixed,
            by_ipc=by_ipc,
            cells=_cells(members[key]),
        )
        for key in sorted(members, key=lambda key: [_sort_key(value) for value in key])
    ]


def _cells(trials: Sequence[Trial]) -> dict[CellKey, Cell]:
    grouped: dict[CellKey, list[Trial]] = {}
    for trial in trials:
        grouped.setdefault((trial.ipc, trial.expert_epoch), []).append(trial)
    cells = {}
    for ipc, epoch in sorted(grouped, key=_cell_order):
        done: dict[Seeds, Trial] = {}
        repeated: list[Trial] = []
        of_cell = sorted(grouped[ipc, epoch], key=lambda trial: trial.seeds)
        for trial in (t for t in of_cell if t.done):
            if trial.seeds in done:
                repeated.append(trial)
            else:
                done[trial.seeds] = trial
        # A failed run that succeeded elsewhere (another sweep, another machine) is settled.
        failed = tuple(t for t in of_cell if not t.done and t.seeds not in done)
        cells[ipc, epoch] = Cell(
            ipc=ipc,
            expert_epoch=epoch,
            trials=tuple(done.values()),
            failed=failed,
            repeated=tuple(repeated),
        )
    return cells


def _cell_order(key: CellKey) -> tuple[int, bool, int]:
    """By IPC, then by expert epoch, hard labels last."""
    return key[0], key[1] is None, key[1] or 0


def _distinct(trials: Sequence[Trial], name: str) -> list[Value]:
    """Values of an axis; null in a hard-label run means that the axis does not apply to it."""
    values = {
        _sort_key(value): value
        for trial in trials
        if (value := trial.axes.get(name)) is not None or trial.labels == "soft"
    }
    return [values[key] for key in sorted(values)] or [None]


def _is_student_axis(name: str) -> bool:
    return name == "lr" or name.startswith("student.")


def _function_of_ipc(trials: Sequence[Trial], name: str) -> dict[int, Value] | None:
    values: dict[int, Value] = {}
    for trial in trials:
        value = trial.axes.get(name)
        if values.setdefault(trial.ipc, value) != value:
            return None
    return dict(sorted(values.items()))


def _is_determined(trials: Sequence[Trial], name: str, varying: Sequence[str]) -> bool:
    """Whether the other varying axes already tell the values of `name` apart."""
    values: dict[tuple[Value, ...], Value] = {}
    for trial in trials:
        others = tuple(trial.axes.get(other) for other in varying if other != name)
        if values.setdefault(others, trial.axes.get(name)) != trial.axes.get(name):
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
