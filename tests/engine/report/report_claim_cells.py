"""Cells with a scatter of their own, and the verdict on a claim about them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report_synthetic_sweep import trial, write_sweep

from engine.report.claims.claims import Judgement, judge
from engine.report.experiments.evidence import evidence_of
from engine.report.sweeps import read_sweeps


def runs(
    ipc: int,
    labels: str,
    mean: float,
    *,
    epoch: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    scatter: float = 0.002,
    per_class: list[float] | None = None,
    **cell: Any,
) -> list[dict[str, Any]]:
    """One finished run a seed; the seeds' own effect is the same in every cell."""
    expert = labels != "hard" and not labels.startswith("generated")
    noise = np.random.default_rng(zlib.crc32(f"{ipc} {labels} {epoch} {cell}".encode()))
    records = []
    for seed in seeds:
        accuracy = mean + 0.01 * (seed - 1) + noise.normal(0, scatter)
        own = {"transform": None if labels == "hard" else labels, "selection": "random", **cell}
        record = trial(
            ipc, epoch if expert else None, accuracy, seed=seed, validation=accuracy, cell=own
        )
        record["result"]["test_per_class"] = per_class
        records.append(record)
    return records


def judged(tmp_path: Path, key: str, *groups: list[dict[str, Any]], **head: Any) -> Judgement:
    """The verdict on the claim with this key."""
    records = [record for group in groups for record in group]
    sweep = write_sweep(tmp_path / "sweep", records, **head)
    evidence = evidence_of(read_sweeps([sweep]), ("final", "test"))
    return next(each for each in judge(evidence) if each.key == key)
