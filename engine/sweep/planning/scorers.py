"""Whose scores a student's images are chosen by, where the selection goes by an expert's."""

from __future__ import annotations

from engine.errors import UsageError
from engine.experiments import Selection
from engine.sweep.planning.grid import Grid
from engine.sweep.planning.labels_to_come import LabelsToCome
from engine.sweep.planning.teachers import Teacher, TeacherFinder


def scorer_of(
    selection: Selection,
    teacher: Teacher | None,
    grid: Grid,
    finder: TeacherFinder | LabelsToCome | None,
) -> Teacher | None:
    """The teacher, or its experts at the epoch that the selection names; None if nobody is asked.

    Without a teacher (hard labels) it is the only expert of the grid, and the epoch must be named.

    Raises:
        UsageError: nobody says whose scores are meant, or they aren't stored.
    """
    if selection.needs is None:
        return None
    if finder is None:
        raise UsageError(
            f"selection {selection} goes by an expert's scores, and there is no label store: pass "
            "--labels STORE"
        )
    epoch = selection.epoch
    if epoch is not None:
        return finder.only(grid, epoch) if teacher is None else finder.at_epoch(teacher, epoch)
    if teacher is None:
        example: int | str = "EPOCH"
        if isinstance(finder, TeacherFinder):
            example = max(finder.stored(grid)[0].epochs, default=example)
        raise UsageError(
            f"selection {selection} goes by an expert's scores, and labels that need no expert "
            f"have none of their own: name the epoch of one, such as "
            f"--set 'selection=[\"{selection.at_epoch(example)}\"]'"
        )
    return teacher
