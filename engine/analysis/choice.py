"""Which expert epoch is best for an IPC, and on what evidence that was decided.

The published tables choose the expert epoch by the very test accuracy that they then report. Here
the epoch is chosen on validation images held out of the students' subsets; where there are none,
on test, and the choice says so. The papers' own choice is available beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from engine.analysis.cells import Cell
from engine.analysis.trials import Seeds


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen cell and what it was chosen by.

    `chosen_on`: "validation" or "test", of accuracy `measure`. `candidates` counts the cells that
    had a mean, one of which is no choice. `equal_n` is False when the candidates have different
    numbers of runs: what some have more of is no part of the choice where they share seeds, and
    may have decided it where they share none.
    """

    cell: Cell
    chosen_on: str
    equal_n: bool
    measure: str
    candidates: int


def choose_expert_epoch(cells: Sequence[Cell]) -> Choice | None:
    """The best of one IPC's soft-label cells; None where neither split was measured.

    By mean validation accuracy of the selected student, if every cell with results has one; else
    by mean final test accuracy. The means are over the seeds that all cells have, so that further
    runs of one epoch can't make it win by their luck; over each cell's own where none is shared.
    Of equal means the earlier epoch wins: its expert is cheaper.
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
    shared = set.intersection(*(set(values) for _, values in measured))

    def rank(candidate: tuple[Cell, dict[Seeds, float]]) -> tuple[float, int]:
        cell, values = candidate
        return fmean(values[seeds] for seeds in shared or values), -(cell.expert_epoch or 0)

    best, _ = max(measured, key=rank)
    return Choice(
        cell=best,
        chosen_on=split,
        equal_n=len({len(values) for _, values in measured}) == 1,
        measure=measure,
        candidates=len(measured),
    )
