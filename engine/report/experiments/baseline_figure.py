"""The figure of `baseline`: accuracy over images per class, ours and the published ones."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.analysis.statistics import summarise
from engine.report.experiments.baseline_tables import OURS
from engine.report.experiments.beside import MAXIMUM, beside_published
from engine.report.experiments.conditions import Condition
from engine.report.experiments.curves import DASHES, DOTS, PUBLISHED, over_runs, published_handle
from engine.report.experiments.evidence import Evidence
from engine.report.figure_layout import (
    GREY,
    HARD,
    MARKERS,
    LineEnd,
    colours,
    house_style,
    label_ends,
    place_key,
    set_ticks,
    titled,
)


def draw_baseline(
    evidence: Evidence,
    soft: Mapping[int, Condition],
    hard: Mapping[int, Condition],
    as_long: Mapping[int, Condition],
) -> Figure:
    """Ours by IPC: soft and hard labels, and soft ones of students as long as the published."""
    with house_style():
        own = [*soft.values(), *hard.values(), *as_long.values()]
        beside = beside_published(evidence, own, ours=MAXIMUM)
        under = [over_runs(own) if own else "", beside or f"test accuracy, {MAXIMUM}"]
        figure, axes = titled(
            f"{evidence.results.dataset_name}: beside the published numbers",
            "; ".join(filter(None, under)),
        )
        ends = []
        drawn: set[int] = set()
        methods = evidence.published.rows if evidence.published else {}
        for number, (name, row) in enumerate(methods.items()):
            marker = MARKERS[number % len(MARKERS)]
            xs, ys = list(row), [value for value, _ in row.values()]
            drawn |= set(xs)
            axes.plot(
                xs,
                ys,
                color=PUBLISHED,
                linewidth=0.8,
                linestyle=DOTS,
                marker=marker,
                markerfacecolor="white",
                markersize=5,
                zorder=2,
                gid=f"published-{number}",
            )
            ends.append(LineEnd(x=xs[-1], y=ys[-1], label=_short(name), colour=PUBLISHED))
        colour = colours(1)[0]
        length = f"{evidence.published.student_epochs:,} ep." if evidence.published else ""
        for gid, name, cells, shade, filled, marker in (
            ("ours-soft", "ours, soft", soft, colour, True, "o"),
            ("ours-hard", "ours, hard", hard, HARD, False, "o"),
            ("ours-as-long", f"ours, {length}", as_long, colour, True, "D"),
        ):
            found = [(i, s) for i, c in cells.items() if (s := c.cell.summary(OURS))]
            if not found:
                continue
            drawn |= {ipc for ipc, _ in found}
            xs, ys = [ipc for ipc, _ in found], [100 * s.mean for _, s in found]
            axes.plot(
                xs,
                ys,
                color=shade,
                marker=marker,
                markerfacecolor=shade if filled else "white",
                linestyle="-" if filled else DASHES,
                zorder=4,
                gid=gid,
            )
            axes.errorbar(
                xs,
                ys,
                yerr=[100 * (s.std or 0.0) for _, s in found],
                fmt="none",
                ecolor=shade,
                elinewidth=1,
                capsize=2.2,
            )
            ends.append(LineEnd(x=xs[-1], y=ys[-1], label=name, colour=shade))
        for each in evidence.evaluated:
            summary = summarise(list(each.accuracies.get(OURS, ())))
            if summary is not None:
                drawn.add(int(each.ipc))
                axes.plot(
                    [each.ipc],
                    [100 * summary.mean],
                    marker="*",
                    markersize=9,
                    color=colour,
                    linestyle="none",
                    zorder=5,
                    gid=f"evaluated-{each.id}",
                )
                ends.append(
                    LineEnd(
                        x=float(each.ipc),
                        y=100 * summary.mean,
                        label=each.name[:18],
                        colour=colour,
                    )
                )
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        set_ticks(axes, sorted(drawn))
        axes.set_xlabel("images per class (IPC)")
        axes.set_ylabel("test accuracy (%)")
        key = [Line2D([], [], color=colour, marker="o", label="ours")]
        if methods:
            key.append(published_handle())
        if evidence.evaluated:
            key.append(
                Line2D(
                    [], [], color=GREY, marker="*", linestyle="none", label="sets trained on here"
                )
            )
        place_key(figure, key)
        label_ends(axes, ends)
    return figure


def _short(name: str) -> str:
    """A published row's name that fits beside its line."""
    short = name.replace("soft labels (paper)", "paper, soft")
    short = short.replace("soft labels (reproduction)", "repr., soft")
    return short.replace("soft labels ", "").strip("()")[:18]
