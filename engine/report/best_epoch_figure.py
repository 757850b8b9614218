"""The figure of the best expert epoch over IPC, with the epochs that the seeds leave possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.analysis.best_epoch import BestEpoch, best_epochs
from engine.analysis.grid import Panel
from engine.report import numbers
from engine.report.figure_layout import (
    AXES_PLACE,
    FIGURE_INCHES,
    epoch_scale,
    house_style,
    place_key,
    set_heights,
    set_ticks,
    titled,
)

BEST, POSSIBLE, COMPARED = "#23588f", "#b9d3e6", "#c3c9d1"
RIGHT = 0.96
MOST_POINTS = 9.0
_SO_FAR: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 7.5,
    "color": BEST,
    "markerfacecolor": "white",
    "markeredgewidth": 1.6,
}


def best_epoch_over_ipc(panel: Panel, dataset: str) -> Figure:
    """The best expert epoch over IPC (gid "best"); needs at least one IPC with a choice.

    A bar (gid "plausible-ipc-N") spans the epochs that can't be ruled out as the best at 95 %, each
    with a dot (gid "plausible-dots-ipc-N"); faint dots are the other epochs compared. Where runs
    are missing, the best so far is hollow (gid "best-so-far").
    """
    found = best_epochs(panel)
    epochs = sorted({epoch for each in found for epoch in each.compared})
    with house_style():
        figure, axes = titled(
            f"{dataset}: best expert epoch by IPC", _subtitle(panel, found), right=RIGHT
        )
        room = _room([each.ipc for each in found])
        for each in found:
            _draw_candidates(axes, each, room)
        axes.plot(
            [each.ipc for each in found],
            [each.epoch for each in found],
            color=BEST,
            marker="o",
            markersize=min(9, room),
            zorder=4,
            gid="best",
        )
        open_ = [each for each in found if each.owed]
        axes.plot(
            [each.ipc for each in open_],
            [each.epoch for each in open_],
            **{**_SO_FAR, "markersize": min(_SO_FAR["markersize"], room)},
            zorder=5,
            gid="best-so-far",
        )
        axes.set_xscale("log")
        axes.set_yscale(**epoch_scale(epochs))
        set_ticks(axes, [each.ipc for each in found])
        set_heights(axes, epochs)
        axes.margins(x=0.06)
        axes.set_xlabel("images per class (IPC)")
        axes.set_ylabel("expert epoch")
        place_key(figure, _key(found), right=RIGHT)
    return figure


def _subtitle(panel: Panel, found: Sequence[BestEpoch]) -> str:
    chosen_on = sorted({each.choice.chosen_on for each in found})
    blocks = sorted({each.contest.blocks for each in found})
    seeds = f"{blocks[0]}–{blocks[-1]}" if len(blocks) > 1 else str(blocks[0])
    parts = [
        numbers.settings(panel.axes),
        f"chosen on {numbers.listed(chosen_on)} accuracy",
        "single runs" if blocks == [1] else f"n = {seeds} seeds",
    ]
    return ", ".join(filter(None, parts))


def _room(ipcs: Sequence[int]) -> float:
    """How wide the marks of one IPC may be, in points: neighbours keep a gap."""
    steps = np.diff(np.log10(np.asarray(ipcs, dtype=np.float64)))
    if not len(steps):
        return MOST_POINTS
    width = (RIGHT - AXES_PLACE[0]) * FIGURE_INCHES[0] * 72 * 0.88
    return float(np.clip(0.7 * width * steps.min() / steps.sum(), 1.2, MOST_POINTS))


def _draw_candidates(axes: Axes, each: BestEpoch, room: float) -> None:
    axes.plot(
        [each.ipc] * len(each.compared),
        each.compared,
        linestyle="none",
        marker="o",
        markersize=min(3, room),
        color=COMPARED,
        zorder=2.2,
        gid=f"compared-ipc-{each.ipc}",
    )
    plausible = each.contest.plausible
    if plausible is None:
        return
    axes.plot(
        [each.ipc] * 2,
        [plausible[0], plausible[-1]],
        linewidth=room,
        solid_capstyle="round",
        color=POSSIBLE,
        zorder=2.1,
        gid=f"plausible-ipc-{each.ipc}",
    )
    axes.plot(
        [each.ipc] * len(plausible),
        plausible,
        linestyle="none",
        marker="o",
        markersize=min(3.5, room),
        color=BEST,
        zorder=3,
        gid=f"plausible-dots-ipc-{each.ipc}",
    )


def _key(found: Sequence[BestEpoch]) -> list[Line2D]:
    handles = [Line2D([], [], color=BEST, marker="o", markersize=7, label="best")]
    if any(each.owed for each in found):
        handles.append(Line2D([], [], **_SO_FAR, label="best so far"))
    if any(each.contest.plausible is not None for each in found):
        bar = Line2D([], [], color=POSSIBLE, linewidth=7, label="may be the best (95 %)")
        handles.append(bar)
    handles.append(
        Line2D([], [], color=COMPARED, linestyle="none", marker="o", markersize=3, label="compared")
    )
    return handles
