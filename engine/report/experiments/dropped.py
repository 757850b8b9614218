"""Conditions that lack something of one class, and how students score on that class alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.analysis.statistics import Difference, Summary, difference, summarise
from engine.analysis.trials import Seeds
from engine.report.experiments.conditions import Condition, steps_of, subset_of
from engine.report.experiments.evidence import Evidence

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


def dropped_of(evidence: Evidence, condition: Condition) -> Dropped | None:
    """What a condition lacks of which class; None where nothing was taken away."""
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


def class_name(evidence: Evidence, number: int) -> str:
    """A class's name, or its number where the dataset has no names."""
    classes = evidence.results.classes
    return classes[number] if number < len(classes) else f"class {number}"
