"""Figures: accuracy over IPC, and accuracy over the expert epoch.

In: a panel and which accuracy to draw. Out: matplotlib figures (Agg and SVG, no display, no pyplot
state), and their bytes. Lines run from light to dark in the order of expert epochs or IPC, carry
different markers and are labelled at their ends, so they survive a greyscale print. The same
numbers give the same bytes: ids are salted with a constant and no date is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.analysis.choice import choose_expert_epoch
from engine.analysis.grid import Panel
from engine.report.figure_layout import (
    HARD,
    MARKERS,
    canvas,
    colours,
    draw_key,
    draw_line,
    house_style,
    label_ends,
    set_ticks,
)


def measured(panels: Sequence[Panel]) -> tuple[str, str] | None:
    """(measure, split) that the figures of a report draw, or None where nothing was measured.

    The final epoch's test accuracy: the one number in which nothing was selected. Its validation
    accuracy where the dataset has no test split.
    """
    cells = [cell for panel in panels for cell in panel.cells.values()]
    for split in ("test", "validation"):
        if any(cell.summary("final", split) for cell in cells):
            return "final", split
    return None


def has_points(panel: Panel, measure: str, split: str) -> bool:
    """Whether a panel has anything to draw."""
    return any(cell.summary(measure, split) for cell in panel.cells.values())


def over_ipc(panel: Panel, dataset: str, measure: str = "final", split: str = "test") -> Figure:
    """Accuracy over IPC: one line per expert epoch (gid "epoch-K"), hard labels dashed ("hard")."""
    with house_style():
        figure, axes = canvas(dataset, panel, measure, split, "soft labels by expert epoch")
        ends = []
        shades = colours(len(panel.expert_epochs))
        for number, epoch in enumerate(panel.expert_epochs):
            ends += draw_line(
                axes,
                [(ipc, panel.cell(ipc, epoch)) for ipc in panel.ipcs],
                (measure, split),
                gid=f"epoch-{epoch}",
                label=f"epoch {epoch}",
                color=shades[number],
                marker=MARKERS[number % len(MARKERS)],
                zorder=3,
            )
        if panel.has_hard:
            ends += draw_line(
                axes,
                [(ipc, panel.cell(ipc, None)) for ipc in panel.ipcs],
                (measure, split),
                gid="hard",
                label="hard labels",
                color=HARD,
                marker="o",
                markerfacecolor="white",
                linestyle=(0, (4, 2)),
                zorder=4,
            )
        axes.set_xscale("log")
        set_ticks(axes, panel.ipcs)
        axes.set_xlabel("images per class (IPC)")
        label_ends(axes, ends)
    return figure


def over_expert_epoch(
    panel: Panel, dataset: str, measure: str = "final", split: str = "test"
) -> Figure:
    """Accuracy over the expert epoch: one line per IPC (gid "ipc-N"), its best epoch ringed.

    The ring (gid "best-ipc-N") is at the epoch that the main table chose, which is not always the
    top of the line; the dashed level (gid "hard-ipc-N") is that of hard labels.
    """
    with house_style():
        figure, axes = canvas(dataset, panel, measure, split, "soft labels by IPC")
        ends, chosen_on = [], set()
        shades = colours(len(panel.ipcs))
        for number, ipc in enumerate(panel.ipcs):
            colour = shades[number]
            cells = panel.soft_cells(ipc)
            ends += draw_line(
                axes,
                [(cell.expert_epoch, cell) for cell in cells],
                (measure, split),
                gid=f"ipc-{ipc}",
                label=f"IPC {ipc}",
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                zorder=3,
            )
            choice = choose_expert_epoch(cells)
            best = choice.cell.summary(measure, split) if choice else None
            if choice and best:
                chosen_on.add(choice.chosen_on)
                axes.plot(
                    [choice.cell.expert_epoch or 0],
                    [100 * best.mean],
                    linestyle="none",
                    marker="o",
                    markersize=11,
                    markerfacecolor="none",
                    markeredgecolor=colour,
                    markeredgewidth=1.4,
                    zorder=5,
                    gid=f"best-ipc-{ipc}",
                )
            hard = panel.cell(ipc, None)
            level = hard.summary(measure, split) if hard else None
            if level:
                axes.axhline(
                    100 * level.mean,
                    color=colour,
                    linewidth=1.1,
                    linestyle=(0, (4, 2)),
                    zorder=2,
                    gid=f"hard-ipc-{ipc}",
                )
        if 0 in panel.expert_epochs:
            axes.set_xscale("symlog", linthresh=1)
        else:
            axes.set_xscale("log")
        set_ticks(axes, panel.expert_epochs)
        axes.set_xlabel("expert epoch")
        draw_key(figure, panel.has_hard, sorted(chosen_on))
        label_ends(axes, ends)
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as a standalone SVG with its text as text; equal figures give equal bytes."""
    out = io.BytesIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with house_style():
        figure.savefig(out, format="svg", metadata=metadata)
    return out.getvalue()


def png(figure: Figure) -> bytes:
    """The figure as a PNG of twice the screen's resolution."""
    out = io.BytesIO()
    with house_style():
        figure.savefig(out, format="png", dpi=200, metadata={"Software": None})
    return out.getvalue()


def inline(svg_bytes: bytes, prefix: str) -> str:
    """An `<svg>` element for an HTML page: no XML prolog, ids made unique by `prefix`."""
    text = svg_bytes.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<[^>]*\bid=")', rf"\g<1>{prefix}-", text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
