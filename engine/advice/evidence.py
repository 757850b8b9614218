"""What a recommendation rests on: the cells of sweeps of this dataset, or the published grid.

In: sweep folders. Out: points for the scaling law, with the trials that they are means of, and how
the learning rates that were tried did. Sweeps that hold too few cells for a law say so and leave
the law to the published grid, which is another dataset's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beton_builder import Dataset
from engine.analysis import LawPoint, compare_candidates, split_into_panels
from engine.analysis.best_epoch import BestEpoch, best_epochs
from engine.analysis.cells import Cell
from engine.analysis.grid import Panel
from engine.analysis.published import read_published
from engine.analysis.trials import Seeds
from engine.errors import MismatchError

LR = "student.lr"
LEAST_IPCS, LEAST_EPOCHS, LEAST_POINTS = 2, 3, 6
"""Of a grid to which a form with an optimum can be fitted."""


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """What was found about learning rates at one IPC, each at the best epoch that all have.

    `plausible`: those that the seeds can't rule out as the best at 95 %; None where they can't
    tell, or only one was tried.
    """

    ipc: int
    best: float
    tried: tuple[float, ...]
    plausible: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Points for the law and where they come from. `is_published`: of another dataset, no trials.

    `accuracy`: which one the points hold, in words. `measured`: the best epochs found by IPC.
    """

    is_published: bool
    dataset: str
    accuracy: str
    points: tuple[LawPoint, ...]
    learning_rates: tuple[LearningRate, ...]
    measured: tuple[BestEpoch, ...] = ()
    sweeps: tuple[str, ...] = ()
    trial_ids: tuple[str, ...] = ()
    student: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def learning_rate_near(self, ipc: int) -> LearningRate:
        """Of the IPC that is nearest on a logarithmic scale."""
        return min(self.learning_rates, key=lambda each: abs(math.log(each.ipc / ipc)))


def published_evidence(notes: Iterable[str] = ()) -> Evidence:
    """The grid that the papers' reproduction measured on CIFAR-100."""
    published = read_published()["cifar100"]
    points = tuple(
        LawPoint(ipc=ipc, knowledge=epoch, accuracies=(percent / 100,))
        for ipc, by_epoch in published.grid.items()
        for epoch, percent in by_epoch.items()
    )
    return Evidence(
        is_published=True,
        dataset="CIFAR-100, as published",
        accuracy="test accuracy, the greatest during training",
        points=points,
        learning_rates=tuple(
            LearningRate(ipc=ipc, best=lr, tried=(lr,), plausible=None)
            for ipc, (_, lr, *_) in published.table7["ConvNetD3"].items()
        ),
        notes=(
            *notes,
            "The law is that of another dataset: CIFAR-100, ConvNetD3, students of 3,000 epochs, "
            "one run a cell, read off a published plot. Yours may differ more than the intervals "
            "say; a short sweep of your own (--sweep) replaces it.",
        ),
    )


def evidence_of(sweeps: Sequence[str | Path], dataset: Dataset, data: str | Path) -> Evidence:
    """What sweeps of a dataset say.

    Raises:
        ArtefactError, DamageError: as `engine.report.sweeps.read_sweeps`.
        MismatchError: they are of different datasets, or of another one than this.
    """
    from engine.report.sweeps import read_sweeps

    results = read_sweeps(sweeps)
    if results.dataset_id != dataset.id:
        raise MismatchError(
            f"expected sweeps of dataset {dataset.id} ({dataset.name}, at {data}), found "
            f"{results.dataset_id} ({results.dataset_name}) in {', '.join(results.sweeps)}: give "
            "that dataset as --data, or leave --sweep out to go by the published grid"
        )
    panels = [panel for panel in split_into_panels(results.trials) if _measured_cells(panel)]
    family = _largest_family(panels)
    cells = [cell for panel in family for cell in _measured_cells(panel)]
    notes = []
    if len(family) < len(panels):
        settings = ", ".join(name for name in panels[0].axes if not may_vary(name))
        notes.append(
            f"The sweeps also differ in {settings}; only the setting with most cells is used: "
            f"{_in_words({k: v for k, v in family[0].axes.items() if not may_vary(k)})}."
        )
    epochs = {cell.expert_epoch for cell in cells}
    ipcs = {cell.ipc for cell in cells}
    if len(ipcs) < LEAST_IPCS or len(epochs) < LEAST_EPOCHS or len(cells) < LEAST_POINTS:
        held = f"{len(ipcs)} × {len(epochs)}" if cells else "none"
        return published_evidence(
            [
                f"The sweeps hold too few cells of soft labels for a law: expected {LEAST_IPCS} "
                f"IPCs × {LEAST_EPOCHS} expert epochs or more, found {held}."
            ]
        )
    return _evidence(family, results.dataset_name, results.sweeps, [*notes, *results.notes])


