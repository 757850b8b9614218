"""Zero-shot: a class that students never see an image of, known from other classes' labels alone.

Scored on that class only. Two ways to take it away: its images (a selection), or its column in the
labels of all others (a transform); with both nothing of it is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from engine.analysis.statistics import Difference, Summary, difference, summarise
from engine.analysis.trials import Seeds
from engine.report import numbers
from engine.report.entries import Entry, Table, cell_anchor, missing_entry
from engine.report.experiments.bars import Bar, draw_bars
from engine.report.experiments.comparison import difference_entry
from engine.report.experiments.conditions import (
    Condition,
    is_student_axis,
    steps_of,
    subset_of,
    varying_axes,
)
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.experiments.words import than
from engine.report.tables import Row, difference_columns, summary_columns, trial_ids

MOST_GROUPS = 8
KINDS = {
    "nothing": "nothing",
    "images": "images",
    "column": "column",
    "both": "both",
    "hard": "images, hard labels",
}


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A condition that lacks something of class `number`: a key of KINDS says what."""

    number: int
    kind: str
    condition: Condition
    soft: Condition | None  # the same with nothing taken away

    def values(self) -> dict[Seeds, float]:
        return of_class(self.condition, self.number)

    def summary(self) -> Summary | None:
        return _summary(self.condition, self.number)

    def minus_soft(self) -> Difference | None:
        if self.soft is None:
            return None
        whole = of_class(self.soft, self.number)
        return difference(self.values(), whole, subset_of(self.condition.cell))


def of_class(condition: Condition, number: int) -> dict[Seeds, float]:
    """Test accuracy of one class at the final epoch, by seeds; of runs that recorded it."""
    found = {}
    for trial in condition.cell.trials:
        if trial.test_per_class is not None and number < len(trial.test_per_class):
            value = trial.test_per_class[number]
            if not math.isnan(value):
                found[trial.seeds] = value
    return found


def find(evidence: Evidence) -> Finding | None:
    dropped = [each for c in evidence.conditions if (each := _dropped(evidence, c)) is not None]
    if not dropped:
        return None
    settings = varying_axes(
        [(d.condition.ipc, d.condition.axes) for d in dropped if not d.condition.is_expert_free]
        or [(d.condition.ipc, d.condition.axes) for d in dropped],
        but=("selection", "transform"),
    )
    dropped.sort(
        key=lambda d: (
            d.condition.ipc,
            d.number,
            repr([d.condition.axes.get(name) for name in settings if is_student_axis(name)]),
            d.condition.epoch or 0,
            [*KINDS].index(d.kind),
        )
    )
    rows = _with_baselines(dropped)
    scored = [each for each in dropped if each.summary() is not None]
    return Finding(
        sentences=tuple(_sentences(evidence, scored))
        or ("No such run recorded its accuracy on every class, so nothing can be scored.",),
        tables=(_table(evidence, rows, settings),),
        pictures=(
            Picture(
                name="zero_shot",
                caption="Test accuracy on the class that was taken away, and on it with nothing "
                "taken away.",
                draw=lambda: _draw(evidence, rows),
            ),
        )
        if scored
        else (),
        shown=tuple(each.condition for each in dropped),
        cells=cells_of([c for each in dropped for c in (each.soft, each.condition)]),
    )


EXPERIMENT = Experiment(
    name="zero-shot",
    title="Classes without an image",
    question="Can a student recognise a class from other classes’ labels alone?",
    source="paper: zero-shot",
    find=find,
)


def _dropped(evidence: Evidence, condition: Condition) -> Dropped | None:
    name, _, argument = str(condition.axes["selection"]).partition(":")
    image_class = argument.partition("@")[0] if name == "drop-class" else ""
    steps = dict(steps_of(condition.transform))
    column = (steps.get("drop-class-column") or ("",))[0]
    if not (image_class or column):
        return None
    if condition.labels == "hard":
        kind = "hard"
    elif image_class and column:
        kind = "both"
    else:
        kind = "images" if image_class else "column"
    return Dropped(
        number=int(image_class or column),
        kind=kind,
        condition=condition,
        soft=evidence.soft_of(condition, same_images=False),
    )


def _summary(condition: Condition, number: int) -> Summary | None:
    values, groups = of_class(condition, number), subset_of(condition.cell)
    return summarise(list(values.values()), [groups[seeds] for seeds in values])


def _with_baselines(dropped: Sequence[Dropped]) -> list[Dropped]:
    """Everything dropped, with a row of nothing dropped before the rows of its class."""
    rows: list[Dropped] = []
    told = set()
    for each in dropped:
        if each.soft is not None and (each.soft.key, each.number) not in told:
            told.add((each.soft.key, each.number))
            rows.append(Dropped(number=each.number, kind="nothing", condition=each.soft, soft=None))
        rows.append(each)
    return rows


