"""Trials sorted into conditions: runs that differ in nothing but seeds, with what they stand for.

A panel is a grid in which all but IPC and expert epoch is fixed; an experiment compares across
panels: twenty swaps are twenty settings and one experiment. So here every setting is a key, and a
condition is found by changing some of another's: the same images, student and expert with their
labels left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from engine.analysis.asked import AskedCell
from engine.analysis.cells import Cell
from engine.analysis.grid import split_into_panels
from engine.analysis.trials import LABEL_VIEW_ID, Seeds, Trial, Value

Key = tuple[int, str, int | None, tuple[tuple[str, Value], ...]]
"""(IPC, kind of labels, expert epoch, every axis with its value)."""

PLAIN: Mapping[str, Value] = {
    "transform": "soft",
    "selection": "random",
    "temperature": 1.0,
    "ensemble": None,
}
"""What a trial has of the axes that experiments vary, where nothing is done; also where a record
does not mention them."""

OF_EXPERTS = ("expert", "view", "temperature", "codec", "ensemble", LABEL_VIEW_ID)
"""Axes that do not apply to labels made without an expert."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Runs that differ in nothing but seeds. `axes` has every axis of `PLAIN` besides its own."""

    ipc: int
    labels: str  # "soft", or "hard" for all labels made without an expert
    epoch: int | None
    axes: Mapping[str, Value]
    cell: Cell

    @cached_property
    def key(self) -> Key:
        return _key(self.ipc, self.labels, self.epoch, self.axes)

    @property
    def transform(self) -> str:
        """What becomes of the labels; "hard" for plain hard labels."""
        return str(self.axes["transform"])

    @property
    def is_plain_hard(self) -> bool:
        return self.labels == "hard" and self.transform == "hard"

    @property
    def is_expert_free(self) -> bool:
        """Whether no expert labelled."""
        return self.labels == "hard"

    @cached_property
    def student(self) -> tuple[tuple[str, Value], ...]:
        """Every setting of the student."""
        return tuple(item for item in sorted(self.axes.items()) if is_student_axis(item[0]))

    @property
    def is_measured(self) -> bool:
        return bool(self.cell.trials)

    @property
    def learning_rate(self) -> float | None:
        value = self.axes.get("student.lr", self.axes.get("lr"))
        return float(value) if isinstance(value, int | float) else None


def conditions_of(trials: Sequence[Trial], asked: Sequence[AskedCell]) -> list[Condition]:
    """Every condition that has runs or was asked for, by IPC, expert epoch and axes."""
    members: dict[Key, tuple[list[Trial], list[AskedCell]]] = {}
    for trial in trials:
        members.setdefault(key_of(trial), ([], []))[0].append(trial)
    for each in asked:
        members.setdefault(key_of(each), ([], []))[1].append(each)
    found = []
    for key in sorted(members, key=_order):
        ipc, labels, epoch, axes = key
        # Records of different ages mention different axes and mean the same.
        same = [[_with_axes(place, dict(axes)) for place in of] for of in members[key]]
        (panel,) = split_into_panels(*same)
        (cell,) = panel.cells.values()
        found.append(Condition(ipc=ipc, labels=labels, epoch=epoch, axes=dict(axes), cell=cell))
    return found


def _with_axes(place: Any, axes: Mapping[str, Value]) -> Any:
    return place if place.axes == axes else replace(place, axes=axes)


def key_of(place: Trial | AskedCell) -> Key:
    """The condition that a run, or a cell that was asked for, belongs to."""
    axes = {**PLAIN, **place.axes}
    if place.labels == "hard":
        axes |= dict.fromkeys(OF_EXPERTS)
        axes["transform"] = place.axes.get("transform") or "hard"
    return _key(place.ipc, place.labels, place.expert_epoch, axes)


def _key(ipc: int, labels: str, epoch: int | None, axes: Mapping[str, Value]) -> Key:
    return ipc, labels, epoch, tuple(sorted(axes.items()))


def _order(key: Key) -> tuple[object, ...]:
    ipc, labels, epoch, axes = key
    return ipc, labels == "hard", epoch or 0, repr(axes)


def steps_of(transform: str) -> list[tuple[str, tuple[str, ...]]]:
    """ "swap-ith:3+hard" → [("swap-ith", ("3",)), ("hard", ())]."""
    steps = []
    for step in transform.split("+"):
        name, _, arguments = step.partition(":")
        steps.append((name, tuple(arguments.split(",")) if arguments else ()))
    return steps


def only_step(condition: Condition, name: str) -> tuple[str, ...] | None:
    """The arguments of a transform that does this alone; None for any other."""
    steps = steps_of(condition.transform)
    return steps[0][1] if len(steps) == 1 and steps[0][0] == name else None


def is_student_axis(name: str) -> bool:
    """Whether an axis is a setting of the student."""
    return name == "lr" or name.startswith("student.")


def usual(values: Iterable[Value], conventional: Value) -> Value:
    """The conventional value where anything has it; else what most have."""
    counts = Counter(values)
    if conventional in counts or not counts:
        return conventional
    return min(counts, key=lambda value: (-counts[value], str(value)))


def varying_axes(
    places: Sequence[tuple[int, Mapping[str, Value]]], *, but: Iterable[str] = ()
) -> list[str]:
    """Axes in which places (IPC, axes) differ, less those that follow from IPC or have no reader.

    A setting of the student that is a function of IPC tells no conditions of one IPC apart.
    """
    left_out = {*but, LABEL_VIEW_ID, "protocol", "codec"}
    names = sorted({name for _, axes in places for name in axes} - left_out)
    found = []
    for name in names:
        at: dict[int, set[Value]] = {}
        for ipc, axes in places:
            # Labels made without an expert have no value of what only an expert's have.
            if name in axes or name not in (*OF_EXPERTS, "transform"):
                at.setdefault(ipc, set()).add(axes.get(name))
        several = any(len(values) > 1 for values in at.values())
        same = len(set().union(*at.values())) == 1
        if several or (not same and not is_student_axis(name)):
            found.append(name)
    return found


def subset_of(cell: Cell) -> dict[Seeds, int | None]:
    """The subset that each run of a cell was trained on."""
    return {trial.seeds: trial.subset_seed for trial in cell.trials}
