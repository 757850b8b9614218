"""Zero-shot: a class that students never see an image of, known from other classes' labels alone.

Scored on that class only. Two ways to take it away: its images (a selection), or its column in the
labels of all others (a transform); with both nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.report import numbers
from engine.report.entries import Entry, Table, cell_anchor, missing_entry
from engine.report.experiments.bars import Bar, draw_bars
from engine.report.experiments.comparison import difference_entry
from engine.report.experiments.conditions import is_student_axis, varying_axes
from engine.report.experiments.curves import epochs_in_words, over_runs
from engine.report.experiments.dropped import KINDS, Dropped, class_name, dropped_of
from engine.report.experiments.evidence import Evidence, of_first_expert
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.experiments.words import than
from engine.report.tables import Row, difference_columns, summary_columns, trial_ids

MOST_GROUPS = 8
_TAUGHT = {
    "images": "With soft labels and no image of a class in training",
    "column": "With soft labels that give a class no probability on images of others",
    "both": "With soft labels and no image and no label of a class in training",
    "hard": "With hard labels and no image of a class in training",
}


def find(evidence: Evidence) -> Finding | None:
    dropped = [each for c in evidence.conditions if (each := dropped_of(evidence, c)) is not None]
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


def _sentences(evidence: Evidence, dropped: Sequence[Dropped]) -> list[str]:
    whole = evidence.results.num_classes
    chance = f" (chance: {numbers.percent(1 / whole)} %)" if whole else ""
    sentences = []
    for kind, taught in _TAUGHT.items():
        own = [each for each in dropped if each.kind == kind]
        means = [found.mean for each in own if (found := each.summary())]
        if not means:
            continue
        mean = sum(means) / len(means)
        over = f", the mean over {len(means)} cells" if len(means) > 1 else ""
        sentences.append(
            f"{taught}, students recognise {numbers.percent(mean)} % of its test images"
            f"{chance}{over}."
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


def _of_main(evidence: Evidence, rows: Sequence[Dropped]) -> list[Dropped]:
    """Rows of the main students and of one expert, the first by name."""
    main = [each for each in rows if not evidence.deviates(each.condition)] or rows
    experts = of_first_expert(each.condition for each in main if not each.condition.is_expert_free)
    first = {each.axes.get("expert") for each in experts}
    return [
        each
        for each in main
        if each.condition.is_expert_free or each.condition.axes.get("expert") in first
    ]


def _draw(evidence: Evidence, rows: Sequence[Dropped]) -> Figure:
    shown = [each for each in _of_main(evidence, rows) if each.summary() is not None]
    ipcs = {each.condition.ipc for each in shown}
    epochs = sorted({each.condition.epoch for each in shown if each.condition.epoch is not None})
    every_epoch: list[int | None] = [*epochs] or [None]
    bars: dict[tuple[str, str], Bar] = {}
    for each in shown:
        summary = each.summary()
        assert summary is not None
        spread = None if summary.std is None else 100 * summary.std
        # Hard labels stand beside the labels of every expert epoch.
        for epoch in every_epoch if each.condition.is_expert_free else [each.condition.epoch]:
            words = [class_name(evidence, each.number)]
            words += [f"IPC {each.condition.ipc}"] if len(ipcs) > 1 else []
            words += [f"epoch {epoch}"] if len(epochs) > 1 else []
            bar = Bar(height=100 * summary.mean, spread=spread)
            bars.setdefault(("\n".join(words), KINDS[each.kind]), bar)
    every = list(dict.fromkeys(group for group, _ in bars))
    left_out = len(every) > MOST_GROUPS or len(shown) < sum(e.summary() is not None for e in rows)
    under = [
        "taken away from training",
        epochs_in_words(epochs),
        over_runs(each.condition for each in shown),
        "the table has further cells" if left_out else "",
    ]
    return draw_bars(
        f"{evidence.results.dataset_name}: accuracy on a class taken away",
        ", ".join(filter(None, under)),
        every[:MOST_GROUPS],
        [text for text in KINDS.values() if any(kind == text for _, kind in bars)],
        bars,
        ylabel="test accuracy on that class (%)",
    )
