"""Trial records and parsed trials for the tests of the analysis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from engine.analysis import AskedCell, Trial, parse_trial

_numbers = count()


def record(
    ipc: int = 1,
    epoch: int | None = 13,
    test: float | None = 0.158,
    *,
    validation: float | None = 0.15,
    max_on_test: float | None = 0.16,
    seed: int = 0,
    subset_seed: int | None = None,
    status: str = "done",
    cell: Mapping[str, Any] | None = None,
    student: Mapping[str, Any] | None = None,
    codec: str = "dense",
    label_view: str = "v1",
) -> dict[str, Any]:
    """A trial record as a sweep writes it; epoch None means hard labels."""
    soft = epoch is not None
    at = {"epoch": 3000, "test": test, "validation": validation}
    return {
        "kind": "trial",
        "id": f"trial{next(_numbers)}",
        "protocol": 1,
        "status": status,
        "cell": {
            "ipc": ipc,
            "labels": "soft" if soft else "hard",
            "expert": "d3-s0" if soft else None,
            "expert_epoch": epoch,
            "view": "plain" if soft else None,
            "temperature": 1.0 if soft else None,
            "lr": 0.01,
            **(cell or {}),
        },
        "seeds": {
            "subset_seed": seed if subset_seed is None else subset_seed,
            "init_seed": seed,
            "order_seed": seed,
            "augment_seed": seed,
        },
        "student": {"model": "convnet-d3", "optimizer": {"lr": 0.01}, **(student or {})},
        "parents": {
            "dataset": "d1",
            "checkpoints": ["c1"],
            **({"codec": codec, "view": label_view} if soft else {"view": None}),
        },
        "result": {
            "final": at,
            "selected": dict(at),
            "max_on_test": {"epoch": 2800, "test": max_on_test},
        },
    }


def trial(*args: Any, **options: Any) -> Trial:
    """The parsed trial of `record(...)`."""
    return parse_trial(record(*args, **options))


def asked(
    ipc: int = 1, epoch: int | None = 13, *, seeds: Iterable[int] = (0,), **options: Any
) -> AskedCell:
    """The cell of `trial(ipc, epoch, **options)`, asked for with these seeds."""
    like = trial(ipc, epoch, **options)
    return AskedCell(
        ipc=ipc,
        labels=like.labels,
        expert_epoch=epoch,
        axes=like.axes,
        seeds=tuple(trial(seed=seed).seeds for seed in seeds),
    )
