"""The knowledge-data scaling law: forms compared by held-out error, their curves and residuals.

Two kinds of knowledge have the same section: the epoch of the expert, and the number of labels
kept of each image (top-k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.analysis.bootstrap import Interval
from engine.analysis.scaling_law import LawFit, LawPoint, fit_laws
from engine.report import numbers
from engine.report.entries import Entry, Table
from engine.report.experiments.conditions import Condition
from engine.report.experiments.curves import DASHES
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.experiments.pareto import main_grid
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
from engine.report.tables import Row

BEYOND = 2.0
"""How far past what was measured the curves are drawn, dashed."""

LEAST_IPCS, LEAST_KNOWLEDGE = 3, 3


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What stands for knowledge: its name, and in what files' names it appears."""

    name: str  # "expert epoch"
    stem: str


EPOCH = Knowledge(name="expert epoch", stem="scaling_law")
KEPT = Knowledge(name="labels kept (k)", stem="scaling_law_top_k")


def find(evidence: Evidence) -> Finding | None:
    grid = main_grid(evidence)
    if len({each.epoch for each in grid}) < 2:
        return None
    return law_of(evidence, [(each, float(each.epoch or 0)) for each in grid], EPOCH)


EXPERIMENT = Experiment(
    name="scaling-law",
    title="The knowledge-data scaling law",
    question="Which formula gives accuracy from images per class and expert epoch?",
    source="paper (no formula is published)",
    find=find,
)


def law_of(
    evidence: Evidence, points: Sequence[tuple[Condition, float]], knowledge: Knowledge
) -> Finding:
    """The section of one kind of knowledge, from conditions and how much of it each has."""
    ipcs = sorted({condition.ipc for condition, _ in points})
    amounts = sorted({amount for _, amount in points})
    few = [
        f"{len(found)} of the {least} {what} that it takes"
        for found, least, what in (
            (ipcs, LEAST_IPCS, "IPCs"),
            (amounts, LEAST_KNOWLEDGE, f"values of {knowledge.name}"),
        )
        if len(found) < least
    ]
    fits = []
    if not few:
        fits = fit_laws(
            [
                LawPoint(
                    ipc=condition.ipc,
                    knowledge=amount,
                    accuracies=tuple(condition.cell.values(*evidence.of).values()),
                )
                for condition, amount in points
            ]
        )
    if not fits:
        why = numbers.listed(few) or f"{len(points)} cells"
        return Finding(sentences=(f"Too few points for a law: {why}.",))
    best = fits[0]
    return Finding(
        sentences=tuple(_sentences(fits, knowledge)),
        tables=(_forms_table(fits, knowledge), _parameter_table(best, knowledge)),
        pictures=(
            Picture(
                name=knowledge.stem,
                caption=f"The best form, {best.form}, with the 95 % band of its curve; dashed: "
                "beyond what was measured.",
                draw=lambda: _draw_law(evidence, best, knowledge),
            ),
            Picture(
                name=f"{knowledge.stem}_residuals",
                caption="What the best form gets wrong: measured less fitted accuracy; open: "
                "less what it said without that IPC.",
                draw=lambda: _draw_residuals(evidence, best, knowledge),
            ),
        ),
        cells=cells_of(condition for condition, _ in points),
    )


