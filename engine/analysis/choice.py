"""Which expert epoch is best for an IPC, and on what evidence that was decided.

The published tables choose the expert epoch by the very test accuracy that they then report. Here
the epoch is chosen on validation images held out of the students' subsets; where there are none,
on test, and the choice says so. The papers' own choice is available beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import fmean

from engine.analysis.cells import Cell
from engine.analysis.trials import Seeds


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen cell and what it was chosen by.

    `chosen_on`: "validation" or "test", of accuracy `measure`. `candidates` counts the cells that
    had a mean, one of which is no choice. `equal_n` is False when the candidates have different
    numbers of runs, so that some had fewer to show what they can.
    """

    cell: Cell
    chosen_on: str
    equal_n: bool
    measure: str
    candidates: int


def choose_expert_epoch(cells: Sequence[Cell]) -> Choice | None:
    """The best of one IPC's soft-label cells; None where neither split was measured.

    By mean validation accuracy of the selected student, if every cell with results has one; else
    by mean final test accuracy. The cells with most runs are compared over the seeds that they
    share; every other one with the best of them, over the seeds of both. So further runs of one
    epoch can't make it win by their luck, nor a stray run of one take the others' seeds out of the
    choice. Where no seed is shared, each cell's own count. Of equal means the earlier epoch wins:
    its expert is cheaper.
    """
    measured = [cell for cell in cells if cell.trials]
    if measured and all(cell.summary("selected", "validation") for cell in measured):
        return _argmax(measured, "selected", "validation")
    return _argmax(measured, "final", "test")


def choose_as_the_papers(cells: Sequence[Cell]) -> Choice | None:
    """The expert epoch of greatest mean max-on-test accuracy: optimistic, for comparison only."""
    return _argmax(cells, "max_on_test", "test")


def _argmax(cells: Sequence[Cell], measure: str, split: str) -> Choice | None:
    measured = [(cell, values) for cell in cells if (values := cell.values(measure, split))]
    if not measured:
        return None
    most = max(len(values) for _, values in measured)
    fullest = [each for each in measured if len(each[1]) == most]
    shared = set.intersection(*(set(values) for _, values in fullest))
    first = max(fullest, key=lambda each: (_mean(each[1], shared), _earliness(each[0])))

    def lead(values: Mapping[Seeds, float]) -> float:
        both = values.keys() & first[1].keys()
        return _mean(values, both) - _mean(first[1], both)

    thinner = [each for each in measured if len(each[1]) < most]
    best, _ = max([first, *thinner], key=lambda each: (lead(each[1]), _earliness(each[0])))
    return Choice(
        cell=best,
        chosen_on=split,
        equal_n=len({len(values) for _, values in measured}) == 1,
        measure=measure,
        candidates=len(measured),
    )


def _mean(values: Mapping[Seeds, float], over: Set[Seeds]) -> float:
    """Over some seeds; over all that there are where that is none."""
    return fmean(values[seeds] for seeds in over or values)


def _earliness(cell: Cell) -> int:
    return -(cell.expert_epoch or 0)