def _evidence(
    family: Sequence[Panel], dataset: str, sweeps: tuple[str, ...], notes: Sequence[str]
) -> Evidence:
    measure, split = _best_accuracy([cell for panel in family for cell in _measured_cells(panel)])
    points, rates, measured, trial_ids, lengths = [], [], [], [], {}
    notes = list(notes)
    for ipc in sorted({cell.ipc for panel in family for cell in _measured_cells(panel)}):
        of_rate = {_learning_rate(panel, ipc): panel for panel in _of_one_length(family, ipc)}
        found = _compare_rates(of_rate, ipc, measure, split)
        rates.append(found)
        # A rate tried at one epoch says nothing of epochs, however well it did there.
        rate = max(of_rate, key=lambda rate: (_num_cells(of_rate[rate], ipc), rate == found.best))
        if rate != found.best:
            notes.append(
                f"At IPC {ipc} the law rests on learning rate {rate:g}, at which most expert "
                f"epochs were run, though {found.best:g} did better."
            )
        panel = of_rate[rate]
        lengths[ipc] = _setting(panel, "student.epochs", ipc)
        measured += [each for each in best_epochs(panel) if each.ipc == ipc]
        for cell in _measured_cells(panel):
            if cell.ipc == ipc and (values := cell.values(measure, split)):
                assert cell.expert_epoch is not None
                accuracies = tuple(values.values())
                points.append(LawPoint(ipc=ipc, knowledge=cell.expert_epoch, accuracies=accuracies))
                trial_ids += [trial.id for trial in cell.trials]
    settings = {**family[0].fixed, **family[0].axes}
    return Evidence(
        is_published=False,
        dataset=dataset,
        accuracy="validation accuracy, at the evaluation chosen on validation"
        if split == "validation"
        else "test accuracy, final epoch",
        points=tuple(points),
        learning_rates=tuple(rates),
        measured=tuple(measured),
        sweeps=sweeps,
        trial_ids=tuple(trial_ids),
        student={
            name.removeprefix("student."): value
            for name, value in settings.items()
            if name.startswith("student.")
        },
        notes=(*notes, *_lengths(lengths)),
    )


def _measured_cells(panel: Panel) -> list[Cell]:
    """Cells of soft labels with runs; epoch 0, an expert that knows nothing, has no logarithm."""
    return [cell for (_, epoch), cell in panel.cells.items() if epoch and cell.trials]


def _num_cells(panel: Panel, ipc: int) -> int:
    return sum(cell.ipc == ipc for cell in _measured_cells(panel))


_LENGTHS = (
    "student.epochs",
    "student.evaluations",
    "student.schedule.every",
    "student.schedule.horizon",
)


def _is_length(name: str) -> bool:
    """Whether a setting is the students' length, or follows from it."""
    return name in _LENGTHS


def may_vary(name: str) -> bool:
    """Whether panels that differ in this axis are of one family."""
    return name == LR or _is_length(name)


