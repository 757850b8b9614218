"""Figures: accuracy over IPC, and accuracy over the expert epoch.

In: a panel and which accuracy to draw. Out: matplotlib figures (Agg and SVG, no display, no pyplot
state), and their bytes. Lines run from light to dark in the order of expert epochs or IPC, carry
different markers and are labelled at their ends, so they survive a greyscale print. The same
numbers give the same bytes: ids are salted with a constant and no date is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from engine.analysis.choice import choose_expert_epoch
from engine.analysis.grid import Cell, Panel
from engine.report import numbers

INK, GREY, HARD = "#1b1f24", "#6b7280", "#1b1f24"
SEQUENCE = LinearSegmentedColormap.from_list(
    "sequence", ["#7cc6b8", "#3b8fae", "#23588f", "#191a4b"]
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FONT_SIZE = 9.5
FIGURE_INCHES = (5.8, 4.1)
AXES_PLACE = (0.1, 0.135, 0.71, 0.695)  # left, bottom, width, height as shares of the figure
AXES_INCHES = (AXES_PLACE[2] * FIGURE_INCHES[0], AXES_PLACE[3] * FIGURE_INCHES[1])

_STYLE: Any = {
    "svg.hashsalt": "engine-report",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": FONT_SIZE,
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}


def measured(panels: Sequence[Panel]) -> tuple[str, str] | None:
    """(measure, split) that the figures draw, or None where nothing was measured.

    The final epoch's test accuracy: the one number in which nothing was selected. Its validation
    accuracy where the dataset has no test split.
    """
    cells = [cell for panel in panels for cell in panel.cells.values()]
    for split in ("test", "validation"):
        if any(cell.summary("final", split) for cell in cells):
            return "final", split
    return None


def over_ipc(panel: Panel, dataset: str, measure: str = "final", split: str = "test") -> Figure:
    """Accuracy over IPC: one line per expert epoch (gid "epoch-K"), hard labels dashed ("hard")."""
    with _house_style():
        figure, axes = _canvas(dataset, panel, measure, split, "soft labels by expert epoch")
        ends = []
        colours = _colours(len(panel.expert_epochs))
        for number, epoch in enumerate(panel.expert_epochs):
            ends += _line(
                axes,
                [(ipc, panel.cell(ipc, epoch)) for ipc in panel.ipcs],
                (measure, split),
                gid=f"epoch-{epoch}",
                label=f"epoch {epoch}",
                color=colours[number],
                marker=MARKERS[number % len(MARKERS)],
                zorder=3,
            )
        if panel.has_hard:
            ends += _line(
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
        _ticks(axes, panel.ipcs)
        axes.set_xlabel("images per class (IPC)")
        _finish(figure, axes, ends)
    return figure


def over_expert_epoch(
    panel: Panel, dataset: str, measure: str = "final", split: str = "test"
) -> Figure:
    """Accuracy over the expert epoch: one line per IPC (gid "ipc-N"), its best epoch ringed.

    The ring (gid "best-ipc-N") is at the epoch that the main table chose, which is not always the
    top of the line; the dashed level (gid "hard-ipc-N") is that of hard labels.
    """
    with _house_style():
        figure, axes = _canvas(dataset, panel, measure, split, "soft labels by IPC")
        ends, chosen_on = [], set()
        colours = _colours(len(panel.ipcs))
        for number, ipc in enumerate(panel.ipcs):
            colour = colours[number]
            cells = panel.soft_cells(ipc)
            ends += _line(
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
        axes.set_xscale("symlog", linthresh=1) if 0 in panel.expert_epochs else axes.set_xscale(
            "log"
        )
        _ticks(axes, panel.expert_epochs)
        axes.set_xlabel("expert epoch")
        _key(figure, panel.has_hard, sorted(chosen_on))
        _finish(figure, axes, ends)
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as a standalone SVG with its text as text; equal figures give equal bytes."""
    out = io.BytesIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _house_style():
        figure.savefig(out, format="svg", metadata=metadata)
    return out.getvalue()


def png(figure: Figure) -> bytes:
    """The figure as a PNG of twice the screen's resolution."""
    out = io.BytesIO()
    with _house_style():
        figure.savefig(out, format="png", dpi=200, metadata={"Software": None})
    return out.getvalue()


def inline(svg_bytes: bytes, prefix: str) -> str:
    """An `<svg>` element for an HTML page: no XML prolog, ids made unique by `prefix`."""
    text = svg_bytes.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<[^>]*\bid=")', rf"\g<1>{prefix}-", text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)


