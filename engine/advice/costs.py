"""What an expert, its labels and students cost on this machine, and what of it fits a budget.

The pace is that of a student's step and of an evaluated image, measured for about a second each
besides starting and compiling. The expert is the same network with its own batch size, one image
of its labels costs a forward pass. On a CPU students train on all cores, one a worker; the expert,
alone, is taken to be as fast as all those workers together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from beton_builder import Dataset
from beton_builder.machine import usable_cores
from engine.sweep.execution import visible_gpus
from engine.sweep.planning.grid import load_grids
from engine.sweep.planning.plan import plan_trials
from engine.sweep.planning.trial import Trial
from engine.sweep.timing.estimate import Speed, estimate_sweep
from engine.sweep.timing.pace import Pace, measure_pace
from engine.sweep.timing.step_kinds import StepKind, network_of
from engine.training.progress import Progress
from engine.training.recipe import ExpertRecipe

SECONDS = 1.0
"""Of measuring each kind of step."""

SHORTEST_STEPS = 300
"""Steps of a student below which it is not worth training; the order of epochs shows at 300."""

PlanStudents = Callable[[int, int | None], list[Trial]]
"""(students, their epochs or None for the recipe's) → trials."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds: of an expert's epoch, of labelling every image once, and of starting to work.

    `students(n, epochs)`: of n students of so many epochs (None: the recipe's), side by side.
    """

    expert_epoch: float
    labels: float
    students: Callable[[int, int | None], float]
    basis: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do within the budget. `reduced`: what had to give for it, in words; empty: nothing.

    Seconds of the expert, of the labels of its last epoch and of the students.
    """

    expert_epochs: int
    expert_seconds: float
    labels_seconds: float
    students: int
    student_epochs: int
    students_seconds: float
    reduced: str = ""

    @property
    def seconds(self) -> float:
        """Of everything."""
        return self.expert_seconds + self.labels_seconds + self.students_seconds


def student_plans(dataset: Dataset, *, ipc: int, overrides: Mapping[str, Any]) -> PlanStudents:
    """Trials of students at an IPC; their labels cost nothing, so hard ones stand for all.

    The returned function raises ConfigurationError or UsageError for students that can't work.
    """

    def plan(students: int, epochs: int | None) -> list[Trial]:
        length = {"student.epochs": epochs} if epochs else {}
        cells = {"ipc": [ipc], "labels": ["hard"], "seeds": list(range(students))}
        return plan_trials(load_grids(None, {**overrides, **length, **cells}), dataset, None)

    return plan


def measured_costs(
    dataset: Dataset, plan: PlanStudents, students: int, progress: Progress | None = None
) -> Costs:
    """Measure the pace of students on this machine, and what follows from it.

    Raises:
        RankError: no worker can be started.
    """
    trials = plan(students, None)
    gpus = visible_gpus()
    pace = measure_pace(
        trials,
        precision=trials[0].student.precision,
        workers=min(students, len(gpus) or usable_cores()),
        devices=gpus or None,
        seconds=SECONDS,
        most=1,
        progress=progress,
    )
    return costs_at(pace, dataset, plan, side_by_side=1 if gpus else pace.workers)


def costs_at(pace: Pace, dataset: Dataset, plan: PlanStudents, *, side_by_side: int) -> Costs:
    """Costs at a measured pace; the expert is as fast as so many workers together."""
    trial = plan(1, None)[0]
    images = dataset.split("train").num_samples
    batch = ExpertRecipe().batch_size
    step = StepKind(network_of(trial), batch, True, ExpertRecipe().augmentation)
    evaluated = pace.evaluation_seconds(network_of(trial))
    one_epoch = math.ceil(images / batch) * pace.step_seconds(step)
    one_epoch += trial.dataset.evaluation_images * evaluated
    return Costs(
        expert_epoch=one_epoch / side_by_side,
        labels=images * evaluated / side_by_side,
        students=_students_at(pace, pace.workers, plan),
        basis=pace.basis(),
    )


def _students_at(
    speed: Speed, workers: int, plan: PlanStudents
) -> Callable[[int, int | None], float]:
    def seconds(students: int, epochs: int | None) -> float:
        trials: Sequence[Trial] = plan(students, epochs)
        estimate = estimate_sweep(trials, speed, workers=workers, machine="", basis="")
        return float(estimate["seconds"])

    return seconds


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What one would do with time enough; `shortest`: epochs of the shortest students of use."""

    expert_epochs: int
    students: int
    student_epochs: int
    shortest: int

    @classmethod
    def of(cls, plan: PlanStudents, expert_epochs: int, students: int) -> Wish:
        """With students as long as their recipe has them."""
        trial = plan(1, None)[0]
        epoch_steps = math.ceil(trial.num_images / trial.student.batch_size)
        return cls(
            expert_epochs=expert_epochs,
            students=students,
            student_epochs=trial.student.epochs,
            shortest=min(trial.student.epochs, math.ceil(SHORTEST_STEPS / epoch_steps)),
        )

    def planned(
        self,
        costs: Costs,
        *,
        expert_epochs: int | None = None,
        students: int | None = None,
        student_epochs: int | None = None,
    ) -> Plan:
        """What it costs, or what something else would."""
        epochs = expert_epochs or self.expert_epochs
        count, length = students or self.students, student_epochs or self.student_epochs
        return Plan(
            expert_epochs=epochs,
            expert_seconds=epochs * costs.expert_epoch,
            labels_seconds=costs.labels,
            students=count,
            student_epochs=length,
            students_seconds=costs.students(count, length),
        )


def fit_budget(costs: Costs, budget: float, wish: Wish) -> Plan | None:
    """The most that fits so many seconds; None if an expert of one epoch and short students don't.

    Students are added while they fit, up to ten times as many. If those wished for do not, they are
    made shorter, and only then is the expert stopped earlier.
    """

    def fits(**changes: int) -> bool:
        return wish.planned(costs, **changes).seconds <= budget

    if fits():
        count = _largest(wish.students, 10 * wish.students, lambda n: fits(students=n))
        return wish.planned(costs, students=count)
    short = wish.shortest
    if fits(student_epochs=short):
        length = _largest(short, wish.student_epochs, lambda e: fits(student_epochs=e))
        return replace(wish.planned(costs, student_epochs=length), reduced="shorter students")
    if not fits(expert_epochs=1, student_epochs=short):
        return None
    epochs = _largest(1, wish.expert_epochs, lambda e: fits(expert_epochs=e, student_epochs=short))
    plan = wish.planned(costs, expert_epochs=epochs, student_epochs=short)
    return replace(plan, reduced="an earlier expert epoch and the shortest students of use")


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest number from low to high that fits; low does, and if one doesn't, none above."""
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
