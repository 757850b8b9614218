"""Synthetic sweeps for the tests of the report: accuracies in, a sweep folder out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.analysis import AskedCell, read_asked, record_asked
from engine.records import canonical_json, write_record

SEEDS = ("subset_seed", "init_seed", "order_seed", "augment_seed")


def trial(
    ipc: int,
    epoch: int | None,
    test: float | None,
    *,
    seed: int = 0,
    subset_seed: int | None = None,
    validation: float | None = 0.1,
    max_on_test: float | None = None,
    error: str | None = None,
    cell: Mapping[str, Any] | None = None,
    per_class: list[float] | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """One trial record; epoch None means hard labels, `error` a failed run."""
    soft = epoch is not None
    record: dict[str, Any] = {
        "kind": "trial",
        "protocol": 1,
        "status": "failed" if error else "done",
        "cell": {
            "ipc": ipc,
            "labels": "soft" if soft else "hard",
            "expert": "cifar100-d3-s0" if soft else None,
            "expert_epoch": epoch,
            "view": "plain" if soft else None,
            "temperature": 1.0 if soft else None,
            "lr": 0.01,
            **(cell or {}),
        },
        "seeds": dict.fromkeys(SEEDS, seed)
        | {"subset_seed": seed if subset_seed is None else subset_seed},
        "student": {"model": "convnet-d3", "epochs": 3000, "batch_size": 256, "lr": 0.01},
        "parents": {"dataset": "d" * 16, "store": None, "checkpoints": ["c" * 16] if soft else []},
        "seconds": {"setup": 0.1, "compile": 0.0, "steps": 170.2, "evaluation": 9.1},
        "images_per_second": 1500.0,
        "environment": {
            "torch": "2.14.1",
            "precision": "bf16",
            "threads": 2,
            "device": "cpu",
            "machine": "2 cores",
            "compiled": True,
        },
    }
    if error:
        record["error"] = error
    else:
        optimistic = test if max_on_test is None else max_on_test
        at = {"epoch": 3000, "test": test, "validation": validation}
        record["result"] = {
            "final": at,
            "selected": {**at, "epoch": 2600},
            "max_on_test": {"epoch": 2800, "test": optimistic},
            "train_loss": 3.1,
            "evaluations": [at],
            **({"test_per_class": per_class} if per_class else {}),
        }
    record |= overrides
    record["id"] = hashlib.sha256(canonical_json(record)).hexdigest()[:16]
    return record


def grid(
    accuracies: Mapping[tuple[int, int | None], float | None],
    seeds: Iterable[int] = (0, 1, 2),
    **options: Any,
) -> list[dict[str, Any]]:
    """Trials of a grid (IPC, epoch or None) → accuracy, one per seed, 0.2 points apart."""
    return [
        trial(
            ipc,
            epoch,
            None if test is None else test + 0.002 * seed,
            seed=seed,
            **{"validation": None if test is None else test - 0.004, **options},
        )
        for (ipc, epoch), test in accuracies.items()
        for seed in seeds
    ]


def asked_of(records: Iterable[Mapping[str, Any]]) -> list[AskedCell]:
    """The cells of a sweep that was asked for exactly these trials."""
    return read_asked(record_asked((record, [record["seeds"]]) for record in records))


def write_sweep(
    folder: Path,
    trials: Iterable[Mapping[str, Any]],
    *,
    dataset: Mapping[str, Any] | None = None,
    experts: list[dict[str, Any]] | None = None,
    plan: Mapping[str, Any] | None = None,
    asked: Iterable[Mapping[str, Any]] | None = None,
) -> Path:
    """Write trials as a sweep folder and return it; `asked`: records of all that it was to run."""
    trials = list(trials)
    head = {
        "kind": "sweep",
        "plan": dict(plan or {}),
        "dataset": {
            "id": "d" * 16,
            "name": "cifar100",
            "num_classes": 100,
            "classes": [],
            **(dataset or {}),
        },
        "experts": experts
        or [
            {
                "name": "cifar100-d3-s0",
                "run_id": "e" * 16,
                "epochs": {"13": {"test": 0.323, "train": 0.29, "label_entropy": 3.25}},
            }
        ],
    }
    if asked is not None:
        head["asked"] = record_asked((record, [record["seeds"]]) for record in asked)
    for record in trials:
        write_record(folder / "trials" / record["id"][:2] / f"{record['id']}.json", record)
    write_record(folder / "sweep.json", head)
    return folder
