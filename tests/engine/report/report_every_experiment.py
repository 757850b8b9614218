"""A synthetic sweep with something of every experiment: accuracies follow a known rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from report_synthetic_sweep import grid, trial

IPCS, EPOCHS = (1, 5, 10, 50), (4, 13, 41)
SEEDS = (0, 1, 2)
CLASSES = 100
SOFT = {
    (ipc, epoch): 0.06 + 0.09 * i - 0.008 * (e - min(i, 2)) ** 2
    for i, ipc in enumerate(IPCS)
    for e, epoch in enumerate(EPOCHS)
}
HARD = {1: 0.02, 5: 0.08, 10: 0.14, 50: 0.33}
SWAPPED = {1: 0.4, 2: 0.7, 4: 0.8, 8: 0.9, 32: 0.96, 64: 1.0}
"""Share of the accuracy that is left when the i-th probability is swapped."""
STRUCTURE = {
    "uniform-noise:1.0": 0.5,
    "class-imbalanced:0.8": 0.6,
    "within-superclasses": 0.9,
    "between-superclasses": 0.7,
    "class-mean": 0.8,
    "co-occurrence": 0.75,
    "residual": 0.55,
}
SELECTIONS = {f"difficulty:{decile}": 1.1 - 0.04 * decile for decile in range(10)} | {
    "stratified": 1.02,
    "k-centre": 0.9,
    "herding": 1.05,
}


def plain() -> list[dict[str, Any]]:
    """The main grid: soft labels of three expert epochs, and hard labels."""
    return grid({**SOFT, **{(ipc, None): value for ipc, value in HARD.items()}}, SEEDS)


def varied(
    factors: Mapping[str, float],
    axis: str,
    *,
    ipcs: Iterable[int] = (1, 10),
    epoch: int | None = 13,
    seeds: Iterable[int] = SEEDS,
) -> list[dict[str, Any]]:
    """Cells in which an axis of `cell` has other values, at a share of the plain accuracy."""
    return [
        record
        for ipc in ipcs
        for value, share in factors.items()
        for record in grid(
            {(ipc, epoch): share * (SOFT[ipc, 13] if epoch else HARD[ipc])},
            seeds,
            cell={axis: value},
        )
    ]


def student(**settings: Any) -> dict[str, Any]:
    """A student's record with some settings changed."""
    return {"model": "convnet-d3", "epochs": 3000, "batch_size": 256, "lr": 0.01, **settings}


def everything() -> list[dict[str, Any]]:
    """Something of every experiment whose results are trials."""
    shares = (0.01, 0.1, 0.5)
    records = [
        *plain(),
        *varied({f"swap-ith:{i}": share for i, share in SWAPPED.items()}, "transform"),
        *varied({"shuffle-tail": 0.5}, "transform"),
        *varied({f"generated:{p}": 1.0 - p / 10 for p in (0.8, 0.9, 1.0)}, "transform", epoch=None),
        *varied(
            {f"noise-lowest-entropy:{s},{a}": 1 - s * a for s in shares for a in (0.01, 0.1)},
            "transform",
        ),
        *varied({f"top-k:{k}": 1 - 0.5 / k for k in (1, 4, 16)}, "transform", ipcs=IPCS),
        *varied(STRUCTURE, "transform"),
        *varied({"smoothing:0.1": 0.98, "temperature:2.0+top-k:4": 0.97}, "transform"),
        *varied(SELECTIONS, "selection"),
        *varied({"4+13": 1.05}, "ensemble"),
    ]
    for temperature, epoch in [(t, e) for t in (2.0, 4.0) for e in EPOCHS]:
        records += grid(
            {(ipc, epoch): SOFT[ipc, epoch] - 0.005 * temperature for ipc in (1, 10)},
            SEEDS,
            cell={"temperature": temperature},
        )
    for lr, share in {0.001: 0.6, 0.05: 0.9}.items():
        records += grid(
            {(ipc, 13): share * SOFT[ipc, 13] for ipc in (1, 10)},
            SEEDS,
            cell={"lr": lr},
            student=student(lr=lr),
        )
    for settings, share in (
        ({"augmentation": "cutmix"}, 0.95),
        ({"model": "resnet18"}, 0.8),
        ({"epochs": 300}, 0.7),
    ):
        records += grid({(10, 13): share * SOFT[10, 13]}, SEEDS, student=student(**settings))
    records += grid(SOFT, SEEDS, cell={"expert": "cifar100-d3-s1"})
    return records + zero_shot()


def zero_shot() -> list[dict[str, Any]]:
    """Class 7 taken away: scored 20 % on it, 60 % with its images, 0 with hard labels."""
    kept = [0.3] * CLASSES
    return [
        trial(
            10,
            epoch,
            SOFT[10, 13],
            seed=seed,
            validation=SOFT[10, 13],
            cell=cell,
            per_class=[*kept[:7], on_it, *kept[8:]],
        )
        for seed in (7, 8)
        for epoch, cell, on_it in (
            (13, {"selection": "drop-class:7"}, 0.2 + 0.01 * seed),
            (13, {"selection": "random"}, 0.6),
            (13, {"selection": "drop-class:7", "transform": "drop-class-column:7"}, 0.01),
            (13, {"transform": "drop-class-column:7"}, 0.5),
            (None, {"selection": "drop-class:7"}, 0.0),
        )
    ]


def experts() -> list[dict[str, Any]]:
    """What the head of such a sweep says of its experts."""
    about = {
        "4": {"test": 0.18, "train": 0.17, "label_entropy": 4.1},
        "13": {"test": 0.32, "train": 0.33, "label_entropy": 3.3},
        "41": {"test": 0.44, "train": 0.5, "label_entropy": 2.3},
    }
    return [
        {"name": f"cifar100-d3-s{seed}", "run_id": str(seed) * 16, "epochs": about}
        for seed in (0, 1)
    ]
