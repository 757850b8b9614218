"""Variants of one thing and the series that they make: equal in all but what varies.

In: conditions with the value in which they vary. Out: series, each variant beside its plain soft
and hard labels, for the tables (`comparison`), lines (`curves`) and dots of an experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.analysis.statistics import Difference, Summary, interval_among, summarise
from engine.analysis.trials import Value
from engine.report import numbers
from engine.report.experiments.conditions import OF_EXPERTS, Condition, subset_of, varying_axes
from engine.report.experiments.evidence import Evidence

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


def baseline_summary(
    series: Series, condition: Condition | None, of: tuple[str, str]
) -> Summary | None:
    """A condition of a series over the seeds that its variants have, or over all if none.

    A baseline often has further runs; over other seeds it would be no point of the same line.
    """
    if condition is None:
        return None
    values = condition.cell.values(*of)
    have = {seeds for each in series.variants for seeds in each.condition.cell.values(*of)}
    kept = [seeds for seeds in values if seeds in have] or list(values)
    groups = subset_of(condition.cell)
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


def conditions_drawn(series: Iterable[Series]) -> list[Condition]:
    """Those whose accuracies a figure of some series shows, baselines included."""
    return [each for each in everything_of(series) if each is not None]


def paired_means(variants: Sequence[Variant], of: tuple[str, str]) -> list[float] | None:
    """The mean of every variant over the seeds that all have; over its own where none is shared.

    None where one has not been measured.
    """
    cells = [each.condition.cell.values(*of) for each in variants]
    if not cells or not all(cells):
        return None
    shared = [seeds for seeds in cells[0] if all(seeds in cell for cell in cells)]
    return [float(np.mean([cell[s] for s in (shared or cell)])) for cell in cells]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Variants from the best to the worst, of equal ones in their own order, by `split`.

    `comparisons`: among how many differences in `of` the best or the worst was picked by itself;
    1 where other images picked it.
    """

    variants: tuple[Variant, ...]
    split: str
    of: tuple[str, str]

    @property
    def best(self) -> Variant:
        return self.variants[0]

    @property
    def worst(self) -> Variant:
        return self.variants[-1]

    @property
    def comparisons(self) -> int:
        return len(self.variants) if self.split == self.of[1] else 1

    def minus(self, variant: Variant, other: Condition | None) -> Difference | None:
        """A picked variant's accuracy less a baseline's, its interval as wide as the pick asks."""
        found = variant.minus(other, self.of)
        ends = interval_among(found, self.comparisons) if found else None
        return replace(found, ci_low=ends[0], ci_high=ends[1]) if found and ends else found

    @property
    def how(self) -> str:
        """ "by validation accuracy"."""
        return f"by {self.split} accuracy"

    @property
    def caution(self) -> str:
        """That intervals are wider where the pick was made on what they are of; else empty."""
        return "; intervals widened for the choice" if self.comparisons > 1 else ""


def ranked(variants: Sequence[Variant], of: tuple[str, str]) -> Ranking | None:
    """Variants by validation accuracy where all have one, so that the choice does not flatter what
    is reported of them in `of`; else by that. None where one has not been measured."""
    for measure, split in (("selected", "validation"), of):
        if means := paired_means(variants, (measure, split)):
            order = sorted(range(len(means)), key=lambda i: -means[i])
            return Ranking(variants=tuple(variants[i] for i in order), split=split, of=of)
    return None
