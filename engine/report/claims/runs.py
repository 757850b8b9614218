"""Both sides of a comparison: accuracies by seeds, and the runs that they are of.

In: conditions. Out: `Runs`, which know their trials, so that every comparison says on both sides
what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.analysis.cells import Cell
from engine.analysis.statistics import Difference, difference
from engine.analysis.trials import Seeds
from engine.report.entries import cell_anchor


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one side of a comparison rests on.

    ids: of trials, of checkpoints of experts (RUN@EPOCH) or of learned labels, as ``of`` says; of a
    published number and of chance there are none. cell: where the trials lie.
    """

    of: Literal["trials", "experts", "learned labels", "published", "chance"]
    ids: tuple[str, ...] = ()
    cell: Cell | None = field(default=None, repr=False)

    @property
    def anchor(self) -> str:
        """Where the page lists the trials; empty where there are none."""
        return cell_anchor(self.cell) if self.cell is not None else ""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Values (accuracies as fractions) of a cell's runs by their seeds; falsy where there are none.

    cell: None where nothing was ever asked for.
    """

    values: Mapping[Seeds, float]
    cell: Cell | None

    def __bool__(self) -> bool:
        return bool(self.values)

    def side(self, seeds: Iterable[Seeds]) -> Side:
        """The runs of these seeds as a side of a comparison."""
        kept = set(seeds)
        trials = self.cell.trials if self.cell is not None else ()
        ids = tuple(trial.id for trial in trials if trial.seeds in kept)
        return Side(of="trials", ids=ids, cell=self.cell)

    def less(self, other: Runs) -> Difference | None:
        """The difference of two cells' values, paired by seeds where they share them."""
        return difference(self.values, other.values, subsets([*self.values, *other.values]))

    def less_level(self, level: float) -> Difference | None:
        """How far they lie above a number without scatter of its own."""
        return difference(self.values, dict.fromkeys(self.values, level), subsets(self.values))


def subsets(runs: Iterable[Seeds]) -> dict[Seeds, int | None]:
    """The subset of images that each run was trained on: runs that share one are one unit."""
    return {seeds: dict(seeds).get("subset_seed") for seeds in runs}