def _of_one_length(family: Sequence[Panel], ipc: int) -> list[Panel]:
    """Panels with cells of an IPC whose students are as long as those of most of its cells."""
    found: dict[tuple[Any, ...], list[Panel]] = {}
    for panel in family:
        if _num_cells(panel, ipc):
            length = tuple(item for item in panel.axes.items() if _is_length(item[0]))
            found.setdefault(length, []).append(panel)
    return max(found.values(), key=lambda panels: sum(_num_cells(each, ipc) for each in panels))


def _largest_family(panels: Sequence[Panel]) -> list[Panel]:
    """Panels that differ in learning rate and length alone: of plain soft labels, with most cells.

    Students of as many steps have other epochs at every IPC, and one IPC may have longer ones, too.
    """
    families: dict[tuple[tuple[str, Any], ...], list[Panel]] = {}
    for panel in panels:
        others = tuple(item for item in panel.axes.items() if not may_vary(item[0]))
        families.setdefault(others, []).append(panel)

    def rank(family: list[Panel]) -> tuple[bool, int]:
        is_plain = family[0].axes.get("transform", "soft") in (None, "soft")
        cells = {(c.ipc, c.expert_epoch) for panel in family for c in _measured_cells(panel)}
        return is_plain, len(cells)

    return max(families.values(), key=rank, default=[])


def _setting(panel: Panel, name: str, ipc: int) -> Any:
    """A setting of the students of one IPC."""
    if name in panel.by_ipc:
        return panel.by_ipc[name].get(ipc)
    return {**panel.fixed, **panel.axes}.get(name)


def _learning_rate(panel: Panel, ipc: int) -> float:
    return float(str(_setting(panel, LR, ipc)))


def _compare_rates(
    of_rate: Mapping[float, Panel], ipc: int, measure: str, split: str
) -> LearningRate:
    """At the expert epochs, and over the seeds, at which all were tried, if there are any."""
    tried = {
        rate: {
            cell.expert_epoch: values
            for cell in _measured_cells(panel)
            if cell.ipc == ipc and (values := cell.values(measure, split))
        }
        for rate, panel in sorted(of_rate.items())
    }
    tried = {rate: cells for rate, cells in tried.items() if cells}
    if not tried:
        rate = min(of_rate)
        return LearningRate(ipc=ipc, best=rate, tried=(rate,), plausible=None)
    epochs = set.intersection(*(set(cells) for cells in tried.values()))
    best_cells = {
        rate: max((v for e, v in cells.items() if e in epochs or not epochs), key=_mean)
        for rate, cells in tried.items()
    }
    first = next(iter(best_cells.values()))
    shared = [seeds for seeds in first if all(seeds in cell for cell in best_cells.values())]
    best = max(
        best_cells,
        key=lambda rate: (
            _mean({seeds: best_cells[rate][seeds] for seeds in shared})
            if shared
            else _mean(best_cells[rate])
        ),
    )
    subset_of = {
        trial.seeds: trial.subset_seed
        for panel in of_rate.values()
        for cell in _measured_cells(panel)
        for trial in cell.trials
    }
    contest = compare_candidates(best_cells, best, subset_of)
    plausible = contest.plausible if len(best_cells) > 1 else None
    return LearningRate(ipc=ipc, best=best, tried=tuple(best_cells), plausible=plausible)


def _mean(values: Mapping[Seeds, float]) -> float:
    return float(np.mean(list(values.values())))


def _best_accuracy(cells: Sequence[Cell]) -> tuple[str, str]:
    """Measure and split to go by: validation where every cell has it."""
    if all(cell.values("selected", "validation") for cell in cells):
        return "selected", "validation"
    return "final", "test"


def _lengths(by_ipc: Mapping[int, Any]) -> list[str]:
    """How long the students of the sweeps trained."""
    if len({*by_ipc.values()}) == 1:
        said = f"{next(iter(by_ipc.values()))} epochs"
    else:
        said = ", ".join(f"{epochs} epochs at IPC {ipc}" for ipc, epochs in by_ipc.items())
    return [f"The sweeps' students trained for {said}; the best epoch of others may differ."]


def _in_words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
