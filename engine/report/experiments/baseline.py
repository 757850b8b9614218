"""Tables 1 and 2: random images with soft labels, beside the published methods, and beside sets
made elsewhere whose students were trained here.

Published numbers are maxima over test evaluations, with the expert epoch chosen on test too, so it
is our number of the same kind (†) that stands beside them; the honest one stands next to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.analysis.choice import choose_as_the_papers
from engine.analysis.statistics import summarise
from engine.report import numbers
from engine.report.experiments.baseline_tables import OURS, evaluated_table, published_table
from engine.report.experiments.beside import MAXIMUM, beside_published
from engine.report.experiments.conditions import Condition
from engine.report.experiments.curves import DASHES, PUBLISHED, over_runs
from engine.report.experiments.evidence import Evidence, of_first_expert
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
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


def find(evidence: Evidence) -> Finding | None:
    papers = {ipc: _as_the_papers(evidence, ipc) for ipc in evidence.ipcs}
    soft = {ipc: each for ipc, each in papers.items() if each and each.cell.summary(OURS)}
    hard = {
        ipc: each
        for ipc in evidence.ipcs
        if (each := evidence.plain_hard(ipc)) and each.cell.summary(OURS)
    }
    if evidence.published is None and not evidence.evaluated:
        return None
    if not soft and not hard and not evidence.evaluated:
        return None
    best = {ipc: found[0] for ipc in evidence.ipcs if (found := evidence.best_soft(ipc))}
    tables = []
    if evidence.published is not None:
        tables.append(published_table(evidence, soft, hard, best))
    if evidence.evaluated:
        tables.append(evaluated_table(evidence, best))
    return Finding(
        sentences=tuple(_sentences(evidence, soft)),
        tables=tuple(tables),
        pictures=(
            Picture(
                name="baseline",
                caption="Random images with soft and with hard labels, beside published methods "
                "(open, grey) and sets made elsewhere; all max on test †.",
                draw=lambda: _draw(evidence, soft, hard),
            ),
        )
        if soft or hard or any(each.accuracies.get(OURS) for each in evidence.evaluated)
        else (),
        cells=cells_of([*soft.values(), *hard.values(), *best.values()]),
    )


EXPERIMENT = Experiment(
    name="baseline",
    title="Beside the published numbers",
    question="How do random images with an expert’s labels compare with distilled ones?",
    source="paper, Tables 1 and 2",
    find=find,
)


def _as_the_papers(evidence: Evidence, ipc: int) -> Condition | None:
    """Soft labels of the expert epoch with the greatest max on test, as the papers choose."""
    candidates = _candidates(evidence, ipc)
    choice = choose_as_the_papers([each.cell for each in candidates])
    return next((each for each in candidates if choice and each.cell is choice.cell), None)


def _candidates(evidence: Evidence, ipc: int) -> list[Condition]:
    return of_first_expert(evidence.plain_soft(ipc))


def _epochs_of(condition: Condition) -> int | None:
    value = condition.axes.get("student.epochs")
    return int(value) if isinstance(value, int) else None


def _sentences(evidence: Evidence, soft: Mapping[int, Condition]) -> list[str]:
    published = evidence.published
    sentences = []
    if published is not None:
        rows = {name: row for name, row in published.rows.items() if name.startswith("soft labels")}
        for ipc, condition in soft.items():
            own = condition.cell.summary(OURS)
            told = [
                f"{numbers.signless(row[ipc][0])} ± {numbers.signless(row[ipc][1])} % "
                f"({name.removeprefix('soft labels ').strip('()')})"
                for name, row in rows.items()
                if ipc in row
            ]
            if own is None or not told:
                continue
            among = [each for each in _candidates(evidence, ipc) if each.cell.summary(OURS)]
            chosen = f"epoch {condition.epoch}" + (" chosen on test too" if len(among) > 1 else "")
            sentences.append(
                f"At IPC {ipc} soft labels reach {numbers.accuracy(own)} % here (max on test, "
                f"{chosen}), {numbers.listed(told)} as published."
            )
        sentences += _lengths(evidence, list(soft.values()), published.student_epochs)
    for each in evidence.evaluated:
        values = each.accuracies.get(OURS, ())
        summary = summarise(list(values))
        if summary is not None:
            sentences.append(
                f"The set “{each.name}” (IPC {each.ipc:g}) reaches {numbers.accuracy(summary)} % "
                f"here (max on test, n = {summary.n})."
            )
    return sentences or ["No IPC of these sweeps was published for this dataset."]


def _lengths(evidence: Evidence, soft: Sequence[Condition], theirs: int) -> list[str]:
    """Whether our students trained as long as the published ones, which alone moves numbers."""
    shorter = sorted(
        {(each.ipc, epochs) for each in soft if (epochs := _epochs_of(each)) and epochs != theirs}
    )
    if not shorter:
        return []
    told = [f"{epochs:,} at IPC {ipc}" for ipc, epochs in shorter]
    return [
        f"Not the same students: the published ones train for {theirs:,} epochs, these for "
        f"{numbers.listed(told)}."
    ]


def _draw(
    evidence: Evidence, soft: Mapping[int, Condition], hard: Mapping[int, Condition]
) -> Figure:
    with house_style():
        own = [*soft.values(), *hard.values()]
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
                linestyle=(0, (1, 2)),
                marker=marker,
                markerfacecolor="white",
                markersize=5,
                zorder=2,
                gid=f"published-{number}",
            )
            ends.append(LineEnd(x=xs[-1], y=ys[-1], label=_short(name), colour=PUBLISHED))
        colour = colours(1)[0]
        for name, cells, shade, filled in (
            ("ours, soft", soft, colour, True),
            ("ours, hard", hard, HARD, False),
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
                marker="o",
                markerfacecolor=shade if filled else "white",
                linestyle="-" if filled else DASHES,
                zorder=4,
                gid=name.replace(", ", "-"),
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
            key.append(
                Line2D(
                    [],
                    [],
                    color=PUBLISHED,
                    linestyle=(0, (1, 2)),
                    marker="o",
                    markerfacecolor="white",
                    label="published",
                )
            )
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
