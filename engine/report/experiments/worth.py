"""How many images a label is worth: the IPC at which hard labels are as accurate as soft ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.analysis.trials import Seeds
from engine.analysis.worth import Worth, worth_in_images
from engine.report import numbers
from engine.report.entries import Entry, Table, accuracy_entry, cell_anchor, missing_entry
from engine.report.experiments.conditions import Condition
from engine.report.experiments.curves import DASHES, PUBLISHED
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.experiments.weighing import Weighed
from engine.report.figure_layout import (
    HARD,
    LineEnd,
    colours,
    house_style,
    label_ends,
    set_ticks,
    titled,
)
from engine.report.published import Published
from engine.report.tables import Row, trial_ids

FARTHEST = 10.0
"""How many times the largest IPC measured an arrow reaches, though a label be worth still more."""

ROOM_OF_CHARACTER = 0.024
"""Of words beside an arrow, as a share of the axes."""


def find(evidence: Evidence) -> Finding | None:
    weighed, hard = evidence.weighed
    if not weighed:
        return None
    return Finding(
        sentences=tuple(sentence(each.worth) for each in weighed),
        tables=(_table(evidence, weighed, hard),),
        pictures=(
            Picture(
                name="worth_in_images",
                caption="Soft labels beside the curve of hard labels: an arrow leads to the IPC "
                "at which hard labels are as accurate.",
                draw=lambda: _draw(evidence, weighed, hard),
            ),
        )
        if len(hard) > 1
        else (),
        cells=cells_of([*(each.soft for each in weighed), *hard.values()]),
    )


EXPERIMENT = Experiment(
    name="worth",
    title="What a label is worth",
    question="How many hard-labelled images does one soft-labelled image replace?",
    source="the paper’s title",
    find=find,
)


def amount(worth: Worth) -> str:
    """Images per label in short: "6.4", "more than 100", "less than 1"."""
    per_label = worth.per_label
    assert per_label is not None
    text = numbers.signless(per_label, 1 if per_label < 20 else 0)
    return f"{worth.kind.split()[0]} than {text}" if "than" in worth.kind else text


def span(worth: Worth) -> str:
    """Its 95 % interval per label; an end beyond the hard labels measured is left open."""
    if not worth.has_interval:
        return "95 % interval not known: single runs"
    if numbers.has_no_width(*worth.ends_on_curve):
        return f"95 % interval {numbers.NO_SCATTER}"
    ends = [
        None if end is None else numbers.signless(end / worth.ipc, 1 if end / worth.ipc < 20 else 0)
        for end in worth.ends_on_curve
    ]
    if ends[0] is None and ends[1] is None:
        if worth.low == 0:
            beyond = "from below to beyond" if worth.high else "below"
            return f"95 % interval {beyond} the hard labels measured"
        return "95 % interval beyond the hard labels measured"
    if ends[0] is None:
        return f"95 % interval up to {ends[1]}"
    if ends[1] is None:
        return f"95 % interval from {ends[0]} upwards, beyond the hard labels measured"
    return f"95 % interval {ends[0]} to {ends[1]}"


def sentence(worth: Worth) -> str:
    """One label's worth in words."""
    extrapolated = (
        "; extrapolated beyond the hard labels measured" if (worth.kind == "extrapolated") else ""
    )
    return (
        f"At IPC {worth.ipc} one soft label is worth {amount(worth)} hard-labelled images "
        f"({span(worth)}{extrapolated})."
    )


def published_worth(published: Published) -> dict[int, Worth]:
    """The same of the published grid, single runs read off a plot; empty where there is none."""
    if not published.grid or not published.hard:
        return {}
    soft = {ipc: _single(max(row.values())) for ipc, row in published.grid.items()}
    hard = {ipc: _single(value) for ipc, value in published.hard.items()}
    return {worth.ipc: worth for worth in worth_in_images(soft, hard, resamples=2)}


def _single(percent: float) -> Mapping[Seeds, float]:
    return {(("init_seed", 0),): percent / 100}


