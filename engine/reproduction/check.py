"""Whether every stage can begin, asked before the first of them: the plan, and what lies at OUT.

The stages would refuse the same, but the last of them after days of the others. Each artefact says
itself what it is of, so nothing is recorded besides.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import beton_builder
from engine.analysis.trials import flatten
from engine.configuration import load_configuration
from engine.destination import foreign_folder, kind_of
from engine.distilled.evaluation import EvaluationFolder
from engine.errors import ConfigurationError, MismatchError
from engine.experiments.learned_labels import LearnedRecipe
from engine.experiments.learned_labels.folder import MANIFEST as LEARNED
from engine.experiments.learned_labels.folder import open_folder
from engine.models import check_model_name
from engine.records import LOCK, is_unclaimed
from engine.report.publish import check_destination as check_report_place
from engine.reproduction.plan import Plan, expert_options, write_plan
from engine.reproduction.scale import Scale
from engine.sweep.planning.grid import load_grids
from engine.sweep.planning.plan import plan_trials
from engine.training.expert import resolve_recipe
from engine.training.expert_run import KIND as EXPERT_RUN
from engine.training.expert_run import MANIFEST as RUN
from engine.training.expert_run import open_run

EXPERTS, REPORT = "experts", "report"


def check_plan(plan: Plan, dataset: beton_builder.Dataset) -> None:
    """Refuse a plan that a later stage would refuse.

    Raises:
        ConfigurationError, UsageError: settings of students or of learned labels that can't be.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.yaml"
        write_plan(file, plan)
        try:
            grids = load_grids(file)
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace(str(file), "this scale's plan")) from error
    plan_trials(grids, dataset, None, labels_to_come=True)
    for settings in plan.learned:
        check_model_name(load_configuration(LearnedRecipe, None, settings).model)


def check_place(scale: Scale, plan: Plan, dataset: beton_builder.Dataset, out: Path) -> None:
    """Refuse a folder that holds something else, or a reproduction that this plan can't extend.

    Raises:
        UsageError: no reproduction lies there, but other files do, or in its report.
        MismatchError: it is of another dataset, or its experts, its learned labels or the students
            of label sets are of another kind.
    """
    if not is_unclaimed(out) and not _is_reproduction(out):
        raise foreign_folder(out, f"a reproduction (with expert runs in {EXPERTS}/)")
    for manifest in sorted(out.glob(f"{EXPERTS}/*/{RUN}")):
        _check_expert(scale, plan, dataset, out, manifest.parent)
    check_report_place(out / REPORT)
    for settings in plan.learned:
        folder = learned_folder(out, settings)
        if (folder / LEARNED).exists():
            _check_learned(settings, dataset, out, folder)
        _check_students(plan, out, students_of(folder), int(settings["ipc"]))
    for ipc, nats in plan.derived:
        _check_students(plan, out, students_of(derived_folder(out, ipc, nats)), ipc)


def _is_reproduction(out: Path) -> bool:
    """Whether its first stage has begun there: an expert, or the place of one and nothing else."""
    runs = list(out.glob(f"{EXPERTS}/*"))
    if any(kind_of(run) == EXPERT_RUN for run in runs):
        return True
    nothing_else = out.is_dir() and {each.name for each in out.iterdir()} <= {LOCK, EXPERTS}
    return nothing_else and all(map(is_unclaimed, runs))


def learned_folder(out: Path, settings: Mapping[str, Any]) -> Path:
    """Where the labels learned with these settings lie."""
    return out / "learned" / f"ipc-{settings['ipc']}-{settings['initial']}"


def derived_folder(out: Path, ipc: int, nats: float) -> Path:
    """Where the set of images with derived labels of so many nats lies."""
    return out / "derived" / f"ipc-{ipc}" / f"pixels-{nats:.2f}-nats"


def students_of(folder: Path) -> Path:
    """Where the evaluation of the students of a set of labels lies."""
    return folder.with_name(f"{folder.name}-students")


def _check_expert(
    scale: Scale, plan: Plan, dataset: beton_builder.Dataset, out: Path, folder: Path
) -> None:
    """Experts that began with another recipe can't go on with this one."""
    run = open_run(folder)
    if run.dataset_id != dataset.id:
        raise MismatchError(
            f"{out} holds a reproduction on dataset {run.dataset_id} "
            f"({run.manifest['dataset']['name']}), not on {dataset.id} ({dataset.name}); choose "
            "another --out"
        )
    options = expert_options(scale, plan)
    recipe = resolve_recipe(dataset, options.pop("config"), **options)
    there, wanted = flatten(run.manifest["recipe"]), flatten(recipe.identity())
    differing = [f"{k}: {there.get(k)} → {v}" for k, v in wanted.items() if there.get(k) != v]
    if differing:
        raise MismatchError(
            f"{out} holds a reproduction of another scale: {folder.relative_to(out)} is expert run "
            f"{run.id}, trained with another recipe ({', '.join(differing)}); choose another --out"
        )


def _check_learned(
    settings: Mapping[str, Any], dataset: beton_builder.Dataset, out: Path, folder: Path
) -> None:
    """Learned labels that began with other settings can't go on with these."""
    there = open_folder(folder)
    wanted = flatten(load_configuration(LearnedRecipe, None, settings).identity())
    wanted["resolution"] = wanted["resolution"] or dataset.height
    before = flatten(there.manifest["recipe"])
    differing = [f"{k}: {before.get(k)} → {v}" for k, v in wanted.items() if before.get(k) != v]
    if differing:
        raise MismatchError(
            f"{out} holds a reproduction of another scale: {folder.relative_to(out)} are learned "
            f"labels {there.id}, made with other settings ({', '.join(differing)}); choose another "
            "--out"
        )


def _check_students(plan: Plan, out: Path, folder: Path, ipc: int) -> None:
    """An evaluation that began with other students can't go on with these."""
    files = EvaluationFolder(folder)
    if not files.exists():
        return
    there = files.head()["student"]
    wanted = {k.removeprefix("student."): v for k, v in plan.student_at(ipc).items()}
    differing = [
        f"{name}: {there.get(name)} → {value}"
        for name, value in wanted.items()
        # A kind alone, such as adamw, stands for more than its name.
        if there.get(name) != value and not isinstance(there.get(name), Mapping)
    ]
    if differing:
        raise MismatchError(
            f"{out} holds a reproduction of another scale: {folder.relative_to(out)} are other "
            f"students ({', '.join(differing)}); choose another --out"
        )


__all__ = [
    "EXPERTS",
    "check_place",
    "check_plan",
    "derived_folder",
    "learned_folder",
    "students_of",
]
