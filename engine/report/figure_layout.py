"""The look of the figures: style, axes, lines, ticks, labels at the ends of lines.

Everything here is the same for every figure; what is drawn is decided in `figures`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from engine.analysis.grid import Cell, Panel
from engine.analysis.statistics import Summary
from engine.report import numbers

INK, GREY, HARD = "#1b1f24", "#6b7280", "#1b1f24"
SEQUENCE = LinearSegmentedColormap.from_list(
    "sequence", ["#7cc6b8", "#3b8fae", "#23588f", "#191a4b"]
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FONT_SIZE = 9.5
FIGURE_INCHES = (5.8, 4.1)
AXES_PLACE = (0.1, 0.135, 0.71, 0.695)  # left, bottom, width, height as shares of the figure
LABELS_FROM = AXES_PLACE[0] + AXES_PLACE[2]  # the right edge of axes whose lines have labels
NAME_CHARACTERS = 26  # of a line of a name beside a line's end
SUBTITLE_CHARACTERS, SUBTITLE_INCHES = 84, 0.165  # of a line below the title
TITLE_INCHES, UNDER_INCHES = 0.2255, 0.4305  # of their first lines, from the top
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


@dataclass(frozen=True, kw_only=True)
class LineEnd:
    """Where a line ends, in data units, and what to write beside it."""

    x: float
    y: float
    label: str
    colour: str


@contextmanager
def house_style() -> Iterator[None]:
    """Our style on matplotlib's defaults, whatever the user's own matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


Bars = Literal["std", "interval"]  # the population standard deviation, or the 95 % interval


def canvas(
    dataset: str, panel: Panel, measure: str, split: str, lines: str, *, bars: Bars = "std"
) -> tuple[Figure, Axes]:
    """An empty figure with its title (dataset and measure) and what its `lines` are."""
    ns = {s.n for cell in panel.cells.values() if (s := cell.summary(measure, split))}
    span = f"{min(ns)}" if len(ns) == 1 else f"{min(ns)}–{max(ns)}"
    what = "mean ± population std" if bars == "std" else "mean with its 95 % interval"
    spread = f"{what} over n = {span} runs" if max(ns) > 1 else "single runs"
    under = ", ".join(filter(None, [numbers.settings(panel.axes), lines, spread]))
    title = f"{dataset}: {split} accuracy, {numbers.MEASURE_NAMES[measure]}"
    figure, axes = titled(title, under)
    axes.set_ylabel(f"{split} accuracy (%)")
    return figure, axes


def titled(
    title: str, under: str, *, right: float = LABELS_FROM, key_lines: int = 1
) -> tuple[Figure, Axes]:
    """An empty figure with a title, smaller lines below it, and axes up to `right` (a share).

    A figure with more than one line under its title, or of its key, is taller; its axes are not.
    """
    lines = under_lines(under)
    width, usual = FIGURE_INCHES
    height = usual + SUBTITLE_INCHES * (max(len(lines) - 1, 0) + key_lines - 1)
    figure = Figure(figsize=(width, height))
    left, bottom, _, tall = AXES_PLACE
    share = usual / height
    axes = figure.add_axes((left, bottom * share, right - left, tall * share))
    write_heading(figure, title, lines)
    return figure, axes


def under_lines(under: str) -> list[str]:
    """What stands under a title, in lines of a figure's width."""
    return textwrap.wrap(under, SUBTITLE_CHARACTERS)


def write_heading(figure: Figure, title: str, lines: Sequence[str]) -> None:
    """The title and smaller lines below it, as far from the top in figures of every height."""
    height = figure.get_figheight()
    figure.text(0.02, 1 - TITLE_INCHES / height, title, fontsize=11, fontweight="bold")
    for number, line in enumerate(lines):
        y = 1 - (UNDER_INCHES + SUBTITLE_INCHES * number) / height
        figure.text(0.02, y, line, fontsize=8.5, color=GREY)


def draw_line(
    axes: Axes,
    points: Sequence[tuple[int | None, Cell | None]],
    of: tuple[str, str],
    *,
    gid: str,
    label: str,
    color: str,
    bars: Bars = "std",
    **style: Any,
) -> list[LineEnd]:
    """Draw one line with error bars; returns its end, or nothing where nothing was measured."""
    found = [(x, s) for x, cell in points if cell is not None and (s := cell.summary(*of))]
    if not found:
        return []
    xs = [float(x or 0) for x, _ in found]
    ys = [100 * summary.mean for _, summary in found]
    axes.plot(xs, ys, gid=gid, label=label, color=color, **style)
    errors = 100 * np.asarray([_bar(summary, bars) for _, summary in found]).T
    if errors.any():
        axes.errorbar(
            xs, ys, yerr=errors, fmt="none", ecolor=color, elinewidth=1, capsize=2.2, zorder=2.5
        )
    return [LineEnd(x=xs[-1], y=ys[-1], label=label, colour=color)]


