"""Sweeps for the tests of advice: accuracies that follow a known law, as records in a folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.records import canonical_json, write_record

SEEDS = ("subset_seed", "init_seed", "order_seed", "augment_seed")
IPCS, EPOCHS = (1, 5, 10, 50), (4, 7, 13, 24, 41, 80)


def true_best_epoch(ipc: float) -> float:
    """Where `law` is highest."""
    return math.exp(2.0 + 0.4 * math.log(ipc))


def law(ipc: int, epoch: int) -> float:
    """Accuracy by a parabola over ln epoch whose top moves with IPC."""
    off = math.log(epoch) - math.log(true_best_epoch(ipc))
    return 0.6 - 0.35 * ipc**-0.4 - 0.03 * off**2


def record(
    ipc: int, epoch: int | None, seed: int, accuracy: float, **student: Any
) -> dict[str, Any]:
    """A finished trial; epoch None means hard labels."""
    soft = epoch is not None
    at = {"epoch": 300, "test": accuracy, "validation": accuracy}
    body: dict[str, Any] = {
        "kind": "trial",
        "protocol": 1,
        "status": "done",
        "cell": {
            "ipc": ipc,
            "labels": "soft" if soft else "hard",
            "selection": "random",
            "expert": "e0" if soft else None,
            "expert_epoch": epoch,
            "view": "plain" if soft else None,
            "temperature": 1.0 if soft else None,
            "transform": "soft" if soft else None,
        },
        "seeds": dict.fromkeys(SEEDS, seed),
        "student": {"model": "convnet-d2-w8", "epochs": 300, "batch_size": 256, "lr": 0.01}
        | student,
        "parents": {"checkpoints": [f"c{epoch}"] if soft else []},
        "result": {"final": at, "selected": at, "max_on_test": {"epoch": 300, "test": accuracy}},
        "seconds": {"steps": 1.0},
        "images_per_second": 100.0,
        "environment": {},
    }
    return body | {"id": hashlib.sha256(canonical_json(body)).hexdigest()[:16]}


def lawful(
    ipcs: Iterable[int] = IPCS, epochs: Iterable[int] = EPOCHS, **student: Any
) -> list[dict[str, Any]]:
    """Three seeds of every cell of a grid that follows `law`, a fifth of a point apart."""
    return [
        record(ipc, epoch, seed, law(ipc, epoch) + 0.002 * (seed - 1), **student)
        for ipc in ipcs
        for epoch in epochs
        for seed in range(3)
    ]


def write_sweep(folder: Path, records: Iterable[dict[str, Any]], *, dataset: str) -> Path:
    """A sweep of a dataset with these trials."""
    head = {"id": dataset, "name": "data", "num_classes": 3, "classes": []}
    write_record(folder / "sweep.json", {"kind": "sweep", "dataset": head, "experts": []})
    for each in records:
        write_record(folder / "trials" / each["id"][:2] / f"{each['id']}.json", each)
    return folder
