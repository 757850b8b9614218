"""How fast this machine trains the students of a plan, measured by really taking their steps.

In: trials, and how many workers with how many threads. Out: a `Pace`, seconds by kind of step.
Worker processes are started as a sweep starts them and all measure at once; kinds of steps that
carry little work are scaled from the nearest measured one, and `Pace.basis` says so.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beton_builder.machine import usable_cores
from engine.errors import RankError
from engine.sweep.executors.local import run_local
from engine.sweep.executors.recording import Event
from engine.sweep.planning.trial import Trial
from engine.sweep.timing.pace_worker import MakePaceRunner, PaceTrial, cancel_meetings
from engine.sweep.timing.step_kinds import (
    NetworkKind,
    StepKind,
    flops_per_image,
    network_of,
    step_flops,
    steps_of,
    steps_of_all,
    steps_to_measure,
)
from engine.training.evaluate import EVALUATION_BATCH
from engine.training.launch import Progress, no_progress

MOST_MEASURED = 4
"""Kinds of steps that are measured; each costs its seconds and a compilation."""

BUSY_MACHINE = 0.9
"""Share of its core below which a worker was slowed down by others."""

STAGE = "measure the pace"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of a step (or of an evaluated image), and of compiling it in one worker."""

    seconds: float
    compile_seconds: float


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast each of several workers is while all of them train.

    steps: as measured. evaluations: of an image. start_seconds: from a worker's start until it
    takes trials. trial_seconds: of a trial beside its steps. worker_bytes: most memory of a worker.
    core_share: of a core that a training thread had; on an idle machine about 1.
    environment: precision, device, versions.
    """

    workers: int
    threads: int
    steps: Mapping[StepKind, Timing]
    evaluations: Mapping[NetworkKind, Timing]
    start_seconds: float
    trial_seconds: float
    worker_bytes: int
    core_share: float
    environment: Mapping[str, Any]

    def step_seconds(self, kind: StepKind) -> float:
        """Seconds of a step; of an unmeasured kind, scaled by its operations."""
        known = self._nearest(kind)
        return self.steps[known].seconds * step_flops(kind) / step_flops(known)

    def evaluation_seconds(self, network: NetworkKind) -> float:
        """Seconds to evaluate an image; of an unmeasured network, scaled by its operations."""
        if not self.evaluations:
            return 0.0
        known = network if network in self.evaluations else next(iter(self.evaluations))
        scale = flops_per_image(network).forward / flops_per_image(known).forward
        return self.evaluations[known].seconds * scale

    def preparation_seconds(self, kinds: Iterable[StepKind]) -> float:
        """Seconds until a worker has started and compiled all these steps and their evaluation."""
        kinds = list(kinds)
        steps = sum(self.steps[self._nearest(kind)].compile_seconds for kind in kinds)
        evaluation = max((each.compile_seconds for each in self.evaluations.values()), default=0.0)
        return self.start_seconds + steps + evaluation * len({kind.network for kind in kinds})

    def images_per_second(self, trial: Trial) -> float:
        """Images a second that one worker trains on, in this trial."""
        seconds = sum(count * self.step_seconds(kind) for kind, count in steps_of(trial).items())
        return trial.training_images / seconds

    def basis(self) -> str:
        """What was measured, in words."""
        networks = "; ".join(
            self._rates_in_words(network)
            for network in dict.fromkeys(k.network for k in self.steps)
        )
        words = (
            f"measured in {self.environment['precision']}, all workers at once: {networks}; "
            "other batches scaled by their work"
        )
        if self.environment["device"] == "cpu" and self.core_share < BUSY_MACHINE:
            words += (
                f"; other programs left the workers {self.core_share:.0%} of their cores, "
                "an idle machine is faster"
            )
        return words

    def _rates_in_words(self, network: NetworkKind) -> str:
        rates = [
            f"{kind.batch_size / timing.seconds:,.0f} at batch {kind.batch_size}"
            f"{'' if kind.compiled else ' (uncompiled)'}"
            for kind, timing in self.steps.items()
            if kind.network == network
        ]
        if network in self.evaluations:
            rates.append(f"{1 / self.evaluations[network].seconds:,.0f} in evaluation")
        return f"{network.model} at {network.resolution} px, images/s a worker: {', '.join(rates)}"

    def _nearest(self, kind: StepKind) -> StepKind:
        if kind in self.steps:
            return kind

        def distance(known: StepKind) -> tuple[bool, bool, bool, float]:
            return (
                known.network != kind.network,
                known.compiled != kind.compiled,
                known.augmentation != kind.augmentation,
                abs(math.log(known.batch_size / kind.batch_size)),
            )

        return min(self.steps, key=distance)


def measure_pace(
    trials: Sequence[Trial],
    *,
    precision: str,
    workers: int,
    threads: int | None = None,
    devices: Sequence[int | str] | None = None,
    seconds: float = 3.0,
    most: int = MOST_MEASURED,
    evaluation: bool = True,
    progress: Progress | None = None,
) -> Pace:
    """Take the steps of a plan on worker processes, all at once.

    Args:
        trials: one or more.
        precision: ``fp32``, ``bf16`` or ``auto``, as students are trained in.
        workers, threads, devices: as of `run_local`; without threads, an equal share of the cores.
        seconds: for each measured kind of step, and for each evaluation, besides compiling.
        most: kinds of steps that are measured; the others are scaled.
        evaluation: whether evaluation is measured, too, where the trials have any.
        progress: called with (stage, percent points done, percent points in all).

    Raises:
        RankError: a worker failed or can't be started.
    """
    kinds = steps_to_measure(steps_of_all(trials), most)
    batches = _evaluation_batches(trials, kinds) if evaluation else {}
    threads = threads or max(1, usable_cores() // workers)
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="engine-pace-") as folder:
        tasks = [
            PaceTrial(
                id=f"worker-{number}",
                folder=Path(folder),
                workers=workers,
                steps=tuple(kinds),
                evaluations=tuple(batches.items()),
                seconds=seconds,
            )
            for number in range(workers)
        ]
        listener = _Listener(Path(folder), progress or no_progress)
        run_local(
            tasks,
            MakePaceRunner(precision=precision),
            records.append,
            workers=workers,
            threads=threads,
            devices=devices,
            retries=0,
            on_event=listener,
        )
    _refuse_failures(records)
    return Pace(
        workers=workers,
        threads=threads,
        steps=_timings(kinds, [record["steps"] for record in records]),
        evaluations=_timings(list(batches), [record["evaluations"] for record in records]),
        start_seconds=listener.start_seconds,
        trial_seconds=max(record["trial_seconds"] for record in records),
        worker_bytes=max(record["peak_bytes"] for record in records),
        core_share=min(record["core_share"] for record in records),
        environment=records[0]["environment"],
    )


class _Listener:
    """Passes progress on, takes the time of starting, and sets free who waits for a lost worker."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.start_seconds = 0.0
        self._folder, self._progress = folder, progress
        self._started: dict[int, float] = {}
        self._seen = 0

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "worker_started":
            self._started[event["worker"]] = event["time"]
        elif kind == "worker_ready":
            spent = event["time"] - self._started[event["worker"]]
            self.start_seconds = max(self.start_seconds, spent)
        elif kind == "trial_progress":
            self._seen = max(self._seen, event["seen"])
            self._progress(STAGE, self._seen, event["total"])
        elif kind == "worker_died" or event.get("status") == "failed":
            cancel_meetings(self._folder)
        elif kind == "sweep_finished":
            self._progress(STAGE, 1, 1)