@contextmanager
def _house_style() -> Iterator[None]:
    """Our style on matplotlib's defaults, whatever the user's own matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _canvas(
    dataset: str, panel: Panel, measure: str, split: str, lines: str
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=FIGURE_INCHES)
    axes = figure.add_axes(AXES_PLACE)
    axes.set_ylabel(f"{split} accuracy (%)")
    title = f"{dataset}: {split} accuracy, {numbers.MEASURE_NAMES[measure]}"
    figure.text(0.02, 0.945, title, fontsize=11, fontweight="bold")
    ns = {len(cell.trials) for cell in panel.cells.values() if cell.trials}
    span = f"{min(ns)}" if len(ns) == 1 else f"{min(ns)}–{max(ns)}"
    spread = f"mean ± population std over n = {span} runs" if max(ns) > 1 else "single runs"
    under = ", ".join(filter(None, [numbers.settings(panel.axes), lines, spread]))
    figure.text(0.02, 0.895, under, fontsize=8.5, color=GREY)
    return figure, axes


def _line(
    axes: Axes,
    points: Sequence[tuple[int | None, Cell | None]],
    of: tuple[str, str],
    *,
    gid: str,
    label: str,
    color: str,
    **style: Any,
) -> list[tuple[float, float, str, str]]:
    """Draw one line with error bars; returns its end (x, y, label, colour), or nothing."""
    found = [(x, s) for x, cell in points if cell is not None and (s := cell.summary(*of))]
    if not found:
        return []
    xs = [float(x or 0) for x, _ in found]
    ys = [100 * summary.mean for _, summary in found]
    axes.plot(xs, ys, gid=gid, label=label, color=color, **style)
    if any(summary.std for _, summary in found):
        errors = [100 * (summary.std or 0.0) for _, summary in found]
        axes.errorbar(
            xs, ys, yerr=errors, fmt="none", ecolor=color, elinewidth=1, capsize=2.2, zorder=2.5
        )
    return [(xs[-1], ys[-1], label, color)]


def _ticks(axes: Axes, values: Sequence[int]) -> None:
    """Ticks at the values that were run, as many as fit beside each other."""
    place = axes.transScale.transform([(max(value, 0), 1) for value in values])[:, 0]
    points = AXES_INCHES[0] * 72 * 0.92 / max(float(place[-1] - place[0]), 0.3)
    kept: list[int] = []
    right = float("-inf")
    for value, at in zip(values, place * points, strict=True):
        half = 0.32 * FONT_SIZE * len(str(value))
        if at - half >= right:
            kept.append(value)
            right = at + half + 0.5 * FONT_SIZE
    axes.xaxis.set_major_locator(FixedLocator([float(value) for value in kept]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _finish(figure: Figure, axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Limits, and a label beside the end of each line, moved apart where they would overlap."""
    axes.set_ylim(bottom=0)
    axes.margins(x=0.04)
    axes.tick_params(length=3)
    if not ends:
        return
    low, high = axes.get_ylim()
    # The height of one line of text in data units.
    gap = (high - low) * FONT_SIZE * 1.15 / (AXES_INCHES[1] * 72)
    room = max(2, int((high - low) / gap))
    ordered = sorted(ends, key=lambda end: end[1])
    if len(ordered) > room:
        step = (len(ordered) - 1) / (room - 1)
        ordered = [ordered[round(i * step)] for i in range(room)]
    edge = axes.get_xlim()[1]
    heights = spaced([end[1] for end in ordered], gap, low, high)
    for (x, y, label, colour), height in zip(ordered, heights, strict=True):
        axes.annotate(
            label,
            xy=(x, y),
            xycoords="data",
            xytext=(1.035, height),
            textcoords=("axes fraction", "data"),
            va="center",
            color=_darkened(colour),
            fontsize=FONT_SIZE - 0.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 4,
                "alpha": 0.6,
            },
        )
    axes.set_xlim(right=edge)


def spaced(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending `heights` moved as little as possible so that neighbours are `gap` apart.

    Pools of colliding labels are centred on their mean (isotonic regression), then the whole is
    kept within `low`..`high` where it fits.
    """
    pools: list[list[float]] = []  # [sum of shifted heights, count]
    for i, height in enumerate(heights):
        pools.append([height - i * gap, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    flat = [total / count for total, count in pools for _ in range(int(count))]
    placed = [value + i * gap for i, value in enumerate(flat)]
    for i in range(len(placed)):
        placed[i] = max(placed[i], low + i * gap)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], high - (len(placed) - 1 - i) * gap)
    return placed


def _key(figure: Figure, hard: bool, chosen_on: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

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
    figure.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(0.83, 0.828),
        ncols=3,
        frameon=False,
        fontsize=8.5,
        handlelength=2.2,
        columnspacing=1.4,
        borderpad=0,
    )


def _darkened(colour: str) -> str:
    """A line's colour halfway to ink: text needs more contrast than a line."""
    mixed = (np.asarray(to_rgb(colour)) + np.asarray(to_rgb(INK))) / 2
    return to_hex(tuple(mixed))


def _colours(count: int) -> list[str]:
    return [to_hex(SEQUENCE(i / (count - 1) if count > 1 else 0.6)) for i in range(count)]
