"""`reproduce`: experts, labels, students, label sets, report and verdicts, one after the other.

    OUT/plan.yaml          what is run, fitted to the dataset: a plan of `engine sweep-students`
    OUT/experts/seed-0/    expert runs
    OUT/labels.zarr        their soft labels
    OUT/students/          one sweep with the trials of all experiments, each once
    OUT/learned/           learned labels, and the evaluation of students trained on them
    OUT/derived.zarr       labels made without an expert, from pixels
    OUT/derived/           sets of images with them, and the evaluation of their students
    OUT/report/            the page, figures, tables, and the verdicts on the papers' claims

Every stage is the function of its command and resumes; so does the whole. What would keep a later
stage from beginning is refused before the first one begins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import beton_builder
from engine.demo import time_spent
from engine.labelling import dump_labels, expert_name
from engine.records import sole_writer
from engine.report import write_report
from engine.reproduction.check import EXPERTS, REPORT, check_place, check_plan
from engine.reproduction.dry_run import describe
from engine.reproduction.label_sets import LabelSets
from engine.reproduction.plan import Plan, expert_options, fit_to, write_plan
from engine.reproduction.scale import Scale, load_scale
from engine.reproduction.table7 import as_published
from engine.sweep import sweep_students
from engine.sweep.execution import AUTO
from engine.training import train_expert
from engine.training.expert_run import open_run
from engine.training.progress import Progress, no_progress


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
        workers, threads: of the students, as in `sweep_students`.
        dry_run: return the plan, with time from a measured step, and touch nothing.

    Returns:
        ``table`` (the papers' claims with their verdicts), ``report`` (path of the page),
        ``left_out`` (what the dataset does not allow, and why), ``seconds`` by stage, ``failed``
        (students, and labels whose learning diverged), ``problems`` with the latter.

    Raises:
        ConfigurationError, UsageError, MismatchError and the errors of the stages.
    """
    out, data = Path(out), Path(data)
    dataset = beton_builder.open_dataset(data)
    chosen = as_published(load_scale(scale), dataset)
    progress = progress or no_progress
    runs = [out / EXPERTS / f"seed-{seed}" for seed in chosen.expert.seeds]
    plan = fit_to(chosen, dataset, [run.name for run in runs])
    check_plan(plan, dataset)
    check_place(chosen, plan, dataset, out)
    if dry_run:
        return describe(
            chosen,
            str(scale),
            plan,
            dataset,
            out,
            runs,
            workers=workers,
            threads=threads,
            progress=progress,
        )
    seconds: dict[str, float] = {}
    with sole_writer(out):
        with _timed(seconds, "experts"):
            _train_experts(chosen, plan, data, runs, progress)
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
        sets = LabelSets(
            scale=chosen,
            plan=plan,
            data=data,
            out=out,
            workers=workers,
            threads=threads,
            progress=progress,
        )
        with _timed(seconds, "learned labels"):
            sets.learn()
        with _timed(seconds, "derived labels"):
            sets.derive()
        with _timed(seconds, "report"):
            folders = [out / "students", *sets.folders]
            report = write_report(folders, out / REPORT, data=data, labels=store, progress=progress)
    return {
        "status": "done",
        "out": str(out),
        "failed": swept["failed"] + len(sets.problems),
        "report": report["index"],
        "table": report["verdicts"],
        "left_out": list(plan.left_out),
        "seconds": seconds,
        **({"problems": sets.problems} if sets.problems else {}),
        "message": time_spent(seconds),
    }


def _train_experts(
    scale: Scale, plan: Plan, data: Path, runs: Sequence[Path], progress: Progress
) -> None:
    """Train the experts of a scale as far as it says."""
    for seed, run in zip(scale.expert.seeds, runs, strict=True):
        train_expert(
            data,
            run,
            seed=seed,
            progress=progress,
            **expert_options(scale, plan),
        )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = time.perf_counter() - started


__all__: Sequence[str] = ["reproduce", "write_plan"]
