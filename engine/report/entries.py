"""What a table consists of: entries with text, tooltip and the way to their trials, and legends."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from engine.analysis.cells import Cell, runs, spread_meaning
from engine.analysis.grid import Panel
from engine.report import numbers


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One field of a table. `anchor` names the list of its trials; `shade` is 0..1 or None."""

    text: str
    title: str = ""
    anchor: str = ""
    style: str = ""  # of "best", "muted" and "words", blanks between them
    shade: float | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """`groups` are (heading, number of columns) above `columns`; `legend` explains the signs."""

    title: str
    groups: tuple[tuple[str, int], ...] = ()
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    legend: tuple[str, ...] = ()

    @property
    def word_columns(self) -> list[bool]:
        """Which columns hold words (set left) rather than numbers (set right)."""
        columns = range(len(self.columns))
        return [any("words" in row[i].style.split() for row in self.rows) for i in columns]

    @property
    def group_starts(self) -> list[bool]:
        """Which columns begin a group."""
        return [i == 0 for _, width in self.groups for i in range(width)] or [False] * len(
            self.columns
        )


def accuracy_entry(
    cell: Cell,
    measure: str,
    *,
    split: str = "test",
    best: bool = False,
    shade: float | None = None,
    usual_n: int | None = None,
) -> Entry:
    """A cell's accuracy with its tooltip, or the reason why there is none."""
    summary = cell.summary(measure, split)
    if summary is None:
        if cell.trials:
            return absent()
        if cell.failed:
            title = f"{len(cell.failed)} runs failed"
            return Entry(text=numbers.FAILED, title=title, anchor=cell_anchor(cell), style="muted")
        return missing_entry(cell)
    ids = ", ".join(trial.id[:12] for trial in cell.trials)
    is_unusual = usual_n is not None and summary.n != usual_n
    return Entry(
        text=numbers.accuracy(summary) + (f" (n = {summary.n})" if is_unusual else ""),
        title=f"{numbers.accuracy_in_full(summary)}; trials {ids}",
        anchor=cell_anchor(cell),
        style="best" if best else "",
        shade=shade,
    )


def cell_anchor(cell: Cell) -> str:
    """Where the page lists the runs of a cell; empty where there are none."""
    every = runs(cell)
    return f"trials-{every[0].id}" if every else ""


def plus_minus_legend(cells: Sequence[Cell]) -> str:
    """What ± means for these cells: over initialisations on one subset, or over subsets too."""
    meanings = spread_meaning(cell for cell in cells if len(cell.trials) > 1)
    text = "Accuracies in percent"
    if not meanings:
        return text + ". Single runs: no spread is given."
    return (
        f"{text}: mean ± population standard deviation (ddof = 0, as in the paper) over n runs "
        f"that differ in {', or in '.join(meanings)}. The 95 % confidence interval of the mean "
        "(Student’s t, sample standard deviation) is in the tooltips and the CSV."
    )


def absence_legend(
    panels: Sequence[Panel], splits: Container[str] = ("test", "validation")
) -> list[str]:
    """Why some numbers are an em dash: which of `splits` the dataset lacks."""
    cells = [cell for panel in panels for cell in panel.cells.values() if cell.trials]
    lacking = [
        f"no {what}"
        for split, measure, what in (
            ("test", "final", "test split"),
            ("validation", "selected", "validation images"),
        )
        if split in splits and any(cell.summary(measure, split) is None for cell in cells)
    ]
    if not lacking:
        return []
    return [f"{numbers.NOT_MEASURED}: not measured: the dataset has {numbers.listed(lacking)}."]


def missing_entry(cell: Cell | None) -> Entry:
    """Where nothing was run: whether something was asked for there."""
    if cell is not None and cell.asked:
        return Entry(
            text=numbers.NOT_RUN, title=f"asked for: {len(cell.asked)} runs", style="muted"
        )
    return Entry(text=numbers.NOT_ASKED, title="not asked for", style="muted")


def absent() -> Entry:
    """What was run but not measured."""
    return Entry(text=numbers.NOT_MEASURED, title="not measured", style="muted")
