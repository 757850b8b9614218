"""The whole path on Fashion-MNIST in minutes: images, expert, labels, students, report.

Every stage is the public function of its command with settings small enough for two CPU cores;
running it again resumes, and a finished demo answers in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import beton_builder
from engine.labelling import dump_labels
from engine.report import main_table, write_report
from engine.sweep import sweep_students
from engine.training import train_expert
from engine.training.launch import Progress, no_progress

SOURCE = "fashion-mnist"
EXPERT = "demo-expert"
STUDENTS = "demo-students"


def run_demo(
    out: str | Path,
    *,
    source: str | Path = SOURCE,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Build, train, label, sweep and report on Fashion-MNIST.

    Args:
        out: folder for everything the demo makes.
        source: where the images come from; by default the installed or downloaded set.
        dry_run: return the plan and touch nothing.

    Returns:
        ``table`` (the report's main table), ``report`` (path of its page) and ``seconds``, the
        time each stage took in this call.

    Raises:
        EngineError and the errors of the stages.
    """
    out = Path(out)
    data, run, store, sweep, report = (
        out / name for name in ("data", "expert", "labels.zarr", "students", "report")
    )
    progress = progress or no_progress
    stages: dict[str, Callable[[], dict[str, Any]]] = {
        "build": lambda: beton_builder.build_beton(source, data, progress=progress),
        "expert": lambda: train_expert(data, run, config=EXPERT, progress=progress),
        "labels": lambda: dump_labels(data, run, store, progress=progress),
        "students": lambda: sweep_students(data, store, sweep, config=STUDENTS, progress=progress),
        "report": lambda: write_report([sweep], report, progress=progress),
    }
    if dry_run:
        return {
            "plan": "demo",
            "source": str(source),
            "out": str(out),
            "stages": list(stages),
            "expert": EXPERT,
            "students": STUDENTS,
        }
    seconds, results = {}, {}
    for name, stage in stages.items():
        started = time.perf_counter()
        results[name] = stage()
        seconds[name] = time.perf_counter() - started
    return {
        "status": "done",
        "out": str(out),
        "failed": results["students"]["failed"],
        "table": main_table([sweep]),
        "report": str(report / "index.html"),
        "seconds": seconds,
        "message": time_spent(seconds),
    }


def time_spent(seconds: dict[str, float]) -> str:
    """One line that says where the time went: stages by share, longest first."""
    total = sum(seconds.values())
    shares = sorted(seconds.items(), key=lambda item: -item[1])
    parts = ", ".join(f"{name} {spent:.0f} s ({spent / total:.0%})" for name, spent in shares)
    return f"{total / 60:.1f} minutes in all: {parts}"
