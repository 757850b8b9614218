"""How long a plan will take: here, by the measured pace, and on GPUs, by stated assumptions.

    trials, pace → seconds of every trial → replay of the schedule on N workers → makespan

The result is a plain dict for each machine. What is assumed says so in its ``basis``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.sweep.executors.schedule import Job
from engine.sweep.planning.trial import Trial
from engine.sweep.timing.pace import Pace, measure_pace
from engine.sweep.timing.simulation import simulate
from engine.sweep.timing.step_kinds import (
    NetworkKind,
    StepKind,
    flops_per_image,
    network_of,
    step_flops,
    steps_of,
    steps_of_all,
)
from engine.training.evaluate import EVALUATION_BATCH
from engine.training.launch import Progress


class Speed(Protocol):
    """What an estimate is made from: a measured `Pace`, or an `AssumedGpu`."""

    @property
    def trial_seconds(self) -> float: ...

    def step_seconds(self, kind: StepKind) -> float: ...

    def evaluation_seconds(self, network: NetworkKind) -> float: ...

    def preparation_seconds(self, kinds: Iterable[StepKind]) -> float: ...


@dataclass(frozen=True, kw_only=True)
class AssumedGpu:
    """A GPU that nobody measured: a sustained speed, and a floor under the time of a step.

    The students' networks are small. Their normalisation and pooling are bound by memory, so the
    assumed speed is far below the peak that data sheets give for matrix products; and a step of
    few images takes as long as it takes to launch its kernels.

    tflops: sustained in a step, 10^12 operations/s. step_floor_seconds: of any step.
    trial_seconds: of a trial beside its steps. worker_seconds: to start a worker and compile.
    """

    tflops: float = 20.0
    step_floor_seconds: float = 0.003
    trial_seconds: float = 0.1
    worker_seconds: float = 60.0

    def step_seconds(self, kind: StepKind) -> float:
        """Seconds of a step: by its operations, and no less than the floor."""
        return max(self.step_floor_seconds, step_flops(kind) / (self.tflops * 1e12))

    def evaluation_seconds(self, network: NetworkKind) -> float:
        """Seconds to evaluate an image."""
        by_operations = flops_per_image(network).forward / (self.tflops * 1e12)
        return max(self.step_floor_seconds / EVALUATION_BATCH, by_operations)

    def preparation_seconds(self, kinds: Iterable[StepKind]) -> float:
        """Seconds until a worker has started and compiled."""
        return self.worker_seconds

    def basis(self, networks: Iterable[NetworkKind]) -> str:
        """What is assumed, in words."""
        counted = ", ".join(
            f"{network.model} at {network.resolution} px "
            f"{flops_per_image(network).training / 1e9:.3g} GFLOP"
            for network in dict.fromkeys(networks)
        )
        return (
            f"assumed, not measured: each GPU sustains {self.tflops:g} TFLOP/s (to train on an "
            f"image takes {counted}), no step is shorter than "
            f"{1000 * self.step_floor_seconds:g} ms, a worker starts in {self.worker_seconds:g} s "
            f"and a trial in {self.trial_seconds:g} s"
        )


def estimate_sweep(
    trials: Sequence[Trial], speed: Speed, *, workers: int, machine: str, basis: str
) -> dict[str, Any]:
    """How long trials take on so many workers of one speed.

    The schedule is replayed with the seconds of every trial, so that workers which idle at the end
    are counted; every worker is taken to prepare every kind of step of the plan.

    Returns:
        ``machine``, ``workers`` (no more than trials), ``takes`` (words, such as
        ``about 3 days 4 h``), ``seconds`` (from start to end), ``longest_trial_seconds``; summed
        over all workers ``steps_seconds``, ``evaluation_seconds``, ``preparation_seconds`` and all
        three as ``work_seconds``; ``basis``, what the figures rest on.
    """
    workers = max(1, min(workers, len(trials)))
    kinds = steps_of_all(trials)
    preparation = speed.preparation_seconds(kinds) if trials else 0.0
    steps = evaluation = 0.0
    jobs = []
    for trial in trials:
        training, evaluating = _seconds_of(trial, speed)
        steps += training
        evaluation += evaluating
        jobs.append(Job(trial.id, trial.shape, training + evaluating + speed.trial_seconds))
    seconds = float(preparation + simulate(jobs, workers).makespan)
    preparing = preparation * workers + speed.trial_seconds * len(trials)
    return {
        "machine": machine,
        "workers": workers,
        "takes": in_words(seconds),
        "seconds": seconds,
        "longest_trial_seconds": max((job.work for job in jobs), default=0.0),
        "steps_seconds": steps,
        "evaluation_seconds": evaluation,
        "preparation_seconds": preparing,
        "work_seconds": steps + evaluation + preparing,
        "basis": basis,
    }


def dry_run_estimates(
    trials: Sequence[Trial],
    *,
    precision: str,
    workers: int = 1,
    threads: int | None = None,
    devices: Sequence[int | str] | None = None,
    seconds: float = 3.0,
    gpus: int = 8,
    gpu: AssumedGpu | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """How long trials will take: on this machine (measured now) and on GPUs (assumed).

    Args:
        trials: those to run; without any there is nothing to estimate and nothing is measured.
        precision: ``fp32``, ``bf16`` or ``auto``, as students are trained in.
        workers, threads, devices: as of `run_local`; without threads, an equal share of the cores.
        seconds: to measure each kind of step for.
        gpus, gpu: the machine that nobody measured, one worker a GPU.
        progress: called with (stage, done, total).

    Raises:
        RankError: a worker failed or can't be started.
    """
    if not trials:
        return []
    pace = measure_pace(
        trials,
        precision=precision,
        workers=min(workers, len(trials)),
        threads=threads,
        devices=devices,
        seconds=seconds,
        progress=progress,
    )
    return [
        estimate_here(trials, pace),
        estimate_on_gpus(trials, gpus, gpu or AssumedGpu()),
    ]


def estimate_here(trials: Sequence[Trial], pace: Pace) -> dict[str, Any]:
    """How long trials take on the machine, and with the workers, that the pace was measured on."""
    threads = "1 thread" if pace.threads == 1 else f"{pace.threads} threads"
    return estimate_sweep(
        trials,
        pace,
        workers=pace.workers,
        machine=f"{pace.environment['machine']}, {threads} a worker",
        basis=pace.basis(),
    )


def estimate_on_gpus(trials: Sequence[Trial], gpus: int, gpu: AssumedGpu) -> dict[str, Any]:
    """How long trials would take on GPUs with one worker each."""
    return estimate_sweep(
        trials,
        gpu,
        workers=gpus,
        machine=f"{gpus} GPUs, one worker each",
        basis=gpu.basis(network_of(trial) for trial in trials),
    )


def in_words(seconds: float) -> str:
    """``about 40 s``, ``about 12 min``, ``about 5 h 10 min``, ``about 3 days 4 h``."""
    if seconds < 59.5:
        return f"about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    if minutes < 24 * 60:
        return f"about {minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    days, hours = divmod(hours, 24)
    return f"about {days} {'day' if days == 1 else 'days'} {hours} h"


def _seconds_of(trial: Trial, speed: Speed) -> tuple[float, float]:
    """Seconds of a trial's steps and of its evaluations."""
    steps = sum(count * speed.step_seconds(kind) for kind, count in steps_of(trial).items())
    return steps, trial.evaluation_images * speed.evaluation_seconds(network_of(trial))
