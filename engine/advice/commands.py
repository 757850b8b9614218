"""What to type for a plan: commands whose students are those that the advice rests on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from beton_builder import Dataset
from engine.advice.costs import Plan
from engine.advice.evidence import Evidence, LearningRate, may_vary
from engine.analysis.trials import flatten
from engine.training.recipe import StudentRecipe

_SAID = ("ipc", "expert_epochs", "seeds")
"""Axes of a sweep that its command has options for."""


def settings_of(evidence: Evidence, dataset: Dataset) -> dict[str, Any]:
    """Dotted settings that turn the usual student into that of the sweeps.

    Less its length and learning rate, on which there is advice, and its precision, which is a
    machine's.
    """
    side = dataset.height if dataset.height == dataset.width else None
    usual = flatten(StudentRecipe(resolution=side).model_dump(mode="json"))
    own = {
        name: value
        for name, value in (evidence.student or {}).items()
        if name != "precision" and not may_vary(f"student.{name}")
    }
    # A group of another kind starts from that kind's own defaults, so all of it is said.
    kinds = {name.rpartition(".")[0] for name in own if name.endswith(".kind")}
    other = {group for group in kinds if own[f"{group}.kind"] != usual.get(f"{group}.kind")}
    return {
        f"student.{name}": value
        for name, value in own.items()
        if value != usual.get(name) or name.rpartition(".")[0] in other
    }


def commands(
    dataset: Dataset,
    ipc: int,
    rate: LearningRate,
    plan: Plan,
    *,
    model: str,
    settings: Mapping[str, Any],
) -> list[str]:
    """What to type for a plan of soft labels.

    Args:
        dataset, ipc, rate: what it is for; a learning rate among the settings comes first.
        plan: how much of everything.
        model: of expert and students.
        settings: dotted keys of the students that were planned.
    """
    run, labels = f"runs/{dataset.name}", f"labels/{dataset.name}.zarr"
    data, epochs = ["--data", str(dataset.path)], str(plan.expert_epochs)
    expert = {}
    if settings.get("student.resolution") is not None:
        expert["resolution"] = settings["student.resolution"]
    planned = {
        "student.lr": rate.best,
        **{name: value for name, value in settings.items() if name not in _SAID},
        "student.epochs": plan.student_epochs,
        "labels": ["soft"],
    }
    lines = [
        ["train-expert", *data, "--out", run, "--model", model, "--epochs", epochs, *_set(expert)],
        ["dump-labels", *data, "--expert", run, "--out", labels, "--epochs", epochs],
        [
            *("sweep-students", *data, "--labels", labels, "--out", f"sweeps/{dataset.name}"),
            *("--ipc", str(ipc), "--expert-epochs", epochs),
            *("--seeds", ",".join(map(str, range(plan.students))), *_set(planned)),
        ],
    ]
    return [shlex.join(["engine", *line]) for line in lines]


def _set(settings: Mapping[str, Any]) -> list[str]:
    """Options that set these; text is as it was typed."""
    typed = {k: v if isinstance(v, str) else json.dumps(v) for k, v in settings.items()}
    return [word for name, value in typed.items() for word in ("--set", f"{name}={value}")]