def _table(
    evidence: Evidence, weighed: Sequence[Weighed], hard: Mapping[int, Condition]
) -> NumberTable:
    measure, split = evidence.of
    theirs = published_worth(evidence.published) if evidence.published else {}
    rows, flat = [], []
    for each in weighed:
        worth = each.worth
        ends = "" if not worth.has_interval else span(worth).removeprefix("95 % interval ")
        own = hard.get(worth.ipc) or evidence.plain_hard(worth.ipc)
        row = [
            Entry(text=str(worth.ipc)),
            Entry(text=str(each.soft.epoch)),
            accuracy_entry(each.soft.cell, measure, split=split),
            accuracy_entry(own.cell, measure, split=split) if own else missing_entry(None),
            Entry(text=amount(worth), style="best", anchor=cell_anchor(each.soft.cell)),
            Entry(text=ends or numbers.NOT_MEASURED, style="words"),
            Entry(text=worth.kind, style="words"),
        ]
        low, high = worth.ends_on_curve
        known = not numbers.has_no_width(low, high)
        line: Row = {
            "ipc": worth.ipc,
            "expert_epoch": each.soft.epoch,
            "worth_ipc_of_hard_labels": worth.images,
            "worth_low": low if known else None,
            "worth_high": high if known else None,
            "images_per_label": worth.per_label,
            "kind": worth.kind,
        }
        if theirs:
            other = theirs.get(worth.ipc)
            row.append(
                Entry(
                    text=amount(other) if other else numbers.NOT_MEASURED,
                    style="muted",
                    title="from the published grid, one run a cell, read off a plot",
                )
            )
            line["published_images_per_label"] = other.per_label if other else None
        line["trials"] = trial_ids(each.soft.cell.trials)
        line["hard_trials"] = " ".join(trial_ids(c.cell.trials) for c in hard.values())
        rows.append(tuple(row))
        flat.append(line)
    return NumberTable(
        name="worth_in_images",
        view=Table(
            title="Images per label",
            columns=(
                "IPC",
                "expert epoch",
                "soft labels",
                "hard labels",
                "images per label",
                "95 % interval",
                "kind",
                *(["published †"] if theirs else []),
            ),
            rows=tuple(rows),
            legend=(
                "Images per label: the IPC at which hard labels reach the soft labels’ accuracy, "
                "over the IPC of the soft labels. Read off the hard labels’ curve, made monotone, "
                "linear over the logarithm of IPC; the interval from joint draws of all cells.",
                *(
                    ["† From the reproduction’s Figure 3b, one run a cell, read by eye."]
                    if theirs
                    else []
                ),
            ),
        ),
        rows=tuple(flat),
    )


def _draw(evidence: Evidence, weighed: Sequence[Weighed], hard: Mapping[int, Condition]) -> Figure:
    with house_style():
        figure, axes = titled(
            f"{evidence.results.dataset_name}: what a soft label is worth",
            "an arrow leads from soft labels to hard labels of the same accuracy",
        )
        colour = colours(1)[0]
        soft = [(each.soft.ipc, each.soft.cell.summary(*evidence.of)) for each in weighed]
        known = [(ipc, 100 * found.mean) for ipc, found in soft if found]
        curve = [
            (ipc, 100 * found.mean)
            for ipc, each in hard.items()
            if (found := each.cell.summary(*evidence.of))
        ]
        axes.plot(*zip(*known, strict=True), color=colour, marker="o", zorder=3, gid="soft")
        axes.plot(
            *zip(*curve, strict=True),
            color=HARD,
            marker="o",
            markerfacecolor="white",
            linestyle=DASHES,
            zorder=3,
            gid="hard",
        )
        farthest = FARTHEST * max(hard)
        for each, (ipc, level) in zip(weighed, known, strict=True):
            images = each.worth.images
            if images is None or images <= ipc or each.worth.kind == "less than measured":
                continue
            _draw_arrow(axes, each.worth, level, min(images, farthest), colour)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        set_ticks(axes, sorted({*hard, *(ipc for ipc, _ in known)}))
        axes.set_xlabel("images per class (IPC)")
        axes.set_ylabel(f"{evidence.of[1]} accuracy (%)")
        label_ends(
            axes,
            [
                LineEnd(x=known[-1][0], y=known[-1][1], label="soft labels", colour=colour),
                LineEnd(x=curve[-1][0], y=curve[-1][1], label="hard labels", colour=HARD),
            ],
        )
    return figure


def _draw_arrow(axes: Axes, worth: Worth, level: float, end: float, colour: str) -> None:
    """From the soft labels' IPC to `end` at their accuracy, with what one label is worth."""
    text = f"× {amount(worth)}"
    axes.annotate(
        "",
        xy=(end, level),
        xytext=(worth.ipc, level),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 0.9,
            "linestyle": "-" if worth.kind == "interpolated" else (0, (2, 2)),
            "shrinkA": 4,
            "shrinkB": 0,
        },
    )
    # Both curves rise, and that of hard labels through the head: below on its right is nothing.
    axes.annotate(
        text,
        xy=(end, level),
        xytext=(3, -3),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=8.5,
        color=PUBLISHED,
    )
    # An arrow whose head lies outside the axes is not drawn; the words take room on the right.
    first = min(axes.dataLim.x0, worth.ipc)
    room = (end / first) ** (ROOM_OF_CHARACTER * len(text))
    axes.update_datalim([(end * room, level)])