def class_name(evidence: Evidence, number: int) -> str:
    """A class's name, or its number where the dataset has no names."""
    classes = evidence.results.classes
    return classes[number] if number < len(classes) else f"class {number}"


def _sentences(evidence: Evidence, dropped: Sequence[Dropped]) -> list[str]:
    whole = evidence.results.num_classes
    chance = f" (chance: {numbers.percent(1 / whole)} %)" if whole else ""
    sentences = []
    for kind in ("images", "both", "hard"):
        own = [each for each in dropped if each.kind == kind]
        means = [found.mean for each in own if (found := each.summary())]
        if not means:
            continue
        without = {"images": "no image", "both": "no image and no label", "hard": "no image"}[kind]
        labels = "hard" if kind == "hard" else "soft"
        mean = sum(means) / len(means)
        over = f", the mean over {len(means)} cells" if len(means) > 1 else ""
        sentences.append(
            f"With {labels} labels and {without} of a class in training, students recognise "
            f"{numbers.percent(mean)} % of its test images{chance}{over}."
        )
    for each in [d for d in dropped if d.kind == "images"][:2]:
        sentences.append(
            f"On {class_name(evidence, each.number)} at IPC {each.condition.ipc} that is "
            f"{than(each.minus_soft())} the same students with its images."
        )
    return sentences


def _table(evidence: Evidence, rows: Sequence[Dropped], settings: Sequence[str]) -> NumberTable:
    shown, flat = [], []
    for each in rows:
        summary, lost = each.summary(), each.minus_soft()
        cell = each.condition.cell
        epoch = each.condition.epoch
        interval = (
            numbers.interval_in_words(summary.ci_low, summary.ci_high)
            if summary
            else numbers.NOT_MEASURED
        )
        shown.append(
            (
                Entry(text=class_name(evidence, each.number), style="words"),
                Entry(text=str(each.condition.ipc)),
                Entry(text=numbers.NOT_ASKED if epoch is None else str(epoch)),
                *(
                    Entry(text=numbers.setting_value(each.condition.axes.get(name)))
                    for name in settings
                ),
                Entry(text=KINDS[each.kind], style="words"),
                Entry(text=str(summary.n if summary else 0)),
                Entry(
                    text=numbers.accuracy(summary),
                    title=numbers.accuracy_in_full(summary) if summary else "not recorded",
                    anchor=cell_anchor(cell),
                    style="best" if summary else "muted",
                )
                if cell.trials
                else missing_entry(cell),
                Entry(text=interval),
                difference_entry(lost),
            )
        )
        line: Row = {
            "class": class_name(evidence, each.number),
            "class_number": each.number,
            "ipc": each.condition.ipc,
            "expert_epoch": epoch,
            **{name: each.condition.axes.get(name) for name in settings},
            "taken_away": KINDS[each.kind],
            "n": summary.n if summary else 0,
            **summary_columns("class_accuracy", summary),
            **difference_columns("minus_nothing_taken_away", lost),
            "trials": trial_ids(cell.trials),
        }
        flat.append(line)
    return NumberTable(
        name="zero_shot",
        view=Table(
            title="Accuracy on the class taken away",
            columns=(
                "class",
                "IPC",
                "expert epoch",
                *map(numbers.setting_name, settings),
                "taken away",
                "n",
                "accuracy on it",
                "95 % interval",
                "less nothing taken away",
            ),
            rows=tuple(shown),
            legend=(
                "Test accuracy on that class alone, final epoch, in percent. Column: the class’s "
                "probability is removed from all labels of other classes.",
                *(
                    [f"{numbers.NOT_MEASURED}: accuracies of single classes were not recorded."]
                    if any(each.condition.is_measured and not each.summary() for each in rows)
                    else []
                ),
            ),
        ),
        rows=tuple(flat),
    )


def _draw(evidence: Evidence, rows: Sequence[Dropped]) -> Figure:
    bars: dict[tuple[str, str], Bar] = {}
    groups: list[str] = []
    several = len({each.condition.ipc for each in rows}) > 1
    for each in rows:
        name = class_name(evidence, each.number)
        group = f"{name}\nIPC {each.condition.ipc}" if several else name
        summary = each.summary()
        if summary is None or (group not in groups and len(groups) == MOST_GROUPS):
            continue
        if group not in groups:
            groups.append(group)
        spread = None if summary.std is None else 100 * summary.std
        bars.setdefault((group, KINDS[each.kind]), Bar(height=100 * summary.mean, spread=spread))
    kinds = [text for text in KINDS.values() if any(kind == text for _, kind in bars)]
    return draw_bars(
        f"{evidence.results.dataset_name}: accuracy on a class taken away",
        "taken away from training; mean ± population std over runs",
        groups,
        kinds,
        bars,
        ylabel="test accuracy on that class (%)",
    )
