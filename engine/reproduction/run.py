"""`reproduce`: experts, labels, students, learned labels, report and verdicts, one after the other.

    OUT/plan.yaml          what is run, fitted to the dataset: a plan of `engine sweep-students`
    OUT/experts/seed-0/    expert runs
    OUT/labels.zarr        their soft labels
    OUT/students/          one sweep with the trials of all experiments, each once
    OUT/learned/           learned labels, and the evaluation of students trained on them
    OUT/report/            the page, figures, tables, and the verdicts on the papers' claims

Every stage is the function of its command and resumes; so does the whole.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import yaml

import beton_builder
from engine.demo import time_spent
from engine.distilled import evaluate_distilled
from engine.experiments.learned_labels import compare_with_expert, learn_labels
from engine.labelling import dump_labels
from engine.labelling.dump import expert_name
from engine.records import sole_writer, write_bytes
from engine.report import write_report
from engine.reproduction.plan import Plan, architecture, fit_to
from engine.reproduction.scale import Scale, load_scale
from engine.sweep import sweep_students
from engine.sweep.execution import AUTO
from engine.training import train_expert
from engine.training.expert_run import open_run
from engine.training.progress import Progress, no_progress

EXPERT = "expert-small"


def reproduce(
    data: str | Path,
    out: str | Path,
    *,
    scale: str | Path = "cpu",
    workers: int | str = AUTO,
    threads: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run every experiment of both papers on a dataset, and write what came out.

    Args:
        data: a built dataset, of any size and number of classes.
        out: folder for everything; running it again resumes and extends.
        scale: ``smoke`` (minutes, shows that the path works), ``cpu`` (hours on two cores),
            ``full`` (the papers' lengths: GPUs), or a YAML file of that form.
        workers, threads: of the sweep, as in `sweep_students`.
        dry_run: return the plan, with time from a measured step, and touch nothing.

    Returns:
        ``table`` (the papers' claims with their verdicts), ``report`` (path of the page),
        ``left_out`` (what the dataset does not allow, and why), ``seconds`` by stage, ``failed``
        trials.

    Raises:
        ConfigurationError, UsageError, MismatchError and the errors of the stages.
    """
    out, data = Path(out), Path(data)
    chosen = load_scale(scale)
    dataset = beton_builder.open_dataset(data)
    progress = progress or no_progress
    if dry_run:
        return _describe(chosen, str(scale), dataset, out, progress)
    seconds: dict[str, float] = {}
    with sole_writer(out):
        with _timed(seconds, "experts"):
            runs = _train_experts(chosen, dataset, out / "experts", progress)
        plan = fit_to(chosen, dataset, [expert_name(open_run(run)) for run in runs])
        write_plan(out / "plan.yaml", plan)
        with _timed(seconds, "labels"):
            store = out / "labels.zarr"
            for run in runs:
                dump_labels(data, run, store, epochs=chosen.label_epochs, progress=progress)
        with _timed(seconds, "students"):
            swept = sweep_students(
                data,
                store,
                out / "students",
                config=out / "plan.yaml",
                workers=workers,
                threads=threads,
                progress=progress,
            )
        with _timed(seconds, "learned labels"):
            learned = _learn(chosen, plan, data, out, progress)
        with _timed(seconds, "report"):
            folders = [out / "students", *learned]
            report = write_report(
                folders, out / "report", data=data, labels=store, progress=progress
            )
    return {
        "status": "done",
        "out": str(out),
        "failed": swept["failed"],
        "report": report["index"],
        "table": report["verdicts"],
        "left_out": list(plan.left_out),
        "seconds": seconds,
        "message": time_spent(seconds),
    }


def _train_experts(
    scale: Scale, dataset: beton_builder.Dataset, folder: Path, progress: Progress
) -> list[Path]:
    """The expert runs of a scale, trained as far as it says."""
    model, resolution = architecture(scale, dataset)
    runs = []
    for seed in scale.expert.seeds:
        runs.append(folder / f"seed-{seed}")
        train_expert(
            dataset.path,
            runs[-1],
            config=EXPERT,
            model=model,
            epochs=scale.expert.epochs,
            seed=seed,
            overrides={} if resolution is None else {"resolution": resolution},
            progress=progress,
        )
    return runs


def _learn(scale: Scale, plan: Plan, data: Path, out: Path, progress: Progress) -> list[Path]:
    """Learn labels and train students on them; the folders of both, for the report."""
    wanted = scale.learned
    if wanted is None:
        return []
    folders: list[Path] = []
    for ipc, initial in product(wanted.ipc, wanted.initial):
        folder = out / "learned" / f"ipc-{ipc}-{initial}"
        from_expert: dict[str, Any] = {}
        if initial == "expert":
            epoch = scale.expert_epoch_at(ipc)
            from_expert = {
                "labels": out / "labels.zarr",
                "expert": plan.experts[0],
                "expert_epoch": epoch,
            }
        learn_labels(
            data,
            folder,
            ipc=ipc,
            initial=initial,
            overrides={"model": plan.model, "resolution": plan.resolution, **wanted.settings},
            progress=progress,
            **from_expert,
        )
        compare_with_expert(folder, out / "labels.zarr", expert=plan.experts[0])
        students = folder.with_name(f"{folder.name}-students")
        evaluate_distilled(
            data,
            folder / "distilled.npz",
            students,
            seeds=wanted.seeds,
            overrides=plan.student_at(ipc),
            progress=progress,
        )
        folders += [folder, students]
    return folders


def write_plan(file: Path, plan: Plan) -> None:
    """The plan as a file that `engine sweep-students --config` reads, an experiment a block."""
    lines = ["# Made by `engine reproduce`; an experiment a block."]
    lines += [f"# Left out: {reason}" for reason in plan.left_out]
    blocks = [f"# {name}\n{_yaml([grid])}" for name, grid in plan.grids.items()]
    write_bytes(file, "\n".join([*lines, "grids:", *blocks]).encode())


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100)).rstrip()


def _describe(
    scale: Scale, name: str, dataset: beton_builder.Dataset, out: Path, progress: Progress
) -> dict[str, Any]:
    """What would be done, and how long the students would take."""
    names = [f"seed-{seed}" for seed in scale.expert.seeds]
    plan = fit_to(scale, dataset, names)
    with tempfile.TemporaryDirectory() as folder:
        write_plan(Path(folder) / "plan.yaml", plan)
        students = sweep_students(
            dataset.path,
            None,
            Path(folder) / "students",
            config=Path(folder) / "plan.yaml",
            dry_run=True,
            progress=progress,
        )
    return {
        "plan": "reproduce",
        "scale": name,
        "out": str(out),
        "model": plan.model,
        "experts": len(names),
        "expert_epochs": scale.expert.epochs,
        "experiments": list(plan.grids),
        "students": students["trials"],
        "training_images": students["training_images"],
        "students_take": students.get("estimates"),
        "basis": students.get("basis"),
        "left_out": list(plan.left_out),
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = time.perf_counter() - started


__all__: Sequence[str] = ["reproduce", "write_plan"]
