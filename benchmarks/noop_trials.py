"""Trials that do nothing, for what an executor costs: as they travel to a worker, and the record.

The record is one of a real student with 15 evaluations, about 3 kB, so that encoding, checking and
writing it cost what they do in a sweep. The standard library alone is imported here: a worker that
does nothing is not made to wait for torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EVALUATIONS = [
    {"epoch": 200 * n, "test": 0.1387 + n / 997, "validation": 0.1412 + n / 991}
    for n in range(1, 16)
]

RECORD: dict[str, Any] = {
    "kind": "trial",
    "protocol": 1,
    "cell": {
        "ipc": 10,
        "selection": "random",
        "labels": "soft",
        "expert": "expert-0",
        "expert_epoch": 13,
        "view": "plain",
        "temperature": 1.0,
        "transform": "soft",
    },
    "seeds": {"subset_seed": 0, "init_seed": 0, "order_seed": 0, "augment_seed": 0},
    "student": {
        "model": "convnet-d3",
        "epochs": 3000,
        "lr": 0.01,
        "batch_size": 256,
        "optimiser": {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.0005},
        "schedule": {"kind": "step", "every": 750, "factor": 0.3, "horizon": None},
        "augmentation": "dsa",
        "resolution": 32,
        "evaluations": 15,
        "precision": "auto",
    },
    "parents": {
        "dataset": "0" * 32,
        "normalisation": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]},
        "store": "0" * 16,
        "view": "0" * 16,
        "codec": "dense",
        "checkpoints": ["0" * 64],
    },
    "teacher": {"experts": ["expert-0"], "epochs": [13], "view": "plain", "codec": "dense"},
}

OUTCOME: dict[str, Any] = {
    "status": "done",
    "result": {
        "final": EVALUATIONS[-1],
        "selected": EVALUATIONS[-1],
        "max_on_test": {"epoch": 3000, "test": EVALUATIONS[-1]["test"]},
        "train_loss": 1.2345678901234567,
        "evaluations": EVALUATIONS,
    },
    "seconds": {"setup": 0.0, "compile": 0.0, "steps": 0.0, "evaluation": 0.0},
    "images_per_second": 1234.5678901234567,
    "environment": {
        "device": "cpu",
        "precision": "bf16",
        "compiled": True,
        "threads": 1,
        "reason": "a convolution's forward and backward pass ran 2.0× as fast in bf16",
        "torch": "0.0.0",
        "python": "0.0.0",
        "machine": "no machine, 0 cores",
    },
}


@dataclass(frozen=True, kw_only=True)
class NoOpTrial:
    """A trial to an executor, of one shape and length with all others."""

    id: str
    shape: str = "none"
    work: float = 1.0

    @property
    def cell(self) -> dict[str, Any]:
        """The cell of all of them."""
        cell: dict[str, Any] = RECORD["cell"]
        return cell

    def identity(self) -> dict[str, Any]:
        """What is known before it runs."""
        return RECORD | {"id": self.id}


class NoOpRunner:
    """Answers at once."""

    def run(self, trial: NoOpTrial, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """The record of a trial that took no time."""
        return trial.identity() | OUTCOME


def noop_trials(count: int) -> list[NoOpTrial]:
    """So many, with ids as long as real ones."""
    return [NoOpTrial(id=f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}") for number in range(count)]
