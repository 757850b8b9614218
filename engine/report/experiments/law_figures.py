"""The figures of a scaling law: its curves beside what was measured, and what it gets wrong."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.analysis.scaling_law import LawFit
from engine.report.experiments.curves import DASHES
from engine.report.experiments.evidence import Evidence
from engine.report.figure_layout import (
    GREY,
    MARKERS,
    LineEnd,
    colours,
    house_style,
    label_ends,
    place_key,
    set_ticks,
    titled,
)

BEYOND = 2.0
"""How far past what was measured the curves are drawn, dashed."""


def draw_law(evidence: Evidence, fit: LawFit, knowledge: str) -> Figure:
    """The measured points and the law's curves, a line per IPC; `knowledge`: what x is."""
    ipcs = sorted({each.ipc for each in fit.residuals})
    shown = [*ipcs, round(ipcs[-1] * BEYOND)]
    first, last = fit.knowledge_range
    axis = np.geomspace(first, last * BEYOND, 60)
    with house_style():
        figure, axes = titled(
            f"{evidence.results.dataset_name}: the scaling law “{fit.form}”", fit.formula
        )
        shades = colours(len(shown))
        ends = []
        for number, ipc in enumerate(shown):
            colour, marker = shades[number], MARKERS[number % len(MARKERS)]
            found = [fit.predict(ipc, float(k)) for k in axis]
            means = np.array([100 * each.mean for each in found])
            inside = np.array([not fit.extrapolates(ipc, float(k)) for k in axis])
            for part, style in ((inside, "-"), (~inside, DASHES)):
                # A dashed stretch begins where the solid one ended.
                part = part | (np.roll(part, -1) if style == DASHES and inside.any() else False)
                axes.plot(
                    axis[part],
                    means[part],
                    color=colour,
                    linewidth=1.3,
                    linestyle=style,
                    zorder=2.4,
                    gid=f"law-ipc-{ipc}" + ("" if style == "-" else "-beyond"),
                )
            axes.fill_between(
                axis,
                [100 * (each.low if each.low is not None else each.mean) for each in found],
                [100 * (each.high if each.high is not None else each.mean) for each in found],
                color=colour,
                alpha=0.12,
                linewidth=0,
                zorder=1.5,
            )
            own = [each for each in fit.residuals if each.ipc == ipc]
            axes.plot(
                [each.knowledge for each in own],
                [100 * each.accuracy for each in own],
                color=colour,
                linestyle="none",
                marker=marker,
                zorder=3,
                gid=f"points-ipc-{ipc}",
            )
            ends.append(LineEnd(x=axis[-1], y=means[-1], label=f"IPC {ipc}", colour=colour))
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        set_ticks(axes, sorted({int(each.knowledge) for each in fit.residuals}))
        axes.set_xlabel(knowledge)
        axes.set_ylabel(f"{evidence.of[1]} accuracy (%)")
        place_key(
            figure,
            [
                Line2D([], [], color=GREY, linestyle="none", marker="o", label="measured"),
                Line2D([], [], color=GREY, label="law"),
                Line2D([], [], color=GREY, linestyle=DASHES, label="extrapolated"),
            ],
        )
        label_ends(axes, ends)
    return figure


def draw_residuals(evidence: Evidence, fit: LawFit, knowledge: str) -> Figure:
    """What the law gets wrong, a line per IPC; `knowledge`: what x is."""
    ipcs = sorted({each.ipc for each in fit.residuals})
    with house_style():
        figure, axes = titled(
            f"{evidence.results.dataset_name}: residuals of “{fit.form}”",
            "filled: less fitted; open: less predicted without that IPC",
        )
        shades = colours(len(ipcs))
        ends = []
        for number, ipc in enumerate(ipcs):
            own = [each for each in fit.residuals if each.ipc == ipc]
            marker = MARKERS[number % len(MARKERS)]
            xs = [each.knowledge for each in own]
            ys = [100 * each.residual for each in own]
            axes.plot(xs, ys, color=shades[number], marker=marker, linewidth=0.8, gid=f"ipc-{ipc}")
            known = [each for each in own if each.held_out is not None]
            axes.plot(
                [each.knowledge for each in known],
                [100 * (each.accuracy - (each.held_out or 0.0)) for each in known],
                color=shades[number],
                linestyle="none",
                marker=marker,
                markerfacecolor="white",
                gid=f"ipc-{ipc}-held-out",
            )
            ends.append(LineEnd(x=xs[-1], y=ys[-1], label=f"IPC {ipc}", colour=shades[number]))
        axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
        axes.set_xscale("log")
        set_ticks(axes, sorted({int(each.knowledge) for each in fit.residuals}))
        axes.set_xlabel(knowledge)
        axes.set_ylabel("measured less law (points)", labelpad=0)
        label_ends(axes, ends)
    return figure
