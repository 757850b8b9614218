"""Trials and paces made up for the tests of estimates, without data or a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.experiments import parse_label_transform, parse_selection
from engine.sweep.planning.trial import DatasetFacts, Trial
from engine.sweep.timing.pace import Pace, Timing
from engine.sweep.timing.pace_worker import PaceTrial
from engine.sweep.timing.step_kinds import NetworkKind, StepKind
from engine.training import Seeds, StudentRecipe

TINY = NetworkKind("convnet-d1-w4", 8, 3, 10)


def made_trial(*, ipc: int = 1, seed: int = 0, evaluation_images: int = 0, **student: Any) -> Trial:
    """A student of hard labels; ten classes of 8 × 8 pixels unless its student says otherwise."""
    classes = student.pop("num_classes", TINY.num_classes)
    recipe = {"model": TINY.model, "resolution": TINY.resolution, "epochs": 2, "evaluations": 1}
    return Trial(
        dataset=DatasetFacts("data", (0.5,) * 3, (0.2,) * 3, 3, classes, evaluation_images),
        ipc=ipc,
        selection=parse_selection("random"),
        labels=parse_label_transform("hard"),
        teacher=None,
        seeds=Seeds(init_seed=seed),
        student=StudentRecipe.model_validate(recipe | student),
    )


def made_pace(
    steps: dict[int, float] | None = None,
    *,
    workers: int = 1,
    threads: int = 1,
    evaluation: float = 0.0,
    start: float = 0.0,
    compiling: float = 0.0,
    trial_seconds: float = 0.0,
    worker_bytes: int = 10**9,
    core_share: float = 1.0,
) -> Pace:
    """Seconds a step by batch size, of the tiny network."""
    return Pace(
        workers=workers,
        threads=threads,
        steps={
            tiny_step(size): Timing(seconds=seconds, compile_seconds=compiling)
            for size, seconds in (steps or {10: 0.01}).items()
        },
        evaluations={TINY: Timing(seconds=evaluation, compile_seconds=compiling)}
        if evaluation
        else {},
        start_seconds=start,
        trial_seconds=trial_seconds,
        worker_bytes=worker_bytes,
        core_share=core_share,
        environment={"precision": "fp32", "device": "cpu", "machine": "a machine"},
    )


def tiny_step(batch_size: int, *, compiled: bool = True) -> StepKind:
    return StepKind(TINY, batch_size, compiled, "dsa")


def pace_trial(folder: Path, **given: Any) -> PaceTrial:
    settings: dict[str, Any] = {
        "id": "worker-0",
        "folder": folder,
        "workers": 1,
        "steps": (tiny_step(10),),
        "evaluations": (),
        "seconds": 0.05,
    }
    return PaceTrial(**settings | given)
