"""The best expert epoch of every IPC, how sure that is, and whether it grows with IPC.

In: soft-label cells by IPC. Out: one `BestEpoch` per IPC in which several epochs were measured, and
a `Growth`. The sets of epochs that may be the best hold together: with 95 % probability over seeds
every IPC's set has its truly best epoch. So where the sets of two IPCs do not overlap, that their
best epochs differ is established at 95 %, however many IPCs there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

from engine.analysis.best import Contest, compare_candidates
from engine.analysis.cells import Cell
from engine.analysis.choice import Choice, choose_expert_epoch
from engine.analysis.grid import Panel

Direction = Literal["grows", "falls", "equal", "mixed"]


@dataclass(frozen=True, kw_only=True)
class BestEpoch:
    """What was found at one IPC. `compared`: the epochs measured; `owed`: asked for, without runs.

    `contest` says what the seeds that all compared epochs share make of the choice.
    """

    ipc: int
    choice: Choice
    compared: tuple[int, ...]
    owed: tuple[int, ...]
    contest: Contest[int]

    @property
    def epoch(self) -> int:
        """The expert epoch that was chosen."""
        return self.contest.best

    @property
    def is_of_single_runs(self) -> bool:
        """Whether every epoch compared has one run."""
        values = self.choice.cell.values(self.choice.measure, self.choice.chosen_on)
        return self.choice.equal_n and len(values) == 1

    @property
    def is_first(self) -> bool:
        """Whether no earlier epoch was compared, so that the best may lie before."""
        return self.epoch == self.compared[0]

    @property
    def is_last(self) -> bool:
        """Whether no later epoch was compared, so that the best may lie beyond."""
        return self.epoch == self.compared[-1]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the best epoch goes with IPC.

    `direction` is that of the chosen epochs, read off as they are. `rises` and `falls` are the
    pairs of IPCs, smaller one first, between which the seeds establish it at 95 %; pairs with
    different epochs to choose from are no evidence and never among them.
    """

    direction: Direction
    rises: tuple[tuple[int, int], ...]
    falls: tuple[tuple[int, int], ...]
    same_epochs: bool


def best_epochs(panel: Panel) -> list[BestEpoch]:
    """The best expert epoch of every IPC at which at least two were measured, by IPC."""
    return best_epochs_among({ipc: panel.soft_cells(ipc) for ipc in panel.ipcs})


def best_epochs_among(cells: Mapping[int, Sequence[Cell]]) -> list[BestEpoch]:
    """The same of soft-label cells by IPC, each IPC's in the order of expert epochs."""
    chosen = [(ipc, choose_expert_epoch(of)) for ipc, of in sorted(cells.items())]
    several = [(ipc, each) for ipc, each in chosen if each is not None and each.candidates > 1]
    return [_judged(cells[ipc], ipc, choice, len(several)) for ipc, choice in several]


def judge_growth(found: Sequence[BestEpoch]) -> Growth | None:
    """Whether the best epoch grows with IPC; None with fewer than two IPCs."""
    if len(found) < 2:
        return None
    epochs = [each.epoch for each in found]
    up = any(a < b for a, b in pairwise(epochs))
    down = any(a > b for a, b in pairwise(epochs))
    direction: Direction = "mixed" if up and down else "grows" if up else "falls"
    rises, falls = [], []
    for small, large in combinations(found, 2):
        before, after = small.contest.plausible, large.contest.plausible
        if before is None or after is None or small.compared != large.compared:
            continue
        if max(before) < min(after):
            rises.append((small.ipc, large.ipc))
        if min(before) > max(after):
            falls.append((small.ipc, large.ipc))
    return Growth(
        direction=direction if up or down else "equal",
        rises=tuple(rises),
        falls=tuple(falls),
        same_epochs=len({each.compared for each in found}) == 1,
    )


def _judged(cells: Sequence[Cell], ipc: int, choice: Choice, contests: int) -> BestEpoch:
    of = choice.measure, choice.chosen_on
    values = {
        cell.expert_epoch: found
        for cell in cells
        if cell.expert_epoch is not None and (found := cell.values(*of))
    }
    assert choice.cell.expert_epoch is not None
    subset_of = {trial.seeds: trial.subset_seed for cell in cells for trial in cell.trials}
    return BestEpoch(
        ipc=ipc,
        choice=choice,
        compared=tuple(values),
        owed=tuple(c.expert_epoch for c in cells if c.expert_epoch is not None and c.missing),
        contest=compare_candidates(values, choice.cell.expert_epoch, subset_of, contests=contests),
    )
