"""Sweeps made of written records: what readers of results need, with no student trained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.records import write_record
from engine.sweep.ledger import HEAD, Ledger

STUDENT = {"model": "convnet-d3", "epochs": 4, "lr": 0.01, "optimiser": {"kind": "sgd"}}


def trial_record(
    ipc: int = 1,
    expert_epoch: int | None = 3,
    seed: int = 0,
    *,
    final: float = 0.5,
    error: str | None = None,
    student: dict[str, Any] | None = None,
    **cell: Any,
) -> dict[str, Any]:
    """A trial as the ledger has it, done unless it has an error; `cell` adds axes."""
    soft = expert_epoch is not None
    identity: dict[str, Any] = {
        "kind": "trial",
        "protocol": 1,
        "cell": {
            "ipc": ipc,
            "labels": "soft" if soft else "hard",
            "expert": "e0" if soft else None,
            "expert_epoch": expert_epoch,
            "view": "plain" if soft else None,
            "temperature": 1.0 if soft else None,
            "transform": "soft" if soft else None,
            **cell,
        },
        "seeds": {"subset_seed": seed, "init_seed": seed, "order_seed": seed, "augment_seed": seed},
        "student": STUDENT | (student or {}),
        "parents": {"dataset": "d0", "store": "s0", "checkpoints": [f"c{expert_epoch}"]},
        "teacher": None,
    }
    if soft:
        where = {"view": "plain", "codec": "dense"}
        identity["teacher"] = {"experts": ["e0"], "epochs": [expert_epoch], **where}
    name = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    if error is not None:
        return {**identity, "id": name, "status": "failed", "error": error}
    last = {"epoch": 4, "test": final, "validation": final / 2}
    first = {"epoch": 2, "test": final / 4, "validation": final}
    return {
        **identity,
        "id": name,
        "status": "done",
        "result": {
            "final": last,
            "selected": first,
            "max_on_test": {"epoch": 4, "test": final},
            "train_loss": 1.5,
            "evaluations": [first, last],
        },
        "seconds": {"setup": 0.5, "steps": 2.0},
        "images_per_second": 100.0,
        "environment": {"precision": "fp32", "threads": 1},
    }


def write_sweep(folder: Path, records: Iterable[dict[str, Any]] = ()) -> Path:
    """A sweep with these trials; called again, it adds to them."""
    if not (folder / HEAD).exists():
        dataset = {"id": "d0", "name": "tiny"}
        write_record(folder / HEAD, {"kind": "sweep", "dataset": dataset, "experts": []})
    for record in records:
        Ledger(folder).write(record)
    return folder
