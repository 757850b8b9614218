"""Which expert epoch is best for an IPC, and on what evidence that was decided.

The published tables choose the expert epoch by the very test accuracy that they then report. Here
the epoch is chosen on validation images held out of the students' subsets; where there are none,
on test, and the choice says so. The papers' own choice is available beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.analysis.cells import Cell


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen cell and what it was chosen by.

    `chosen_on`: "validation" or "test", of accuracy `measure`. `candidates` counts the cells that
    had a mean, one of which is no choice. `equal_n` is False when the candidates have different
    numbers of runs, so that a lucky single run may have won.
    """

    cell: Cell
    chosen_on: str
    equal_n: bool
    measure: str
    candidates: int


def choose_expert_epoch(cells: Sequence[Cell]) -> Choice | None:
    """The best of one IPC's soft-label cells; None where neither split was measured.

    By mean validation accuracy of the selected student, if every cell with results has one; else
    by mean final test accuracy. Of equal means the earlier epoch wins: its expert is cheaper.
    """
    measured = [cell for cell in cells if cell.trials]
    if measured and all(cell.summary("selected", "validation") for cell in measured):
        return _argmax(measured, "selected", "validation")
    return _argmax(measured, "final", "test")


def choose_as_the_papers(cells: Sequence[Cell]) -> Choice | None:
    """The expert epoch of greatest mean max-on-test accuracy: optimistic, for comparison only."""
    return _argmax(cells, "max_on_test", "test")


def _argmax(cells: Sequence[Cell], measure: str, split: str) -> Choice | None:
    means = [(cell, s) for cell in cells if (s := cell.summary(measure, split)) is not None]
    if not means:
        return None
    best, _ = max(means, key=lambda pair: (pair[1].mean, -(pair[0].expert_epoch or 0)))
    return Choice(
        cell=best,
        chosen_on=split,
        equal_n=len({s.n for _, s in means}) == 1,
        measure=measure,
        candidates=len(means),
    )
