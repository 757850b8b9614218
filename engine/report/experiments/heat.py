"""A heat map with its numbers written in: accuracy over two settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from engine.report import numbers
from engine.report.figure_layout import (
    FIGURE_INCHES,
    FONT_SIZE,
    INK,
    SEQUENCE,
    SUBTITLE_INCHES,
    house_style,
    under_lines,
    write_heading,
)

Cells = Mapping[tuple[float, float], float]
"""(row, column) → accuracy in percent."""

GAP, LEFT, RIGHT = 0.05, 0.1, 0.98
HEAD_INCHES, FOOT_INCHES, ROW_INCHES = 0.85, 0.55, 0.34


def draw_heat(
    title: str,
    under: str,
    maps: Sequence[tuple[str, Cells]],
    *,
    row_name: str,
    column_name: str,
) -> Figure:
    """One map beside another, each with its own colours; its best cell is framed.

    The colours of each map run from its own least to its greatest number, since IPCs differ more
    than anything else. A cell without a number is left white.
    """
    with house_style():
        rows = sorted({row for _, cells in maps for row, _ in cells}, reverse=True)
        lines = under_lines(under)
        head = HEAD_INCHES + SUBTITLE_INCHES * (len(lines) - 1)
        height = head + FOOT_INCHES + ROW_INCHES * max(len(rows), 3)
        figure = Figure(figsize=(FIGURE_INCHES[0], height))
        write_heading(figure, title, lines)
        width = (RIGHT - LEFT - GAP * (len(maps) - 1)) / len(maps)
        for number, (name, cells) in enumerate(maps):
            columns = sorted({column for _, column in cells})
            axes = figure.add_axes(
                (
                    LEFT + number * (width + GAP),
                    FOOT_INCHES / height,
                    width,
                    1 - (head + FOOT_INCHES) / height,
                )
            )
            values = np.array([[cells.get((r, c), np.nan) for c in columns] for r in rows])
            low, high = np.nanmin(values), np.nanmax(values)
            span = (high - low) or 1.0
            axes.imshow(
                0.75 * (values - low) / span,
                cmap=SEQUENCE,
                vmin=0,
                vmax=1,
                aspect="auto",
                interpolation="nearest",
                alpha=0.85,
            )
            size = min(FONT_SIZE - 1, 60 * width / max(len(columns), 1) * 0.9 + 3)
            for (i, j), value in np.ndenumerate(values):
                if np.isfinite(value):
                    best = value == high
                    axes.text(
                        j,
                        i,
                        numbers.signless(float(value)),
                        ha="center",
                        va="center",
                        fontsize=size,
                        color="white" if (value - low) / span > 0.35 else INK,
                        fontweight="bold" if best else "normal",
                    )
            axes.set_title(name, fontsize=FONT_SIZE, loc="left", color=INK, pad=4)
            axes.grid(visible=False)
            axes.xaxis.set_major_locator(FixedLocator(range(len(columns))))
            axes.xaxis.set_major_formatter(FixedFormatter([f"{c:g}" for c in columns]))
            axes.yaxis.set_major_locator(FixedLocator(range(len(rows))))
            shown = [f"{r:g}" for r in rows] if number == 0 else [""] * len(rows)
            axes.yaxis.set_major_formatter(FixedFormatter(shown))
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
            axes.set_xlabel(column_name)
            if number == 0:
                axes.set_ylabel(row_name)
    return figure
