"""Dots in rows: variants that have names rather than numbers, each with its 95 % interval.

A row per variant, a dot per series (IPC), and the baselines as dashed lines of the series' colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from engine.report.experiments.curves import DASHES, count_of_runs, epochs_named, few
from engine.report.experiments.series import Series, baseline_summary
from engine.report.figure_layout import (
    FIGURE_INCHES,
    GREY,
    INK,
    MARKERS,
    SUBTITLE_INCHES,
    colours,
    house_style,
    under_lines,
    write_heading,
)

ROW_INCHES, LINE_INCHES = 0.33, 0.16  # of a row's first line and of each further one
NAME_CHARACTERS = 29  # of a line of a row's name
HEAD_INCHES, FOOT_INCHES = 0.85, 0.5
KEY_INCHES, KEY_CHARACTERS = 0.19, 84  # of a row of the key
RIGHT = 0.96


def draw_dots(
    title: str,
    series: Sequence[Series],
    of: tuple[str, str],
    *,
    xlabel: str,
    baseline: str = "soft labels",
) -> Figure:
    """A row per variant (in order of value), a dot per series with its 95 % interval.

    Rows are as high as their names: y is in inches. Lines' gids are "SERIES" and, for its baseline,
    "SERIES-baseline".
    """
    shown = few(series)
    rows = {v.text: v.value for each in shown for v in each.variants}
    names = sorted(rows, key=lambda name: rows[name])
    with house_style():
        labels = [each.where(series) for each in shown]
        columns = _key_columns([*labels, baseline])
        below = [epochs_named(series), count_of_runs(series, "mean and its 95 % interval")]
        lines = under_lines(", ".join(filter(None, below)))
        head = HEAD_INCHES + KEY_INCHES * (-(-(len(labels) + 1) // columns) - 1)
        head += SUBTITLE_INCHES * (len(lines) - 1)
        wrapped = [textwrap.wrap(name, NAME_CHARACTERS) for name in names]
        rooms = [ROW_INCHES + LINE_INCHES * (len(own) - 1) for own in wrapped]
        feet = sum(rooms) - np.cumsum(rooms)
        place = {n: foot + room / 2 for n, foot, room in zip(names, feet, rooms, strict=True)}
        height = head + FOOT_INCHES + sum(rooms) + 0.4 * ROW_INCHES
        left = 0.05 + 0.0135 * max(len(line) for own in wrapped for line in own)
        figure = Figure(figsize=(FIGURE_INCHES[0], height))
        axes = figure.add_axes(
            (
                left,
                FOOT_INCHES / height,
                RIGHT - left,
                (height - head - FOOT_INCHES) / height,
            )
        )
        write_heading(figure, title, lines)
        shades = colours(len(shown))
        offsets = np.linspace(0.08, -0.08, len(shown)) if len(shown) > 1 else [0.0]
        for number, each in enumerate(shown):
            marker = MARKERS[number % len(MARKERS)]
            for variant in each.variants:
                summary = variant.condition.cell.summary(*of)
                if summary is None:
                    continue
                y = place[variant.text] + offsets[number]
                if summary.ci_low is not None and summary.ci_high is not None:
                    # An interval of two runs can be wider than the axis; the dots set its range.
                    axes.plot(
                        [100 * max(summary.ci_low, 0), 100 * min(summary.ci_high, 1)],
                        [y, y],
                        color=shades[number],
                        linewidth=1.1,
                        zorder=2,
                        scalex=False,
                    )
                axes.plot([100 * summary.mean], [y], color=shades[number], marker=marker, zorder=3)
            level = baseline_summary(each, each.soft, of)
            if level is not None:
                axes.axvline(
                    100 * level.mean,
                    color=shades[number],
                    linestyle=DASHES,
                    linewidth=1.0,
                    zorder=1.5,
                    gid=f"{each.gid}-baseline",
                )
        axes.set_ylim(-0.2 * ROW_INCHES, sum(rooms) + 0.2 * ROW_INCHES)
        axes.yaxis.set_major_locator(FixedLocator([place[name] for name in names]))
        axes.yaxis.set_major_formatter(FixedFormatter(["\n".join(own) for own in wrapped]))
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0, axis="y", labelcolor=INK)
        axes.margins(x=0.08)
        axes.set_xlabel(xlabel)
        handles = [
            Line2D(
                [],
                [],
                color=shades[i],
                marker=MARKERS[i % len(MARKERS)],
                label=labels[i],
                linestyle="none",
            )
            for i in range(len(shown))
        ]
        if any(each.soft for each in shown):
            handles.append(Line2D([], [], color=GREY, linestyle=DASHES, label=baseline))
        _legend(figure, handles, columns, 1 - (head - 0.03) / height)
    return figure


def _key_columns(labels: Sequence[str]) -> int:
    """How many entries of a key fit beside each other."""
    widest = max(len(label) for label in labels) + 6
    return max(1, min(len(labels), KEY_CHARACTERS // widest))


def _legend(figure: Figure, handles: list[Line2D], columns: int, foot: float) -> None:
    figure.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(RIGHT + 0.02, foot),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        handlelength=1.6,
        columnspacing=1.2,
        borderpad=0,
    )
