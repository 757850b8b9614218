"""What experiments are made of: every condition of a report's trials, and what to compare it with.

In: the results that a report was given. Out: conditions, their baselines (plain soft labels and
hard labels of the same IPC, student and seeds, wherever in the sweeps they lie), and which values
of each setting are the usual ones, so that what deviates from them can be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.analysis.choice import Choice, choose_expert_epoch
from engine.analysis.trials import Value
from engine.report.experiments.conditions import (
    OF_EXPERTS,
    PLAIN,
    Condition,
    Key,
    conditions_of,
    is_student_axis,
    usual,
)
from engine.report.experiments.weighing import Weighed, weigh
from engine.report.published import Published, published_of
from engine.report.sweeps import Results

if TYPE_CHECKING:
    from engine.report.sources import Evaluated, Learned

Student = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that an experiment may look at.

    `of`: measure and split of the accuracy that figures draw and sentences speak of.
    """

    results: Results
    conditions: tuple[Condition, ...] = field(repr=False)
    of: tuple[str, str] = ("final", "test")
    evaluated: tuple[Evaluated, ...] = ()
    learned: tuple[Learned, ...] = ()

    @cached_property
    def published(self) -> Published | None:
        """The numbers published for this dataset, if there are any."""
        return published_of(
            self.results.dataset_name, self.results.classes, self.results.num_classes
        )

    @cached_property
    def plain(self) -> dict[str, Value]:
        """The usual value of every axis in `PLAIN`: where all labels are softened, that is plain.

        Labels that something was done to are never plain.
        """
        found = {
            name: usual((each.axes[name] for each in self.conditions if self._has(each, name)), at)
            for name, at in PLAIN.items()
        }
        return found | {"transform": PLAIN["transform"]}

    @staticmethod
    def _has(condition: Condition, name: str) -> bool:
        return name == "selection" or condition.labels == "soft"

    def is_plain(self, condition: Condition, *, but: Iterable[str] = ()) -> bool:
        """Whether nothing is done to labels and images but what `but` names."""
        axes = {"transform", "selection", "temperature", "ensemble"} - set(but)
        if condition.labels == "hard":
            hard = condition.transform == "hard" or "transform" not in axes
            return hard and ("selection" not in axes or self._usual(condition, "selection"))
        return all(self._usual(condition, name) for name in axes)

    def _usual(self, condition: Condition, name: str) -> bool:
        return condition.axes[name] == self.plain[name]

    @cached_property
    def _by_key(self) -> dict[Key, Condition]:
        return {each.key: each for each in self.conditions}

    @cached_property
    def _at_ipc(self) -> dict[int, list[Condition]]:
        found: dict[int, list[Condition]] = {}
        for each in self.conditions:
            found.setdefault(each.ipc, []).append(each)
        return found

    def counterpart(self, condition: Condition, **changes: Value) -> Condition | None:
        """The condition that differs in these axes alone (dots of their names as `__`)."""
        axes = {**condition.axes, **{k.replace("__", "."): v for k, v in changes.items()}}
        key = condition.ipc, condition.labels, condition.epoch, tuple(sorted(axes.items()))
        return self._by_key.get(key)

    def soft_of(self, condition: Condition, *, same_images: bool = True) -> Condition | None:
        """Plain soft labels of the same IPC, expert epoch and student.

        Where no expert labelled, those of the first expert's best epoch on validation. Without
        `same_images` also of the usual images.
        """
        changes: dict[str, Value] = {k: v for k, v in self.plain.items() if k != "selection"}
        selection = condition.axes["selection"] if same_images else self.plain["selection"]
        changes["selection"] = selection
        if condition.labels == "soft":
            return self.counterpart(condition, **changes)
        candidates = of_first_expert(
            self.plain_soft(condition.ipc, condition.student, selection=selection)
        )
        choice = choose_expert_epoch([each.cell for each in candidates])
        return next((each for each in candidates if choice and each.cell is choice.cell), None)

    def hard_of(self, condition: Condition, *, same_images: bool = True) -> Condition | None:
        """Plain hard labels of the same IPC and student."""
        axes = {**condition.axes, **dict.fromkeys(OF_EXPERTS), "transform": "hard"}
        if not same_images:
            axes["selection"] = self.plain["selection"]
        # A selection by the labels' own expert epoch has to name it where there are no labels.
        for chosen in (axes["selection"], f"{axes['selection']}@{condition.epoch}"):
            key = condition.ipc, "hard", None, tuple(sorted({**axes, "selection": chosen}.items()))
            if key in self._by_key:
                return self._by_key[key]
        return None

    def plain_soft(
        self, ipc: int, student: Student | None = None, *, selection: Value = None
    ) -> list[Condition]:
        """Plain soft labels of one IPC and student (by default its main one), by expert epoch."""
        student = self.main_students.get(ipc) if student is None else student
        selection = self.plain["selection"] if selection is None else selection
        return [
            each
            for each in self._at_ipc.get(ipc, ())
            if each.labels == "soft" and each.student == student
            if self.is_plain(each, but=("selection",)) and each.axes["selection"] == selection
        ]

    def some_soft(self, ipc: int) -> Condition | None:
        """Plain soft labels of one IPC where none was measured, to say why: preferably some that
        ran."""
        found = self.plain_soft(ipc)
        ran = sorted(found, key=lambda each: (not each.is_measured, not each.cell.failed))
        return ran[0] if ran else None

    def plain_hard(self, ipc: int) -> Condition | None:
        """Hard labels of one IPC's main student on the usual images."""
        student = self.main_students.get(ipc)
        return next(
            (
                each
                for each in self._at_ipc.get(ipc, ())
                if each.is_plain_hard and each.student == student
                if self.is_plain(each)
            ),
            None,
        )

    @cached_property
    def main_students(self) -> dict[int, Student]:
        """Per IPC the student that the main grid is about: the one with most plain conditions.

        Of several, the one with more runs, then the best on validation.
        """
        counted: dict[int, dict[Student, tuple[Any, ...]]] = {}
        for each in self.conditions:
            if self.is_plain(each):
                known = counted.setdefault(each.ipc, {}).get(each.student, (0, 0, 0.0))
                value = each.cell.summary("selected", "validation") or each.cell.summary("final")
                counted[each.ipc][each.student] = (
                    known[0] + 1,
                    known[1] + max(len(each.cell.trials), len(each.cell.asked)),
                    max(known[2], value.mean if value else 0.0),
                )
        return {
            ipc: max(sorted(students, key=repr), key=lambda each: students[each])
            for ipc, students in counted.items()
        }

    def deviates(self, condition: Condition) -> set[str]:
        """Settings in which a condition's student differs from the main one of its IPC."""
        main = dict(self.main_students.get(condition.ipc, condition.student))
        own = dict(condition.student)
        return {name for name in {*main, *own} if main.get(name) != own.get(name)}

    def with_axis(self, condition: Condition, name: str, value: Value) -> Condition | None:
        """The condition that differs in one axis alone; None is the same as not mentioning it."""
        axes = {k: v for k, v in condition.axes.items() if k != name}
        for own in ({**axes, name: value}, *([axes] if value is None else [])):
            key = condition.ipc, condition.labels, condition.epoch, tuple(sorted(own.items()))
            if key in self._by_key:
                return self._by_key[key]
        return None

    def with_main_student(self, condition: Condition) -> Condition | None:
        """The same labels and images, with the main student of the IPC."""
        others = {k: v for k, v in condition.axes.items() if not is_student_axis(k)}
        axes = {**others, **dict(self.main_students.get(condition.ipc, ()))}
        key = condition.ipc, condition.labels, condition.epoch, tuple(sorted(axes.items()))
        return self._by_key.get(key)

    def best_soft(self, ipc: int) -> tuple[Condition, Choice] | None:
        """The main grid's best expert epoch of one IPC, chosen as the main table does.

        With several experts the first one's, by name.
        """
        candidates = of_first_expert(self.plain_soft(ipc))
        choice = choose_expert_epoch([each.cell for each in candidates])
        if choice is None:
            return None
        return next(each for each in candidates if each.cell is choice.cell), choice

    @cached_property
    def weighed(self) -> tuple[list[Weighed], dict[int, Condition]]:
        """Every IPC's best soft labels with their worth, and the hard labels it is read from."""
        hard = {ipc: each for ipc in self.ipcs if (each := self.plain_hard(ipc))}
        soft = {ipc: best[0] for ipc in self.ipcs if (best := self.best_soft(ipc))}
        hard, soft = (
            {ipc: each for ipc, each in of.items() if each.cell.values(*self.of)}
            for of in (hard, soft)
        )
        return weigh(soft, hard, self.of), hard

    @property
    def ipcs(self) -> list[int]:
        return sorted({each.ipc for each in self.conditions})


def of_first_expert(conditions: Iterable[Condition]) -> list[Condition]:
    """Those that have runs, of the expert that comes first by name."""
    measured = [each for each in conditions if each.is_measured]
    first = min((str(each.axes.get("expert")) for each in measured), default="")
    return [each for each in measured if str(each.axes.get("expert")) == first]


def evidence_of(
    results: Results,
    of: tuple[str, str],
    *,
    evaluated: tuple[Evaluated, ...] = (),
    learned: tuple[Learned, ...] = (),
) -> Evidence:
    """Sort what a report was given into conditions."""
    return Evidence(
        results=results,
        conditions=tuple(conditions_of(results.trials, results.asked)),
        of=of,
        evaluated=evaluated,
        learned=learned,
    )
