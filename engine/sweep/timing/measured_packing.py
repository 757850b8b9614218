"""The packing of a sweep for ``--workers auto``: measured, limited by memory, and remembered.

On CPUs every way to use all cores is measured on the plan's heaviest step. GPUs are told apart by
nothing, so each gets the same number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from beton_builder.machine import free_memory, usable_cores
from engine.errors import RankError
from engine.sweep.executors.trial_runner import KEPT_SUBSETS
from engine.sweep.planning.trial import Trial
from engine.sweep.timing.pace import BUSY_MACHINE, Pace, measure_pace
from engine.sweep.timing.packing import Packing, choose_packing, recorded_packing
from engine.training.launch import Progress, no_progress

SHARE_OF_MEMORY = 0.8
"""Of the free memory that workers may take together."""

MeasurePace = Callable[[int, int], Pace]
"""(workers, threads) → the pace of the plan's heaviest step."""


def measured_packing(
    trials: Sequence[Trial],
    *,
    precision: str,
    workers_per_device: int = 1,
    remembered: Mapping[str, Any] | None = None,
    seconds: float = 3.0,
    progress: Progress | None = None,
) -> Packing:
    """How many workers, with how many threads, are fastest at these trials on this machine.

    Args:
        trials: those to run, one or more.
        precision: ``fp32``, ``bf16`` or ``auto``, as students are trained in.
        workers_per_device: of each GPU, where there are any.
        remembered: what `Packing.record` said when the sweep began; it is kept, and nothing is
            measured, unless the machine has other cores now.
        seconds: to measure each packing for, besides starting and compiling.
        progress: called with (stage, done, total).

    Raises:
        RankError: not even one worker can be started.
    """
    known = recorded_packing(remembered)
    if known is not None:
        return known
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        return packing_of_gpus(gpus, workers_per_device, usable_cores())

    tell = progress or no_progress

    def measure(workers: int, threads: int) -> Pace:
        return measure_pace(
            trials,
            precision=precision,
            workers=workers,
            threads=threads,
            seconds=seconds,
            most=1,
            evaluation=False,
            progress=lambda _stage, done, total: tell(
                f"measure {workers} × {threads} threads", done, total
            ),
        )

    return fastest_packing(trials, usable_cores(), measure, free_memory())


def packing_of_gpus(gpus: int, workers_per_device: int, cores: int) -> Packing:
    """The same number of workers for each GPU, and an equal share of the cores for each worker."""
    workers = gpus * workers_per_device
    return Packing(
        workers=workers,
        threads=max(1, cores // workers),
        rates={},
        because=f"{workers_per_device} for each of {gpus} GPU{'s' if gpus > 1 else ''}",
    )


def fastest_packing(
    trials: Sequence[Trial], cores: int, measure: MeasurePace, free_bytes: int
) -> Packing:
    """Measure one worker with all cores, then as many workers as trials and memory allow.

    A packing whose workers die counts as one that stands still.
    """
    alone = measure(1, cores)
    paces = {1: alone}
    worker_bytes = alone.worker_bytes + image_bytes(trials)
    fit = max(1, int(SHARE_OF_MEMORY * free_bytes) // worker_bytes)

    def images_per_second(workers: int, threads: int) -> float:
        try:
            paces[workers] = alone if workers == 1 else measure(workers, threads)
        except RankError:
            return 0.0
        return total_rate(paces[workers])

    packing = choose_packing(cores, images_per_second, most_workers=min(fit, len(trials)))
    reasons = []
    if fit < min(cores, len(trials)):
        reasons.append(
            f"at most {fit} of {worker_bytes / 1e9:.1f} GB each fit into "
            f"{free_bytes / 1e9:.1f} GB of free memory"
        )
    share = min(pace.core_share for pace in paces.values())
    if share < BUSY_MACHINE:
        reasons.append(f"other programs left the workers {share:.0%} of their cores meanwhile")
    return replace(packing, because="; ".join(reasons))


def total_rate(pace: Pace) -> float:
    """Images a second that all workers train on together, at the heaviest measured step."""
    kind, timing = next(iter(pace.steps.items()))
    return pace.workers * kind.batch_size / timing.seconds


def image_bytes(trials: Sequence[Trial]) -> int:
    """Bytes of the images that a worker keeps: its subsets, and those it evaluates on."""

    def bytes_of(trial: Trial) -> int:
        images = KEPT_SUBSETS * trial.num_images + trial.dataset.evaluation_images
        return images * trial.shape.channels * trial.shape.resolution**2

    return max(map(bytes_of, trials))
