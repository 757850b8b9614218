"""What a plan's trials come to as cells: recorded in the sweep's head, and worth naming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.analysis import record_asked
from engine.experiments import Selection
from engine.sweep.planning.trial import PROTOCOL_VERSION, Trial
from engine.sweep.watching.watch import keys_that_differ


def asked_cells(trials: Sequence[Trial]) -> dict[str, Any]:
    """What `sweep.json` says was asked for (`engine.analysis.asked`), a block for every product.

    Trials of a plan share students, teachers and labels as objects, so each is described once.
    """
    students: dict[int, dict[str, Any]] = {}
    places: dict[tuple[int, int, int, Selection], dict[str, Any]] = {}
    cells: dict[tuple[Any, ...], tuple[dict[str, Any], list[dict[str, int]]]] = {}
    for trial in trials:
        place = id(trial.teacher), id(trial.labels), trial.ipc, trial.selection
        key = id(trial.student), *place
        if key not in cells:
            if id(trial.student) not in students:
                students[id(trial.student)] = trial.student.model_dump(mode="json")
            if place not in places:
                places[place] = {"cell": trial.cell, "parents": trial.parents}
            identity = {"protocol": PROTOCOL_VERSION, "student": students[id(trial.student)]}
            cells[key] = identity | places[place], []
        cells[key][1].append(vars(trial.seeds))
    return record_asked(cells.values())


def differing_keys(trials: Sequence[Trial]) -> list[str]:
    """Keys of `Trial.cell` in which a plan's trials differ: what is worth naming of a cell."""
    alike = {(id(each.teacher), id(each.labels), each.ipc, each.selection): each for each in trials}
    return keys_that_differ(trial.cell for trial in alike.values())
