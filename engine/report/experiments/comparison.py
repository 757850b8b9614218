"""Variants of one thing beside plain soft and hard labels: the table that most experiments have.

In: conditions with the value in which they vary. Out: a table and its rows, a row per variant with
mean ± std, the 95 % interval, three accuracies, and the differences to both baselines, paired by
seeds. Rows of one series (equal but for the variant) stand together under their baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis.effects import EffectSize, effect_size
from engine.analysis.statistics import Difference, Summary, summarise
from engine.analysis.trials import MEASURES, Value
from engine.report import numbers
from engine.report.entries import Entry, Table, absent, accuracy_entry, plus_minus_legend
from engine.report.experiments.conditions import OF_EXPERTS, Condition, subset_of, varying_axes
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import NumberTable, cells_of
from engine.report.tables import Row, difference_columns, summary_columns, trial_ids

SeriesKey = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A condition, the value in which it varies, and what it is compared with."""

    value: Any  # sorts, and is the x of figures
    text: str
    condition: Condition
    soft: Condition | None
    hard: Condition | None

    @property
    def ipc(self) -> int:
        return self.condition.ipc

    def minus(self, other: Condition | None, of: tuple[str, str]) -> Difference | None:
        """Its accuracy less that of a baseline, in fractions."""
        return None if other is None else self.condition.cell.gain_over(other.cell, *of)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Variants that are equal in all but the variant. `settings`: what tells series apart."""

    ipc: int
    epoch: int | None
    settings: Mapping[str, Value]
    variants: tuple[Variant, ...]

    @property
    def soft(self) -> Condition | None:
        return next((each.soft for each in self.variants if each.soft), None)

    @property
    def hard(self) -> Condition | None:
        return next((each.hard for each in self.variants if each.hard), None)

    @property
    def gid(self) -> str:
        """What its line is called in a figure."""
        epoch = "" if self.epoch is None else f"-epoch-{self.epoch}"
        rest = "".join(f"-{numbers.setting_value(value)}" for value in self.settings.values())
        return f"ipc-{self.ipc}{epoch}{rest}".replace(" ", "-")

    def where(self, among: Sequence[Series]) -> str:
        """ "IPC 10", with the expert epoch and settings where others of the same IPC differ."""
        same = [each for each in among if each.ipc == self.ipc]
        words = [f"IPC {self.ipc}"]
        if self.epoch is not None and len({each.epoch for each in same}) > 1:
            words.append(f"epoch {self.epoch}")
        for name, value in self.settings.items():
            if len({repr(each.settings.get(name)) for each in among}) > 1:
                words.append(f"{_short(name)} {numbers.setting_value(value)}")
        return ", ".join(words)


def _short(name: str) -> str:
    return numbers.setting_name(name.removeprefix("student."))


def series_of(variants: Iterable[Variant], *, varied: Sequence[str]) -> list[Series]:
    """Variants by all that they do not vary in, ascending by IPC and expert epoch.

    `varied`: the axes that the variants are about.
    """
    every = [(each, *_place(each)) for each in variants]
    names = varying_axes([(each.ipc, axes) for each, _, axes in every], but=varied)
    found: dict[SeriesKey, list[Variant]] = {}
    for each, epoch, axes in every:
        own = tuple((name, axes.get(name)) for name in names)
        found.setdefault((each.ipc, epoch, own), []).append(each)
    ordered = sorted(found, key=lambda key: (key[0], key[1] or 0, repr(key[2])))
    return [
        Series(
            ipc=key[0],
            epoch=key[1],
            settings=dict(key[2]),
            variants=tuple(sorted(found[key], key=lambda each: each.value)),
        )
        for key in ordered
    ]


def _place(variant: Variant) -> tuple[int | None, Mapping[str, Value]]:
    """Expert epoch and axes; labels made without an expert lie where their soft baseline does."""
    condition, soft = variant.condition, variant.soft
    if not condition.is_expert_free:
        return condition.epoch, condition.axes
    own = {k: v for k, v in condition.axes.items() if k not in (*OF_EXPERTS, "transform")}
    if soft is None or soft.is_expert_free:
        return None, own
    return soft.epoch, own | {name: soft.axes.get(name) for name in OF_EXPERTS}


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
                plus_minus_legend(cells_of(v.condition for e in series for v in e.variants)),
                "Differences in percentage points over runs of equal seeds, each with its own 95 % "
                "interval (Student’s t): of many, one in twenty misses"
                + ("." if has_hard else "; no hard labels of the same IPC and student were run."),
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
        if summary is None or summary.ci_low is None or summary.ci_high is None
        else Entry(text=f"{numbers.percent(summary.ci_low)}–{numbers.percent(summary.ci_high)}")
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


def baseline_summary(series: Series, of: tuple[str, str]) -> Summary | None:
    """The soft labels of a series over the seeds that its variants have, or over all if none.

    A baseline often has further runs; over other seeds it would be no point of the same line.
    """
    if series.soft is None:
        return None
    values = series.soft.cell.values(*of)
    have = {seeds for each in series.variants for seeds in each.condition.cell.values(*of)}
    kept = [seeds for seeds in values if seeds in have] or list(values)
    groups = subset_of(series.soft.cell)
    return summarise([values[seeds] for seeds in kept], [groups[seeds] for seeds in kept])


def variants_of(
    evidence: Evidence,
    value_of: Callable[[Condition], tuple[Any, str] | None],
    *,
    same_images: bool = True,
) -> list[Variant]:
    """Every condition to which `value_of` gives a value and its text, with its baselines."""
    found = []
    for condition in evidence.conditions:
        own = value_of(condition)
        if own is not None:
            found.append(
                Variant(
                    value=own[0],
                    text=own[1],
                    condition=condition,
                    soft=evidence.soft_of(condition, same_images=same_images),
                    hard=evidence.hard_of(condition, same_images=same_images),
                )
            )
    return found


def measured_only(variants: Iterable[Variant]) -> list[Variant]:
    """Those that have a finished run."""
    return [each for each in variants if each.condition.is_measured]


def everything_of(series: Iterable[Series]) -> list[Condition | None]:
    """All conditions that the numbers of some series rest on."""
    return [
        condition
        for each in series
        for condition in (each.soft, each.hard, *(v.condition for v in each.variants))
    ]


def paired_means(variants: Sequence[Variant], of: tuple[str, str]) -> list[float] | None:
    """The mean of every variant over the seeds that all have; over its own where none is shared.

    None where one has not been measured.
    """
    cells = [each.condition.cell.values(*of) for each in variants]
    if not cells or not all(cells):
        return None
    shared = [seeds for seeds in cells[0] if all(seeds in cell for cell in cells)]
    return [float(np.mean([cell[s] for s in (shared or cell)])) for cell in cells]
