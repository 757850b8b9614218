"""Cells: the runs that differ in nothing but seeds, and what one measures of them together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.analysis.statistics import Difference, Summary, difference, summarise
from engine.analysis.trials import Seeds, Trial, Value

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
    and counted in no mean, since the same seeds twice are no new evidence. `asked` holds the seeds
    that the sweeps were asked to run, known or not; a cell may have no run at all. `place` tells it
    from cells of equal IPC and epoch in other panels: the values of the axes that vary between
    panels, None where one does not apply (hard labels have no temperature, and one cell of them
    lies in the panel of every temperature).
    """

    ipc: int
    expert_epoch: int | None
    trials: tuple[Trial, ...]
    failed: tuple[Trial, ...]
    repeated: tuple[Trial, ...]
    asked: tuple[Seeds, ...] = ()
    place: tuple[Value, ...] = ()

    @property
    def missing(self) -> tuple[Seeds, ...]:
        """Seeds asked for of which there is no run; a failed run is a run."""
        have = {trial.seeds for trial in runs(self)}
        return tuple(seeds for seeds in self.asked if seeds not in have)

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

    def gain_over(self, other: Cell, measure: str, split: str = "test") -> Difference | None:
        """This cell's accuracy minus another's, paired by seeds where they share them."""
        trials = (*self.trials, *other.trials)
        subset_of = {trial.seeds: trial.subset_seed for trial in trials}
        return difference(self.values(measure, split), other.values(measure, split), subset_of)

    @property
    def spread(self) -> str:
        """What the ± of this cell is taken over: a key of the legend (`spread_meaning`)."""
        if len(self.trials) < 2:
            return "one"
        subsets = {trial.subset_seed for trial in self.trials}
        if len(subsets) == 1:
            return "initialisations"
        return "subsets" if len(subsets) == len(self.trials) else "both"


def runs(cell: Cell) -> tuple[Trial, ...]:
    """Every run of a cell: done, failed, repeated."""
    return cell.trials + cell.failed + cell.repeated


def spread_meaning(cells: Iterable[Cell]) -> list[str]:
    """What the ± of these cells is taken over, in words, each kind once."""
    kinds = {cell.spread for cell in cells if cell.trials}
    return [text for kind, text in _SPREADS.items() if kind in kinds]