def _sentences(fits: Sequence[LawFit], knowledge: Knowledge) -> list[str]:
    best = fits[0]
    if best.held_out_error is None:
        text = (
            f"Of {len(fits)} forms “{best.form}” fits best ({_points(best.fitted_error)} points "
            "root mean square); too few IPCs to compare forms by what they were not fitted to."
        )
        return [text, f"Accuracy = {best.formula}, N images per class, K the {knowledge.name}."]
    sentences = [
        f"Of {len(fits)} forms “{best.form}” predicts an IPC left out best: "
        f"{_points(best.held_out_error)} points root mean square.",
        f"Accuracy = {best.formula}, N images per class, K the {knowledge.name}.",
    ]
    rivals = [
        f"“{fit.form}” ({_points(fit.held_out_error)})"
        for fit in fits[1:]
        if fit.held_out_error is not None and fit.held_out_error < 1.25 * best.held_out_error
    ]
    if rivals:
        sentences.append(f"Within a quarter of that error: {numbers.listed(rivals)}.")
    else:
        sentences.append("No other form comes within a quarter of that error.")
    if best.extrapolation_error is not None:
        sentences.append(
            f"The largest IPC, predicted from the smaller ones, is missed by "
            f"{_points(best.extrapolation_error)} points."
        )
    return sentences


def _forms_table(fits: Sequence[LawFit], knowledge: Knowledge) -> NumberTable:
    rows, flat = [], []
    for i, fit in enumerate(fits):
        errors = {
            "held out": fit.held_out_error,
            "interpolation": fit.interpolation_error,
            "extrapolation": fit.extrapolation_error,
            "fitted": fit.fitted_error,
        }
        rows.append(
            (
                Entry(text=fit.form, style="best words" if i == 0 else "words"),
                Entry(text=fit.formula, style="words"),
                Entry(text=str(len(fit.parameters))),
                *(Entry(text=_points(error)) for error in errors.values()),
            )
        )
        line: Row = {"form": fit.form, "formula": fit.formula, "parameters": len(fit.parameters)}
        flat.append(line | {f"{k.replace(' ', '_')}_error": v for k, v in errors.items()})
    return NumberTable(
        name=f"{knowledge.stem}_forms",
        view=Table(
            title="Forms compared",
            groups=(("", 3), ("Root mean square error, points", 4)),
            columns=(
                "form",
                "accuracy =",
                "parameters",
                "held out",
                "interpolation",
                "extrapolation",
                "fitted",
            ),
            rows=tuple(rows),
            legend=(
                f"N: images per class. K: {knowledge.name}. Held out: every IPC left out in turn, "
                "the form fitted to the others. Interpolation: of these the inner IPCs; "
                "extrapolation: the largest. Fitted: of the points fitted to.",
            ),
        ),
        rows=tuple(flat),
    )


def _parameter_table(fit: LawFit, knowledge: Knowledge) -> NumberTable:
    rows = [
        (
            Entry(text=name, style="words"),
            Entry(text=numbers.signless(found.mean, 3)),
            Entry(text=_ends(found)),
        )
        for name, found in fit.parameters.items()
    ]
    return NumberTable(
        name=f"{knowledge.stem}_parameters",
        view=Table(
            title="Parameters of the best form",
            columns=(fit.formula, "value", "95 % interval"),
            rows=tuple(rows),
            legend=(
                "Accuracy as a fraction. The intervals hold if the form is right (bootstrap of "
                "the residuals).",
            ),
        ),
        rows=tuple(
            {
                "form": fit.form,
                "parameter": name,
                "value": found.mean,
                "ci_low": found.low,
                "ci_high": found.high,
            }
            for name, found in fit.parameters.items()
        ),
    )


def _ends(found: Interval) -> str:
    if found.low is None or found.high is None:
        return numbers.NOT_MEASURED
    return f"{numbers.signless(found.low, 3)} to {numbers.signless(found.high, 3)}"


def _points(error: float | None) -> str:
    return numbers.NOT_MEASURED if error is None else numbers.signless(100 * error, 2)


def _draw_law(evidence: Evidence, fit: LawFit, knowledge: Knowledge) -> Figure:
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
        axes.set_xlabel(knowledge.name)
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


def _draw_residuals(evidence: Evidence, fit: LawFit, knowledge: Knowledge) -> Figure:
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
        axes.set_xlabel(knowledge.name)
        axes.set_ylabel("measured less law (points)", labelpad=0)
        label_ends(axes, ends)
    return figure
