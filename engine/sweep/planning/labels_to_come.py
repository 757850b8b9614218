"""Plans without a label store: teachers by the names that a grid gives them."""

from __future__ import annotations

import itertools
from dataclasses import replace

from engine.sweep.planning.epochs import named_epochs
from engine.sweep.planning.grid import Grid, values_of
from engine.sweep.planning.teachers import Teacher, the_only


class LabelsToCome:
    """Teachers whose labels nobody has written yet: enough to say what a plan amounts to."""

    def of(self, grid: Grid, ipc: int) -> list[Teacher]:
        """The teachers of one IPC of a grid. Raises UsageError for epochs that have no number."""
        teachers: dict[Teacher, None] = {}
        for view in values_of(grid.view):
            for codec, rule in itertools.product(values_of(grid.codec), grid.ensemble):
                experts = (rule and rule.experts) or values_of(grid.expert)
                groups = [experts] if rule and rule.experts else [[expert] for expert in experts]
                asked = named_epochs((rule and rule.epochs) or grid.expert_epochs_at(ipc))
                members = [asked] if rule and rule.epochs else [[epoch] for epoch in asked]
                for group, epochs in itertools.product(groups, members):
                    names = tuple(str(expert or "expert") for expert in group)
                    teacher = Teacher(
                        experts=names,
                        epochs=tuple(epochs),
                        view=view,
                        codec=codec or "dense",
                        view_ids=names,
                        checkpoints=tuple(f"{name}:{e}" for name in names for e in epochs),
                        resolution=None,
                    )
                    teachers[teacher] = None
        return list(teachers)

    def at_epoch(self, teacher: Teacher, epoch: int) -> Teacher:
        """As `TeacherFinder.at_epoch`."""
        checkpoints = tuple(f"{name}:{epoch}" for name in teacher.experts)
        return replace(teacher, epochs=(epoch,), checkpoints=checkpoints)

    def only(self, grid: Grid, epoch: int) -> Teacher:
        """As `TeacherFinder.only`."""
        axes = values_of(grid.expert), values_of(grid.view), values_of(grid.codec)
        expert, view, codec = the_only(list(itertools.product(*axes)))
        one = Grid(expert=expert, view=view, codec=codec, expert_epochs=[epoch])
        (teacher,) = self.of(one, ipc=1)
        return teacher
