"""Variants of one thing beside plain soft and hard labels: the table that most experiments have.

In: series of variants. Out: a table and its rows, a row per variant with mean ± std, the 95 %
interval, three accuracies, and the differences to both baselines, paired by seeds. Rows of one
series stand together under their baseline.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.effects import EffectSize, effect_size
from engine.analysis.statistics import Difference
from engine.analysis.trials import MEASURES
from engine.report import numbers
from engine.report.entries import Entry, Table, absent, accuracy_entry, plus_minus_legend
from engine.report.experiments.conditions import Condition, subset_of
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import NumberTable, cells_of
from engine.report.experiments.series import Series
from engine.report.tables import Row, difference_columns, summary_columns, trial_ids


def compared(
    evidence: Evidence,
    name: str,
    title: str,
    series: Sequence[Series],
    *,
    heading: str,
    baselines: bool = True,
    legend: Sequence[str] = (),
    soft_name: str = "soft labels",
) -> NumberTable:
    """The table of all series: their baselines first, then a row per variant.

    Args:
        heading: of the column that says what varies.
        soft_name: what the first baseline is called.
    """
    measure = evidence.of[0]
    settings = list(dict.fromkeys(name for each in series for name in each.settings))
    rows: list[tuple[Entry, ...]] = []
    flat: list[Row] = []
    told: list[Condition] = []
    for each in series:
        settings_of = (
            *(Entry(text=numbers.setting_value(each.settings.get(n))) for n in settings),
        )
        shown = [(v.text, v.condition, v.soft, v.hard) for v in each.variants]
        if baselines:
            above = [(soft_name, each.soft), ("hard labels", each.hard)]
            known = {v.condition.key for v in each.variants}
            shown = [
                (text, base, None, each.hard if text == soft_name else None)
                for text, base in above
                if base is not None and base.key not in known
            ] + shown
        for text, condition, soft, hard in shown:
            first = Entry(text=str(each.ipc)), _epoch_entry(condition)
            fields = _fields(evidence, text, condition, soft, hard)
            rows.append((*first, *settings_of, *fields))
            flat.append(_row(each, heading, text, condition, soft, hard, evidence.of))
            told.append(condition)
    has_hard = any(each.hard is not None for each in series)
    return NumberTable(
        name=name,
        view=Table(
            title=title,
            groups=(
                ("", 4 + len(settings)),
                (_ACCURACY[evidence.of[1]], 4),
                (f"{numbers.MEASURE_NAMES[measure].capitalize()}, less", 2),
            ),
            columns=(
                "IPC",
                "expert epoch",
                *map(numbers.setting_name, settings),
                heading,
                "n",
                "final epoch",
                "95 % interval",
                "selected",
                "max †",
                soft_name,
                "hard labels",
            ),
            rows=tuple(rows),
            legend=(
                *legend,
                plus_minus_legend(cells_of(told)),
                "Differences in percentage points over runs of equal seeds, each with its own 95 % "
                "interval (Student’s t): of many, one in twenty misses"
                + (
                    "."
                    if has_hard
                    else "; no hard labels of the same IPC, images and student were run."
                ),
                _OPTIMISTIC,
            ),
        ),
        rows=tuple(flat),
    )


_ACCURACY = {"test": "Test accuracy", "validation": "Validation accuracy"}
_OPTIMISTIC = "† The greatest of all test evaluations: the papers’ optimistic measure."


def _epoch_entry(condition: Condition) -> Entry:
    if condition.epoch is None:
        return Entry(text=numbers.NOT_ASKED, title="no expert", style="muted")
    return Entry(text=str(condition.epoch))


def _fields(
    evidence: Evidence,
    text: str,
    condition: Condition,
    soft: Condition | None,
    hard: Condition | None,
) -> tuple[Entry, ...]:
    measure, split = evidence.of
    cell = condition.cell
    summary = cell.summary(measure, split)
    interval = (
        absent()
        if summary is None or summary.ci_low is None
        else Entry(text=numbers.interval_in_words(summary.ci_low, summary.ci_high))
    )
    return (
        Entry(text=text, style="words"),
        Entry(text=str(len(cell.trials))),
        accuracy_entry(cell, measure, split=split, best=True),
        interval,
        accuracy_entry(cell, "selected"),
        accuracy_entry(cell, "max_on_test"),
        difference_entry(
            _minus(condition, soft, evidence.of), _effect(condition, soft, evidence.of)
        ),
        difference_entry(
            _minus(condition, hard, evidence.of), _effect(condition, hard, evidence.of)
        ),
    )


def _minus(condition: Condition, other: Condition | None, of: tuple[str, str]) -> Difference | None:
    if other is None or other.key == condition.key:
        return None
    return condition.cell.gain_over(other.cell, *of)


def _effect(
    condition: Condition, other: Condition | None, of: tuple[str, str]
) -> EffectSize | None:
    if other is None or other.key == condition.key:
        return None
    own, base = condition.cell.values(*of), other.cell.values(*of)
    return effect_size(own, base, {**subset_of(other.cell), **subset_of(condition.cell)})


def difference_entry(found: Difference | None, size: EffectSize | None = None) -> Entry:
    """ "−3.2 (−4.1 to −2.3)", in points; the tooltip has the effect size."""
    if found is None:
        return Entry(text="", style="muted")
    title = numbers.gain_in_full(found)
    if size is not None:
        low, high = numbers.signless(size.low), numbers.signless(size.high)
        title += f"; effect size ({size.kind}) {numbers.signless(size.value)} ({low} to {high})"
    return Entry(text=numbers.gain_with_interval(found), title=title)


def _row(
    series: Series,
    heading: str,
    text: str,
    condition: Condition,
    soft: Condition | None,
    hard: Condition | None,
    of: tuple[str, str],
) -> Row:
    row: Row = {
        "ipc": series.ipc,
        "labels": condition.labels,
        "expert_epoch": condition.epoch,
        **series.settings,
        heading.replace(" ", "_"): text,
        "n": len(condition.cell.trials),
    }
    for each in MEASURES:
        row |= summary_columns(each, condition.cell.summary(each))
    for name, other in ("soft", soft), ("hard", hard):
        found = _minus(condition, other, of)
        row |= difference_columns(f"minus_{name}_{of[0]}", found)
        size = _effect(condition, other, of) if found else None
        row[f"effect_size_{name}"] = size.value if size else None
        row[f"effect_size_{name}_kind"] = size.kind if size else None
    row["spread_over"] = condition.cell.spread
    row["trials"] = trial_ids(condition.cell.trials)
    row["soft_trials"] = trial_ids(soft.cell.trials) if soft else None
    row["hard_trials"] = trial_ids(hard.cell.trials) if hard else None
    return row
