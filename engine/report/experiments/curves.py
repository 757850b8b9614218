"""Lines over a number, ours beside the published ones: the figure that most experiments have.

Ours run from light to dark with a marker each and are labelled at their ends; published points are
open and grey with the marker of the line that they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from engine.report import numbers
from engine.report.experiments.conditions import Condition
from engine.report.experiments.series import Series, Variant, baseline_summary
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

PUBLISHED = "#8b929c"
MOST_LINES = 8
DASHES, DOTS = (0, (4, 2)), (0, (1, 2))


@dataclass(frozen=True, kw_only=True)
class Point:
    """`y` with what to draw on either side of it; None for no bar."""

    x: float
    y: float
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line. `level`: what it is compared with, drawn as a dashed line of its colour."""

    label: str
    points: tuple[Point, ...]
    gid: str = ""
    level: float | None = None
    published: tuple[tuple[float, float], ...] = ()
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """How curves are put on axes. `ticks`: None for the points' own, empty for as they come."""

    title: str
    under: str
    xlabel: str
    ylabel: str
    xscale: str = "log"
    from_zero: bool = True
    ticks: tuple[float, ...] | None = None
    level_name: str = ""
    reference: float | None = None  # a grey level for all, such as 100 %
    beside: str = ""  # what else stands under the title where published points are drawn


def draw_curves(plot: Plot, curves: Sequence[Curve]) -> Figure:
    """The figure of some curves; gids are those of curves, of published ones with "-published"."""
    with house_style():
        published = any(curve.published for curve in curves)
        below = [plot.under, plot.beside if published else ""]
        figure, axes = titled(plot.title, "; ".join(filter(None, below)))
        shades = colours(len(curves))
        ends: list[LineEnd] = []
        for number, curve in enumerate(curves):
            ends += _draw(axes, curve, shades[number], MARKERS[number % len(MARKERS)])
        if plot.reference is not None:
            axes.axhline(plot.reference, color=GREY, linewidth=0.9, zorder=1)
        axes.set_xscale(plot.xscale, **({"linthresh": 1} if plot.xscale == "symlog" else {}))
        if plot.from_zero:
            axes.set_ylim(bottom=0)
        xs = sorted({point.x for curve in curves for point in curve.points})
        xs = sorted({*xs, *(x for curve in curves for x, _ in curve.published)})
        ticks = tuple(xs) if plot.ticks is None else plot.ticks
        if ticks:
            _set_ticks(axes, ticks)
        axes.set_xlabel(plot.xlabel)
        axes.set_ylabel(plot.ylabel)
        key = _key(plot, curves)
        if key:
            place_key(figure, key)
        label_ends(axes, ends)
    return figure


def _draw(axes: Axes, curve: Curve, colour: str, marker: str) -> list[LineEnd]:
    xs, ys = [p.x for p in curve.points], [p.y for p in curve.points]
    if curve.published:
        axes.plot(
            [x for x, _ in curve.published],
            [y for _, y in curve.published],
            color=PUBLISHED,
            linewidth=0.9,
            linestyle=DOTS,
            marker=marker,
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=PUBLISHED,
            zorder=2.2,
            gid=f"{curve.gid}-published",
        )
    if curve.level is not None:
        axes.axhline(
            curve.level, color=colour, linewidth=1.0, linestyle=DASHES, zorder=2, alpha=0.8
        )
    if not curve.points:
        x, y = curve.published[-1]
        return [LineEnd(x=x, y=y, label=f"{curve.label} †", colour=PUBLISHED)]
    axes.plot(
        xs,
        ys,
        color=colour,
        marker=marker,
        linestyle=DASHES if curve.dashed else "-",
        markerfacecolor="white" if curve.dashed else colour,
        zorder=3,
        gid=curve.gid,
    )
    if any(point.spread for point in curve.points):
        axes.errorbar(
            xs,
            ys,
            yerr=[point.spread or 0.0 for point in curve.points],
            fmt="none",
            ecolor=colour,
            elinewidth=1,
            capsize=2.2,
            zorder=2.5,
        )
    return [LineEnd(x=xs[-1], y=ys[-1], label=curve.label, colour=colour)]


