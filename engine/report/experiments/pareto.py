"""Figure 3b: IPC × expert epoch. Which cells are worth their images and their expert, how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.analysis.pareto import Measured, ParetoPoint, pareto_front
from engine.report import numbers
from engine.report.entries import Entry, Table, cell_anchor
from engine.report.experiments.beside import beside_published
from engine.report.experiments.conditions import Condition
from engine.report.experiments.curves import Curve, Plot, Point, draw_curves
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
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
from engine.report.tables import Row, trial_ids


def main_grid(evidence: Evidence) -> list[Condition]:
    """Plain soft labels of the main students, of one expert: the first by name with most cells.

    Nothing where no IPC has a choice of expert epochs.
    """
    cells: dict[str, list[Condition]] = {}
    for ipc in evidence.ipcs:
        for each in evidence.plain_soft(ipc):
            if each.cell.values(*evidence.of) and (each.epoch or 0) > 0:
                cells.setdefault(str(each.axes.get("expert")), []).append(each)
    # The same epoch twice, of another view or codec, is another question.
    best = max(sorted(cells), key=lambda name: len(cells[name]), default=None)
    if best is None:
        return []
    first: dict[tuple[int, int | None], Condition] = {}
    for each in cells[best]:
        first.setdefault((each.ipc, each.epoch), each)
    ipcs = [ipc for ipc, _ in first]
    return list(first.values()) if len(set(ipcs)) < len(ipcs) else []


def find(evidence: Evidence) -> Finding | None:
    grid = main_grid(evidence)
    if len({each.ipc for each in grid}) < 2 or len({each.epoch for each in grid}) < 2:
        return None
    subset_of = {trial.seeds: trial.subset_seed for each in grid for trial in each.cell.trials}
    points = pareto_front(
        [
            Measured(
                ipc=each.ipc, expert_epoch=each.epoch or 0, values=each.cell.values(*evidence.of)
            )
            for each in grid
        ],
        group_of=subset_of,
    )
    at = {(each.ipc, each.epoch): each for each in grid}
    beside = Picture(
        name="expert_epoch_published",
        caption="Accuracy over the expert epoch, a line per IPC, beside the reproduction’s (one "
        "run a cell, read off its plot).",
        draw=lambda: _draw_epochs(evidence, points, grid),
    )
    return Finding(
        sentences=tuple(_sentences(points)),
        tables=(_table(points, at),),
        pictures=(
            Picture(
                name="pareto_front",
                caption="Accuracy over IPC, a line per expert epoch. Large: on the Pareto front, "
                "where no cell with fewer images or an earlier expert is as accurate.",
                draw=lambda: _draw_front(evidence, points),
            ),
            *([beside] if evidence.published and evidence.published.grid else []),
        ),
        cells=cells_of(grid),
    )


EXPERIMENT = Experiment(
    name="pareto",
    title="Images against knowledge",
    question="Which expert epochs are worth having at which number of images?",
    source="paper; reproduction, Figure 3b",
    find=find,
)


def _sentences(points: Sequence[ParetoPoint]) -> list[str]:
    sentences = []
    front = [point for point in points if point.on_front]
    sentences.append(
        f"{len(front)} of {len(points)} cells lie on the Pareto front: no other cell is as "
        "accurate with no more images and no later expert."
    )
    if any(point.front_share is None for point in points):
        return [*sentences, "Some cells have one run, so how sure this is can’t be said."]
    sure = [p for p in points if p.front_share is not None and p.front_share >= 0.95]
    open_ = [p for p in points if p.front_share is not None and 0.05 < p.front_share < 0.95]
    sentences.append(
        f"{len(sure)} of them are there in at least 95 % of the draws of the cells’ means; "
        f"{len(open_)} cells are open (between 5 and 95 %)."
    )
    return sentences


def _table(
    points: Sequence[ParetoPoint], at: Mapping[tuple[int, int | None], Condition]
) -> NumberTable:
    rows, flat = [], []
    for point in points:
        cell = at[point.ipc, point.expert_epoch].cell
        interval = numbers.interval_in_words(point.low, point.high)
        rows.append(
            (
                Entry(text=str(point.ipc)),
                Entry(text=str(point.expert_epoch)),
                Entry(
                    text=numbers.percent(point.mean),
                    anchor=cell_anchor(cell),
                    style="best" if point.on_front else "",
                    title="trials " + ", ".join(trial.id[:12] for trial in cell.trials),
                ),
                Entry(text=interval),
                Entry(text=_share(point.share)),
                Entry(text="yes" if point.on_front else "no"),
                Entry(text=_share(point.front_share)),
            )
        )
        flat.append(_row(point, trial_ids(cell.trials)))
    return NumberTable(
        name="pareto",
        view=Table(
            title="The Pareto front",
            columns=(
                "IPC",
                "expert epoch",
                "accuracy",
                "95 % interval",
                "best of its IPC",
                "on the front",
                "sure",
            ),
            rows=tuple(rows),
            legend=(
                "Best of its IPC, and sure: shares of 2,000 joint draws of the cells’ means, runs "
                "of equal seeds kept together, in which the cell is the best of its IPC, and on "
                "the front.",
            ),
        ),
        rows=tuple(flat),
    )


def _row(point: ParetoPoint, trials: str) -> Row:
    low, high = numbers.ends_of(point.low, point.high) or (None, None)
    return {
        "ipc": point.ipc,
        "expert_epoch": point.expert_epoch,
        "accuracy_mean": point.mean,
        "accuracy_ci_low": low,
        "accuracy_ci_high": high,
        "best_of_ipc_share": point.share,
        "on_front": point.on_front,
        "on_front_share": point.front_share,
        "trials": trials,
    }


def _share(share: float | None) -> str:
    return numbers.NOT_MEASURED if share is None else f"{numbers.percent(share, 0)} %"


def _draw_front(evidence: Evidence, points: Sequence[ParetoPoint]) -> Figure:
    epochs = sorted({point.expert_epoch for point in points})
    ipcs = sorted({point.ipc for point in points})
    with house_style():
        figure, axes = titled(
            f"{evidence.results.dataset_name}: the Pareto front of images and knowledge",
            f"{evidence.of[1]} accuracy, {numbers.MEASURE_NAMES[evidence.of[0]]}; "
            "a line per expert epoch",
        )
        shades = colours(len(epochs))
        ends = []
        for number, epoch in enumerate(epochs):
            own = [point for point in points if point.expert_epoch == epoch]
            xs, ys = [p.ipc for p in own], [100 * p.mean for p in own]
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(
                xs,
                ys,
                color=shades[number],
                linewidth=1.0,
                marker=marker,
                markersize=3.5,
                zorder=3,
                gid=f"epoch-{epoch}",
            )
            front = [p for p in own if p.on_front]
            axes.plot(
                [p.ipc for p in front],
                [100 * p.mean for p in front],
                color=shades[number],
                linestyle="none",
                marker=marker,
                markersize=8.5,
                zorder=4,
                gid=f"front-{epoch}",
            )
            ends.append(LineEnd(x=xs[-1], y=ys[-1], label=f"epoch {epoch}", colour=shades[number]))
        axes.set_xscale("log")
        set_ticks(axes, ipcs)
        axes.set_xlabel("images per class (IPC)")
        axes.set_ylabel(f"{evidence.of[1]} accuracy (%)")
        key = [
            Line2D(
                [],
                [],
                color=GREY,
                marker="o",
                linestyle="none",
                markersize=8.5,
                label="on the front",
            ),
            Line2D([], [], color=GREY, marker="o", linestyle="none", markersize=3.5, label="not"),
        ]
        place_key(figure, key)
        label_ends(axes, ends)
    return figure


def _draw_epochs(
    evidence: Evidence, points: Sequence[ParetoPoint], grid: Sequence[Condition]
) -> Figure:
    theirs = evidence.published.grid if evidence.published else {}
    curves = [
        Curve(
            label=f"IPC {ipc}",
            gid=f"ipc-{ipc}",
            points=tuple(Point(x=p.expert_epoch, y=100 * p.mean) for p in points if p.ipc == ipc),
            published=tuple((float(e), v) for e, v in theirs.get(ipc, {}).items()),
        )
        for ipc in sorted({point.ipc for point in points})
    ]
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: accuracy over the expert epoch",
            under="mean over the runs of a cell",
            beside=beside_published(evidence, grid),
            xlabel="expert epoch",
            ylabel=f"{evidence.of[1]} accuracy (%)",
        ),
        curves,
    )
