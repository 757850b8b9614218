"""Figure 1: the best expert is not the most accurate one. Students over their expert's accuracy and
over the entropy of its labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from engine.analysis.choice import choose_expert_epoch
from engine.report import numbers
from engine.report.entries import Entry, Table, accuracy_entry, missing_entry
from engine.report.experiments.beside import beside_published
from engine.report.experiments.conditions import Condition
from engine.report.experiments.curves import Curve, Plot, Point, draw_curves, over_runs
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.experiments.pareto import main_grid
from engine.report.experiments.words import than
from engine.report.sweeps import ExpertEpoch
from engine.report.tables import Row, summary_columns, trial_ids


def find(evidence: Evidence) -> Finding | None:
    grid = main_grid(evidence)
    expert = str(grid[0].axes.get("expert")) if grid else ""
    about = {each.epoch: each for each in evidence.results.experts if each.expert == expert}
    epochs = sorted({each.epoch for each in grid if each.epoch in about})
    known = [each for each in grid if each.epoch in about]
    if len(epochs) < 2 or all(about[e].test is None for e in epochs if e is not None):
        return None
    pictures = [
        Picture(
            name="accuracy_over_expert_accuracy",
            caption="Students’ accuracy over that of their expert, a line per IPC, each point an "
            "expert epoch.",
            draw=lambda: _draw(
                evidence,
                known,
                lambda epoch: _percent(about[epoch].test),
                "expert’s test accuracy (%)",
                "expert accuracy",
                0,
            ),
        )
    ]
    if all(about[each.epoch or 0].label_entropy is not None for each in known):
        pictures.append(
            Picture(
                name="accuracy_over_label_entropy",
                caption="Students’ accuracy over the mean entropy of their labels; early experts "
                "on the right.",
                draw=lambda: _draw(
                    evidence,
                    known,
                    lambda epoch: about[epoch].label_entropy,
                    "mean label entropy (nats)",
                    "label entropy",
                    1,
                ),
            )
        )
    return Finding(
        sentences=tuple(_sentences(evidence, known, about)),
        tables=(_table(evidence, known, about),),
        pictures=tuple(pictures),
        cells=cells_of(known),
    )


EXPERIMENT = Experiment(
    name="expert-quality",
    title="The expert’s accuracy and the students’",
    question="Is a more accurate expert the better teacher?",
    source="paper, Figure 2; reproduction, Figure 1",
    find=find,
)

About = dict[int, ExpertEpoch]


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _best(known: Sequence[Condition], ipc: int) -> Condition | None:
    """Of the best expert epoch of an IPC, of the expert that this section is about."""
    own = [each for each in known if each.ipc == ipc]
    choice = choose_expert_epoch([each.cell for each in own])
    return next((each for each in own if choice and each.cell is choice.cell), None)


def _sentences(evidence: Evidence, known: Sequence[Condition], about: About) -> list[str]:
    sentences = []
    for ipc in sorted({each.ipc for each in known}):
        own = [
            each for each in known if each.ipc == ipc and about[each.epoch or 0].test is not None
        ]
        best = _best(own, ipc)
        if best is None or len(own) < 2:
            continue
        strongest = max(
            own, key=lambda each: (about[each.epoch or 0].test or 0.0, -(each.epoch or 0))
        )
        chosen = about[best.epoch or 0]
        top = about[strongest.epoch or 0]
        if strongest.epoch == chosen.epoch:
            sentences.append(
                f"At IPC {ipc} the best epoch is that of the most accurate expert compared "
                f"({numbers.percent(top.test)} %)."
            )
        else:
            gap = best.cell.gain_over(strongest.cell, *evidence.of)
            sentences.append(
                f"At IPC {ipc} the best expert has {numbers.percent(chosen.test)} % (epoch "
                f"{chosen.epoch}), not the most accurate one’s {numbers.percent(top.test)} % "
                f"(epoch {top.epoch}); its students are {than(gap)} the other’s."
            )
    return sentences or ["No IPC has two expert epochs of known accuracy."]


def _table(evidence: Evidence, known: Sequence[Condition], about: About) -> NumberTable:
    ipcs = sorted({each.ipc for each in known})
    at = {(each.ipc, each.epoch): each for each in known}
    experts = {each.axes.get("expert") for each in known}
    otherwise = {
        (ipc, each.epoch): each.cell
        for ipc in ipcs
        for each in evidence.plain_soft(ipc)
        if each.axes.get("expert") in experts
    }
    rows, flat = [], []
    for epoch in sorted({each.epoch for each in known if each.epoch is not None}):
        expert = about[epoch]
        entropy = expert.label_entropy
        row = [
            Entry(text=str(epoch)),
            Entry(text=numbers.percent(expert.test)),
            Entry(text=numbers.NOT_MEASURED if entropy is None else numbers.signless(entropy, 2)),
        ]
        for ipc in ipcs:
            condition = at.get((ipc, epoch))
            best = _best(known, ipc)
            cell = condition.cell if condition else otherwise.get((ipc, epoch))
            row.append(
                missing_entry(None)
                if cell is None
                else accuracy_entry(
                    cell,
                    evidence.of[0],
                    split=evidence.of[1],
                    best=best is not None and best.epoch == epoch,
                )
            )
            if condition is not None:
                line: Row = {
                    "expert": expert.expert,
                    "expert_epoch": epoch,
                    "expert_test": expert.test,
                    "label_entropy_nats": entropy,
                    "ipc": ipc,
                    **summary_columns(evidence.of[0], condition.cell.summary(*evidence.of)),
                    "trials": trial_ids(condition.cell.trials),
                }
                flat.append(line)
        rows.append(tuple(row))
    return NumberTable(
        name="expert_quality",
        view=Table(
            title="Expert and students by expert epoch",
            groups=(("", 1), ("Expert", 2), ("Students’ accuracy", len(ipcs))),
            columns=("expert epoch", "test", "label entropy", *(f"IPC {ipc}" for ipc in ipcs)),
            rows=tuple(rows),
            legend=(
                "Accuracies in percent, ± population standard deviation; entropy in nats. Bold: "
                "the expert epoch of the main table.",
            ),
        ),
        rows=tuple(flat),
    )


def _draw(
    evidence: Evidence,
    known: Sequence[Condition],
    x_of: Callable[[int], float | None],
    xlabel: str,
    title: str,
    place: int,
) -> Figure:
    published = evidence.published
    curves = []
    for ipc in sorted({each.ipc for each in known}):
        points = []
        for each in known:
            summary = each.cell.summary(*evidence.of)
            x = x_of(each.epoch or 0)
            if each.ipc == ipc and summary is not None and x is not None:
                spread = None if summary.std is None else 100 * summary.std
                points.append(Point(x=x, y=100 * summary.mean, spread=spread))
        theirs = []
        if published:
            for epoch, value in published.grid.get(ipc, {}).items():
                if epoch in published.expert:
                    theirs.append((published.expert[epoch][place], value))
        curves.append(
            Curve(
                label=f"IPC {ipc}",
                gid=f"ipc-{ipc}",
                points=tuple(sorted(points, key=lambda point: point.x)),
                published=tuple(sorted(theirs)),
            )
        )
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: students over {title}",
            under=f"each point an expert epoch, {over_runs(known)}",
            beside=beside_published(evidence, known),
            xlabel=xlabel,
            ylabel=f"{evidence.of[1]} accuracy (%)",
            xscale="linear",
            ticks=(),
        ),
        curves,
    )