def _evaluation_batches(
    trials: Sequence[Trial], kinds: Iterable[StepKind]
) -> dict[NetworkKind, int]:
    """Networks whose evaluation is worth measuring, each with the size of a batch."""
    measured = {kind.network for kind in kinds}
    return {
        network_of(trial): min(EVALUATION_BATCH, trial.dataset.evaluation_images)
        for trial in trials
        if trial.evaluation_images and network_of(trial) in measured
    }


def _refuse_failures(records: Sequence[Mapping[str, Any]]) -> None:
    failed = [record["error"] for record in records if record["status"] != "done"]
    if failed:
        cause = next((error for error in failed if "MeetingCancelled" not in error), failed[0])
        raise RankError(
            f"the pace can't be measured; expected a trained step, found:\n{cause.strip()}\n"
            "`engine doctor` says what is missing here; fewer --workers need less memory."
        )


def _timings(
    kinds: Sequence[Any], found: Sequence[Sequence[Mapping[str, float]]]
) -> dict[Any, Any]:
    """Mean speed over the workers, and the longest compilation."""
    timings = {}
    for position, kind in enumerate(kinds):
        workers = [each[position] for each in found]
        timings[kind] = Timing(
            seconds=len(workers) / sum(1 / worker["seconds"] for worker in workers),
            compile_seconds=max(worker["compile_seconds"] for worker in workers),
        )
    return timings
