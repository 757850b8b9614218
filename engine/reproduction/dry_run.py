"""What a reproduction would still do, and how long its students would take: `--dry-run`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import beton_builder
from engine.labelling import dump_labels, expert_name
from engine.reproduction.plan import Plan, fit_to, write_plan
from engine.reproduction.scale import Scale
from engine.sweep import sweep_students
from engine.training.expert_run import MANIFEST, open_run
from engine.training.progress import Progress


def describe(
    scale: Scale,
    name: str,
    plan: Plan,
    dataset: beton_builder.Dataset,
    out: Path,
    runs: Sequence[Path],
    *,
    workers: int | str,
    threads: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """What would be done, less what is done already; nothing is written.

    Args:
        plan: fitted to the dataset, with any names for the experts.
        runs: folders of the experts, trained or not.
    """
    epochs_done = [_epochs_of(run) for run in runs]
    labels = None
    if min(epochs_done) >= scale.expert.epochs and _are_labelled(scale, dataset, out, runs):
        labels = out / "labels.zarr"
        plan = fit_to(scale, dataset, [expert_name(open_run(run)) for run in runs])
    with tempfile.TemporaryDirectory() as folder:
        write_plan(Path(folder) / "plan.yaml", plan)
        students = sweep_students(
            dataset.path,
            labels,
            out / "students",
            config=Path(folder) / "plan.yaml",
            workers=workers,
            threads=threads,
            dry_run=True,
            progress=progress,
        )
    return {
        "plan": "reproduce",
        "scale": name,
        "out": str(out),
        "model": plan.model,
        "experts": len(runs),
        "expert_epochs": scale.expert.epochs,
        "expert_epochs_done": epochs_done,
        "experiments": list(plan.grids),
        "students": students["trials"],
        "students_done": students["trials_done"],
        "training_images": students["training_images"],
        "students_take": students.get("estimates"),
        "basis": students.get("basis"),
        "learned_labels": [f"IPC {each['ipc']} from {each['initial']}" for each in plan.learned],
        "derived_labels": [f"IPC {ipc}, {nats:.2f} nats" for ipc, nats in plan.derived],
        "left_out": list(plan.left_out),
        "message": "The time is that of the students still to train; experts, labels, "
        "label sets and the report come on top.",
    }


def _epochs_of(run: Path) -> int:
    """How far an expert is trained; 0 where nobody began."""
    done = open_run(run).epochs() if (run / MANIFEST).exists() else []
    return done[-1] if done else 0


def _are_labelled(
    scale: Scale, dataset: beton_builder.Dataset, out: Path, runs: Sequence[Path]
) -> bool:
    """Whether all labels that students need are stored: else no student can be done."""
    plans = (
        dump_labels(dataset.path, run, out / "labels.zarr", epochs=scale.label_epochs, dry_run=True)
        for run in runs
    )
    return not any(each["epochs_missing"] for each in plans)


__all__ = ["describe"]
