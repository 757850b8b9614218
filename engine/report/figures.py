"""Figures: accuracy over IPC, and accuracy over the expert epoch.

In: a panel and which accuracy to draw. Out: matplotlib figures (Agg and SVG, no display, no pyplot
state), and their bytes. Lines run from light to dark in the order of expert epochs or IPC, carry
different markers and are labelled at their ends, so they survive a greyscale print. The same
numbers give the same bytes: ids are salted with a constant and no date is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.analysis.choice import choose_expert_epoch
from engine.analysis.grid import Panel
from engine.report.figure_edges import keep_inside
from engine.report.figure_layout import (
    GREY,
    HARD,
    MARKERS,
    LineEnd,
    canvas,
    colours,
    draw_line,
    epoch_scale,
    house_style,
    label_ends,
    place_key,
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


def epochs_measured(panel: Panel, ipc: int, measure: str, split: str) -> list[int]:
    """The expert epochs that one IPC has a point for, ascending."""
    measured_cells = (cell for cell in panel.soft_cells(ipc) if cell.summary(measure, split))
    return [cell.expert_epoch for cell in measured_cells if cell.expert_epoch is not None]


def over_ipc(panel: Panel, dataset: str, measure: str = "final", split: str = "test") -> Figure:
    """Accuracy over IPC: one line per expert epoch (gid "epoch-K"), hard labels dashed ("hard").

    Where every IPC has an epoch of its own, one line of soft labels (gid "soft") names them.
    """
    epoch_of = {ipc: epochs_measured(panel, ipc, measure, split) for ipc in panel.ipcs}
    one_each = all(len(epochs) < 2 for epochs in epoch_of.values())
    one_each = one_each and len({epochs[0] for epochs in epoch_of.values() if epochs}) > 1
    with house_style():
        lines = "soft labels, expert epoch by IPC" if one_each else "soft labels by expert epoch"
        figure, axes = canvas(dataset, panel, measure, split, lines)
        ends = []
        if one_each:
            ends += _line_of_named_epochs(axes, panel, epoch_of, (measure, split))
        shades = colours(len(panel.expert_epochs))
        for number, epoch in enumerate([] if one_each else panel.expert_epochs):
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
        axes.set_ylim(bottom=0)
        set_ticks(axes, panel.ipcs)
        axes.set_xlabel("images per class (IPC)")
        label_ends(axes, ends)
    return figure


def _line_of_named_epochs(
    axes: Axes, panel: Panel, epoch_of: Mapping[int, Sequence[int]], of: tuple[str, str]
) -> list[LineEnd]:
    """One line through the only epoch of every IPC, its number beside each point."""
    points = [(ipc, panel.cell(ipc, epochs[0])) for ipc, epochs in epoch_of.items() if epochs]
    for ipc, cell in points:
        summary = cell.summary(*of) if cell else None
        if cell and summary:
            axes.annotate(
                f"epoch {cell.expert_epoch}",
                (ipc, 100 * summary.mean),
                xytext=(6, -13),  # lines rise with IPC, so there is room below on the right
                textcoords="offset points",
                fontsize=8.5,
                color=GREY,
            )
    return draw_line(
        axes,
        points,
        of,
        gid="soft",
        label="soft labels",
        color=colours(1)[0],
        marker=MARKERS[0],
        zorder=3,
    )


def over_expert_epoch(
    panel: Panel, dataset: str, measure: str = "final", split: str = "test"
) -> Figure:
    """Accuracy over the expert epoch: one line per IPC (gid "ipc-N"), its best epoch ringed.

    The ring (gid "best-ipc-N") is at the epoch that the main table chose, which is not always the
    top of the line; the dashed level (gid "hard-ipc-N") is that of hard labels. An IPC without a
    line has no level either, which would pass for another's. Bars are 95 % intervals: whether
    epochs differ is what this figure is asked.
    """
    with house_style():
        figure, axes = canvas(dataset, panel, measure, split, "soft labels by IPC", bars="interval")
        ends, chosen_on, has_level = [], set(), False
        ipcs = [ipc for ipc in panel.ipcs if epochs_measured(panel, ipc, measure, split)]
        shades = colours(len(ipcs))
        for number, ipc in enumerate(ipcs):
            colour = shades[number]
            cells = panel.soft_cells(ipc)
            ends += draw_line(
                axes,
                [(cell.expert_epoch, cell) for cell in cells],
                (measure, split),
                bars="interval",
                gid=f"ipc-{ipc}",
                label=f"IPC {ipc}",
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                zorder=3,
            )
            choice = choose_expert_epoch(cells)
            best = choice.cell.summary(measure, split) if choice else None
            if choice and best and choice.candidates > 1:
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
                has_level = True
                axes.axhline(
                    100 * level.mean,
                    color=colour,
                    linewidth=1.1,
                    linestyle=(0, (4, 2)),
                    zorder=2,
                    gid=f"hard-ipc-{ipc}",
                )
        drawn = sorted({e for i in ipcs for e in epochs_measured(panel, i, measure, split)})
        axes.set_xscale(**epoch_scale(drawn))
        axes.set_ylim(bottom=0)
        set_ticks(axes, drawn)
        axes.set_xlabel("expert epoch")
        _draw_key(figure, has_level, sorted(chosen_on))
        label_ends(axes, ends)
    return figure


def _draw_key(figure: Figure, hard: bool, chosen_on: Sequence[str]) -> None:
    """The key of the figure over expert epochs."""
    handles = [Line2D([], [], color=GREY, marker="o", label="soft labels")]
    if hard:
        handles.append(
            Line2D([], [], color=GREY, linewidth=1.1, linestyle=(0, (4, 2)), label="hard labels")
        )
    if chosen_on:
        handles.append(
            Line2D(
                [],
                [],
                color=GREY,
                linestyle="none",
                marker="o",
                markersize=10,
                markerfacecolor="none",
                label=f"best, chosen on {' or '.join(chosen_on)}",
            )
        )
    place_key(figure, handles)


def svg(figure: Figure) -> bytes:
    """The figure as a standalone SVG with its text as text; equal figures give equal bytes."""
    out = io.BytesIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with house_style():
        keep_inside(figure)
        figure.savefig(out, format="svg", metadata=metadata)
    return out.getvalue()


def png(figure: Figure) -> bytes:
    """The figure as a PNG of twice the screen's resolution."""
    out = io.BytesIO()
    with house_style():
        keep_inside(figure)
        figure.savefig(out, format="png", dpi=200, metadata={"Software": None})
    return out.getvalue()


def inline(svg_bytes: bytes, prefix: str) -> str:
    """An `<svg>` element for an HTML page: no XML prolog, ids made unique by `prefix`."""
    text = svg_bytes.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<[^>]*\bid=")', rf"\g<1>{prefix}-", text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
