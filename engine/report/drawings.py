"""Which figures a panel gets, under which names and captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from engine.analysis.best_epoch import best_epochs
from engine.analysis.grid import Panel
from engine.report import figures
from engine.report.best_epoch_figure import best_epoch_over_ipc

Of = tuple[str, str]  # measure and split


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A kind of figure. `about`: the part of the page that it belongs to."""

    name: str
    caption: Callable[[Panel], str]
    about: Literal["accuracy", "best epoch"]
    draw: Callable[[Panel, str, Of], Figure]
    fits: Callable[[Panel, Of], bool]


def drawings_of(panel: Panel, of: Of | None) -> list[Drawing]:
    """The figures that say something of a panel; `of`: what they draw, None where nothing was."""
    if of is None or not figures.has_points(panel, *of):
        return []
    return [drawing for drawing in _DRAWINGS if drawing.fits(panel, of)]


def _has_choice(panel: Panel, of: Of) -> bool:
    return any(len(figures.epochs_measured(panel, ipc, *of)) > 1 for ipc in panel.ipcs)


def _has_levels(panel: Panel) -> bool:
    return any(panel.cell(ipc, None) and panel.soft_cells(ipc) for ipc in panel.ipcs)


def _has_several_ipcs(panel: Panel, of: Of) -> bool:
    measured = {ipc for (ipc, _), cell in panel.cells.items() if cell.summary(*of)}
    return len(measured) > 1 or not _has_choice(panel, of)


_DRAWINGS = (
    Drawing(
        name="accuracy_over_ipc",
        caption=lambda panel: (
            "Accuracy over IPC."
            + (" Dashed: hard labels on the same images." if panel.has_hard else "")
        ),
        about="accuracy",
        draw=lambda panel, dataset, of: figures.over_ipc(panel, dataset, *of),
        fits=_has_several_ipcs,
    ),
    Drawing(
        name="accuracy_over_expert_epoch",
        caption=lambda panel: (
            "Accuracy over the expert epoch, a line per IPC, with 95 % intervals. A ring marks "
            "the best expert epoch, as the main table has it."
            + (" Dashed: hard labels of the same IPC." if _has_levels(panel) else "")
        ),
        about="best epoch",
        draw=lambda panel, dataset, of: figures.over_expert_epoch(panel, dataset, *of),
        fits=_has_choice,
    ),
    Drawing(
        name="best_epoch_over_ipc",
        caption=lambda _: (
            "The best expert epoch over IPC. A bar spans the epochs that the seeds "
            "can’t rule out as the best."
        ),
        about="best epoch",
        draw=lambda panel, dataset, _: best_epoch_over_ipc(panel, dataset),
        fits=lambda panel, _: len(best_epochs(panel)) > 1,
    ),
)