def _bar(summary: Summary, bars: Bars) -> tuple[float, float]:
    """How far a bar reaches below and above the mean, as fractions; 0 where that is not known."""
    if bars == "std":
        return summary.std or 0.0, summary.std or 0.0
    low, high = numbers.interval_of(summary) or (summary.mean,) * 2
    return max(summary.mean - low, 0.0), max(high - summary.mean, 0.0)


def set_ticks(axes: Axes, values: Sequence[int]) -> None:
    """Ticks of x at the values that were run, as many as fit beside each other."""
    place = axes.transScale.transform([(max(value, 0), 1) for value in values])[:, 0]
    widths = [0.64 * FONT_SIZE * len(str(value)) for value in values]
    _tick(axes.xaxis, _apart(values, place, widths, AXES_INCHES[0] * 72 * 0.92))
    axes.tick_params(length=3)
    axes.margins(x=0.04)


def set_heights(axes: Axes, values: Sequence[int]) -> None:
    """Ticks of y at the values that were run, as many as fit above each other."""
    place = axes.transScale.transform([(1, max(value, 0)) for value in values])[:, 1]
    heights = [0.8 * FONT_SIZE] * len(values)
    _tick(axes.yaxis, _apart(values, place, heights, AXES_INCHES[1] * 72 * 0.85))
    axes.tick_params(length=3)
    axes.margins(y=0.08)


def epoch_scale(epochs: Sequence[int]) -> dict[str, Any]:
    """The scale of an axis of expert epochs: logarithmic, also where epoch 0 is among them."""
    return {"value": "symlog", "linthresh": 1} if 0 in epochs else {"value": "log"}


def _apart(
    values: Sequence[int], place: np.ndarray, sizes: Sequence[float], length: float
) -> list[int]:
    """The values whose labels of these sizes fit on an axis of this length (both in points)."""
    points = length / max(float(place[-1] - place[0]), 0.3)
    kept: list[int] = []
    end = float("-inf")
    for value, at, size in zip(values, place * points, sizes, strict=True):
        if at - size / 2 >= end:
            kept.append(value)
            end = at + size / 2 + 0.5 * FONT_SIZE
    return kept


def _tick(axis: Axis, values: Sequence[int]) -> None:
    axis.set_major_locator(FixedLocator([float(value) for value in values]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def label_ends(axes: Axes, ends: Sequence[LineEnd]) -> None:
    """A label beside the end of each line, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    names = {end.label: textwrap.wrap(end.label, NAME_CHARACTERS) for end in ends}
    # The height of the text of one label in data units.
    rows = max(map(len, names.values()), default=1)
    gap = (high - low) * FONT_SIZE * 1.15 * rows / (AXES_INCHES[1] * 72)
    room = max(2, int((high - low) / gap))
    ordered = sorted(ends, key=lambda end: end.y)
    if len(ordered) > room:
        step = (len(ordered) - 1) / (room - 1)
        ordered = [ordered[round(i * step)] for i in range(room)]
    heights = spaced([end.y for end in ordered], gap, low, high)
    last = max((end.x for end in ends), default=0.0)
    for end, height in zip(ordered, heights, strict=True):
        axes.annotate(
            "\n".join(names[end.label]),
            xy=(end.x, end.y),
            xycoords="data",
            xytext=(1.035, height),
            textcoords=("axes fraction", "data"),
            va="center",
            color=_darkened(end.colour),
            fontsize=FONT_SIZE - 0.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": end.colour,
                "linewidth": 0.5,
                # Across the figure a plain leader would pass for a line of the plot.
                "linestyle": "-" if end.x == last else (0, (1, 3)),
                "shrinkA": 1,
                "shrinkB": 4,
                "alpha": 0.6,
            },
        )


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


def place_key(figure: Figure, handles: Sequence[Line2D], *, right: float = LABELS_FROM) -> None:
    """A key between subtitle and axes, ending with these."""
    figure.legend(
        handles=list(handles),
        loc="lower right",
        bbox_to_anchor=(right + 0.02, 0.828 * FIGURE_INCHES[1] / figure.get_figheight()),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        handlelength=2.2,
        columnspacing=1.4,
        borderpad=0,
    )


def colours(count: int) -> list[str]:
    """`count` colours from light to dark."""
    return [to_hex(SEQUENCE(i / (count - 1) if count > 1 else 0.6)) for i in range(count)]


def _darkened(colour: str) -> str:
    """A line's colour halfway to ink: text needs more contrast than a line."""
    mixed = (np.asarray(to_rgb(colour)) + np.asarray(to_rgb(INK))) / 2
    return to_hex(tuple(mixed))
