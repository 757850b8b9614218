"""Bars in groups: a few kinds of labels beside each other at every IPC, published ones as dots."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator

from engine.report.experiments.curves import PUBLISHED
from engine.report.figure_layout import (
    FIGURE_INCHES,
    FONT_SIZE,
    GREY,
    colours,
    house_style,
    titled,
)

RIGHT = 0.96
KEY_CHARACTERS, KEY_GAP = 88, 5  # of a line of the key, and what an entry takes besides its name
FOOT_LINES = 3  # that fit below the axes in the usual size


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Height in percent with ± what, None for no bar of error."""

    height: float
    spread: float | None = None


def draw_bars(
    title: str,
    under: str,
    groups: Sequence[str],
    kinds: Sequence[str],
    bars: Mapping[tuple[str, str], Bar],
    *,
    published: Mapping[tuple[str, str], float] | None = None,
    ylabel: str,
    stacked: bool = False,
) -> Figure:
    """A group of bars for each of `groups`, a bar for each of `kinds`; by (group, kind).

    Stacked bars stand on each other. The gid of a published dot is "published-GROUP-KIND".
    """
    with house_style():
        labels = [*kinds, *(["published"] if published else [])]
        columns = _key_columns(labels)
        rows = -(-len(labels) // columns)
        figure, axes = titled(title, under, right=RIGHT, key_lines=rows)
        shades = colours(len(kinds))
        width = 0.6 if stacked else 0.8 / max(len(kinds), 1)
        foot = dict.fromkeys(groups, 0.0)
        for number, kind in enumerate(kinds):
            for at, group in enumerate(groups):
                bar = bars.get((group, kind))
                x = float(at) if stacked else at + (number - (len(kinds) - 1) / 2) * width
                if bar is not None:
                    axes.bar(
                        [x],
                        [bar.height],
                        bottom=foot[group] if stacked else 0.0,
                        width=0.94 * width,
                        color=shades[number],
                        zorder=2,
                    )
                    if stacked:
                        foot[group] += bar.height
                    elif bar.spread:
                        axes.errorbar(
                            [x], [bar.height], yerr=[bar.spread], ecolor=GREY, capsize=2.2, zorder=3
                        )
                theirs = (published or {}).get((group, kind))
                if theirs is not None:
                    axes.plot(
                        [x],
                        [theirs],
                        marker="o",
                        markersize=5.5,
                        markerfacecolor="white",
                        markeredgecolor=PUBLISHED,
                        zorder=4,
                        gid=f"published-{group}-{kind}".replace(" ", "-"),
                    )
        axes.xaxis.set_major_locator(FixedLocator(range(len(groups))))
        size = FONT_SIZE if len(groups) < 7 else 7.5
        names = [_wrapped(group, size, axes.get_position().width / len(groups)) for group in groups]
        lines = max((name.count("\n") + 1 for name in names), default=1)
        axes.xaxis.set_major_formatter(FixedFormatter(names))
        axes.set_xlim(-0.6, len(groups) - 0.4)
        # Bars that are all zero still need an axis that says so.
        above = 1.05 * max(foot.values(), default=0) or None
        axes.set_ylim(bottom=0, top=above if stacked else max(axes.get_ylim()[1], 1.0))
        axes.tick_params(length=0)
        axes.tick_params(axis="x", labelsize=min(size, FOOT_LINES * FONT_SIZE / lines))
        axes.set_ylabel(ylabel)
        handles: list[Patch | Line2D] = [
            Patch(color=shades[i], label=kind) for i, kind in enumerate(kinds)
        ]
        if published:
            handles.append(
                Line2D(
                    [],
                    [],
                    linestyle="none",
                    marker="o",
                    markerfacecolor="white",
                    markeredgecolor=PUBLISHED,
                    label="published",
                )
            )
        figure.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(RIGHT + 0.02, 0.828 * FIGURE_INCHES[1] / figure.get_figheight()),
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            handlelength=1.2,
            columnspacing=1.2,
            borderpad=0,
        )
    return figure


def _key_columns(labels: Sequence[str]) -> int:
    """How many columns of a key, which is filled column by column, fit beside each other."""
    for columns in range(len(labels), 1, -1):
        # As matplotlib does: the first columns have one entry more than the others.
        widest = [max(map(len, each)) for each in np.array_split(labels, columns)]
        if sum(widest) + KEY_GAP * columns <= KEY_CHARACTERS:
            return columns
    return 1


def _wrapped(name: str, size: float, share: float) -> str:
    """A group's name in lines that fit into a share of the figure's width."""
    characters = int(share * FIGURE_INCHES[0] * 72 / (0.6 * size))
    lines = [part for line in name.split("\n") for part in textwrap.wrap(line, characters)]
    return "\n".join(lines)