def _set_ticks(axes: Axes, values: Sequence[float]) -> None:
    if all(float(value).is_integer() for value in values):
        set_ticks(axes, [int(value) for value in values])
        return
    axes.xaxis.set_major_locator(FixedLocator([float(value) for value in values]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(length=3)
    axes.margins(x=0.04)


def _key(plot: Plot, curves: Sequence[Curve]) -> list[Line2D]:
    handles: list[Line2D] = []
    levels = plot.level_name and any(curve.level is not None for curve in curves)
    published = any(curve.published for curve in curves)
    if not (levels or published):
        return []
    handles.append(Line2D([], [], color=GREY, marker="o", label="ours"))
    if levels:
        handles.append(
            Line2D([], [], color=GREY, linewidth=1.0, linestyle=DASHES, label=plot.level_name)
        )
    if published:
        handles.append(published_handle(" (†)" if any(not c.points for c in curves) else ""))
    return handles


def published_handle(mark: str = "") -> Line2D:
    """The entry of a key for published lines."""
    return Line2D(
        [],
        [],
        color=PUBLISHED,
        linestyle=DOTS,
        marker="o",
        markerfacecolor="white",
        label=f"published{mark}",
    )


def curves_of(
    series: Sequence[Series],
    of: tuple[str, str],
    *,
    x_of: Callable[[Variant], float] = lambda variant: float(variant.value),
    start: float | None = None,
    hard_at: float | None = None,
    level: bool = False,
    published: Mapping[Any, Mapping[Any, float]] | None = None,
    key_of: Callable[[Series], Any] = lambda each: each.ipc,
) -> list[Curve]:
    """Accuracy in percent over the variant, a curve per series.

    Args:
        start: where to put the soft labels themselves, as the point of no change.
        hard_at: where to put hard labels, if they are what the variants come to there.
        level: draw the soft labels as a level.
        published: by `key_of` of a series, then by x.
    """
    found = []
    for each in few(series):
        points = []
        base = baseline_summary(each, each.soft, of)
        hard = baseline_summary(each, each.hard, of)
        known = {start: base, hard_at: hard}
        known |= {x_of(v): v.condition.cell.summary(*of) for v in each.variants}
        for x, summary in known.items():
            if x is not None and summary is not None:
                points.append(Point(x=x, y=100 * summary.mean, spread=_percent(summary.std)))
        theirs = (published or {}).get(key_of(each)) or {}
        if points:
            found.append(
                Curve(
                    label=each.where(series),
                    gid=each.gid,
                    points=tuple(sorted(points, key=lambda point: point.x)),
                    level=100 * base.mean if level and base else None,
                    published=tuple((float(x), float(y)) for x, y in theirs.items()),
                )
            )
    return found


def few(series: Sequence[Series]) -> list[Series]:
    """As many series as a figure can tell apart: those with most variants, in their own order."""
    if len(series) <= MOST_LINES:
        return list(series)
    ranked = sorted(range(len(series)), key=lambda i: (-len(series[i].variants), i))
    return [series[i] for i in sorted(ranked[:MOST_LINES])]


def count_of_runs(series: Sequence[Series], what: str = "mean ± population std") -> str:
    """ "mean ± population std over n = 3 runs"."""
    return over_runs((v.condition for each in series for v in each.variants), what)


def over_runs(conditions: Iterable[Condition], what: str = "mean ± population std") -> str:
    """The same of conditions that are no series."""
    ns = {len(each.cell.trials) for each in conditions} - {0}
    if not ns or max(ns) < 2:
        return "single runs"
    span = f"{min(ns)}" if len(ns) == 1 else f"{min(ns)}–{max(ns)}"
    return f"{what} over n = {span} runs"


def epochs_named(series: Sequence[Series]) -> str:
    """The expert epochs behind some series, where that can be said in a line."""
    return epochs_in_words(each.epoch for each in series)


def epochs_in_words(of: Iterable[int | None]) -> str:
    """ "expert epochs 4 and 13"; empty where no expert labelled."""
    epochs = sorted({epoch for epoch in of if epoch is not None})
    if not epochs:
        return ""
    if len(epochs) == 1:
        return f"expert epoch {epochs[0]}"
    return f"expert epochs {numbers.listed([str(epoch) for epoch in epochs])}"


def under(series: Sequence[Series], *more: str) -> str:
    """A figure's second line: expert epochs, number of runs and what else there is to say."""
    return ", ".join(part for part in (epochs_named(series), count_of_runs(series), *more) if part)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
