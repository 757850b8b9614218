"""From a trial's record back to the command that asks for that trial and no other.

In: a record as the ledger has it. Out: the options of ``engine sweep-students``: whose labels and
what became of them, every other key of the cell as the grid's axis of that name, the seeds, and the
student's settings where they differ from the defaults.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.sweep.planning.grid import Grid
from engine.training import StudentRecipe

LEADING_SEED = "init_seed"
"""Said by ``--seeds``; other seeds are set apart where they differ from it."""

_OF_LABELS = {"labels", "expert", "expert_epoch", "ensemble", "view", "temperature", "transform"}
"""Keys of a cell that together say which labels; the others are axes under their own names."""


def rerun_arguments(
    record: Mapping[str, Any], *, data: str | Path, labels: str | Path, out: str | Path
) -> list[str]:
    """The arguments after ``engine`` that run a trial again, alone, into a new sweep.

    Args:
        record: of a trial, done or failed.
        data, labels: where its dataset and label store lie; the store is left out for a student
            that had no expert's labels, on images that no expert scored.
        out: folder of the new sweep.

    Raises:
        UsageError: the trial is of another version, whose grids have other axes.
    """
    if "teacher" not in record:
        raise UsageError(
            f"trial {record['id']} was recorded by an earlier version, whose trials have other ids"
        )
    cell, seeds, teacher = record["cell"], record["seeds"], record["teacher"]
    arguments = ["sweep-students", "--data", str(data)]
    arguments += ["--labels", str(labels)] if teacher or record.get("scorer") else []
    arguments += ["--out", str(out), "--ipc", str(cell["ipc"])]
    if teacher is not None and not _is_ensemble(teacher):
        arguments += ["--expert-epochs", str(teacher["epochs"][0])]
    arguments += ["--seeds", str(seeds[LEADING_SEED])]
    for name, value in _settings(record, teacher):
        arguments += ["--set", f"{name}={json.dumps(value, ensure_ascii=False)}"]
    return arguments


def shell_command(arguments: Sequence[str]) -> str:
    """The arguments as a line to paste into a shell."""
    return shlex.join(["engine", *arguments])


def _is_ensemble(teacher: Mapping[str, Any]) -> bool:
    return len(teacher["experts"]) > 1 or len(teacher["epochs"]) > 1


def _settings(
    record: Mapping[str, Any], teacher: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    cell, seeds, standard = record["cell"], record["seeds"], Grid()
    yield "labels", [cell.get("transform") or cell["labels"]]
    if teacher is not None:
        yield from _labels_of(teacher)
        if cell["temperature"] != 1:
            yield "temperature", [cell["temperature"]]
    elif record.get("scorer"):
        yield from _labels_of(record["scorer"])
    for name, value in cell.items():
        if name in _OF_LABELS | {"ipc"} or value is None:
            continue
        if name not in Grid.model_fields:
            raise UsageError(
                f"trial {record['id']} has {name} {value!r} in its cell, which no grid of this "
                "version has; run it again with the version that made it"
            )
        if getattr(standard, name) not in (value, [value]):
            yield name, [value]
    for name, seed in seeds.items():
        if seed != seeds[LEADING_SEED]:
            yield name, seed
    yield from _changes(record["student"], StudentRecipe().model_dump(mode="json"), "student.")


def _labels_of(teacher: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if _is_ensemble(teacher):
        yield "ensemble", [{"epochs": teacher["epochs"], "experts": teacher["experts"]}]
    else:
        yield "expert", teacher["experts"]
    if teacher["view"] != Grid().view:
        yield "view", [teacher["view"]]
    if teacher["codec"] != "dense":
        yield "codec", [teacher["codec"]]


def _changes(
    found: Mapping[str, Any], standard: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Any]]:
    """Dotted settings that turn the standard student into the one found."""
    # A group of another kind starts from that kind's own defaults, so all of it is said.
    other_kind = found.get("kind") != standard.get("kind")
    for key in sorted(found, key=lambda name: name != "kind"):
        value, usual = found[key], standard.get(key)
        if isinstance(value, Mapping) and isinstance(usual, Mapping):
            yield from _changes(value, usual, f"{prefix}{key}.")
        elif other_kind or value != usual:
            yield f"{prefix}{key}", value
