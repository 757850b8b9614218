"""What an experiment is, and what it finds: sentences, tables, figures, and the runs they rest on.

Adding an experiment is a pure function from `Evidence` to a `Finding` (None where the trials hold
nothing of it) and a line in `EXPERIMENTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.analysis.cells import Cell
from engine.report.entries import Table
from engine.report.experiments.conditions import Condition, Key
from engine.report.experiments.evidence import Evidence
from engine.report.tables import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure to be drawn. `name` is that of its files."""

    name: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True, kw_only=True)
class NumberTable:
    """A table as it is read and, as flat rows, as it is computed with: `name` is its files'."""

    name: str
    view: Table
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the trials say about one question.

    `sentences` are made from numbers, the first of them the answer. `shown`: the conditions that
    this is the place for, which then have no panel of their own; `cells`: all that its numbers
    rest on.
    """

    sentences: tuple[str, ...]
    tables: tuple[NumberTable, ...] = ()
    pictures: tuple[Picture, ...] = ()
    shown: tuple[Condition, ...] = ()
    cells: tuple[Cell, ...] = ()

    @property
    def takes(self) -> frozenset[Key]:
        """Keys of what is shown here."""
        return frozenset(each.key for each in self.shown)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One question. `name`: of its files and its place on the page; `source`: where it is from."""

    name: str
    title: str
    question: str
    source: str
    find: Callable[[Evidence], Finding | None]


def cells_of(conditions: Iterable[Condition | None]) -> tuple[Cell, ...]:
    """The cells that have runs, each once."""
    found = {each.key: each.cell for each in conditions if each is not None}
    return tuple(cell for cell in found.values() if cell.trials or cell.failed)
