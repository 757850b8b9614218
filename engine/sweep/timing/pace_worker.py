"""Measures steps inside a worker process, while the other workers do the same.

A pace trial is handed to a worker like any trial, so it runs in a worker's process, on its cores,
with its threads. What is measured is the trainer that students are trained with, on images of
noise: the time of a step does not depend on what is seen. The workers wait for each other before
each measurement, since they share memory bandwidth and caches.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.loading import Batch
from engine.sweep.timing.step_kinds import NetworkKind, StepKind
from engine.training import Seeds, StudentRecipe, StudentTrainer
from engine.training.evaluate import count_correct
from engine.training.precision import Arithmetic, choose_arithmetic, keep_freed_memory
from engine.training.student import Subset

BATCHES_AN_EPOCH = 4
WARM_UP_STEPS = 2
ENDLESS = 10**6  # epochs; the clock ends the training
LOOK_EVERY = {"cpu": 1, "cuda": 32}  # steps; looking at the clock waits for the device
POLL = 0.002  # seconds between looks at who has come


class MeetingCancelled(Exception):
    """A worker that the others wait for is gone."""


@dataclass(frozen=True, kw_only=True)
class PaceTrial:
    """What one of several workers is to measure; each gets one such trial.

    folder: where the workers meet. evaluations: networks, each with the size of a batch.
    seconds: of steps of each kind.
    """

    id: str
    folder: Path
    workers: int
    steps: tuple[StepKind, ...]
    evaluations: tuple[tuple[NetworkKind, int], ...]
    seconds: float

    shape = "pace"
    work = 1.0

    @property
    def cell(self) -> dict[str, Any]:
        """It has no place in a grid."""
        return {}

    def identity(self) -> dict[str, Any]:
        """The part of its record that is known before it runs."""
        return {"kind": "pace", "id": self.id}


@dataclass(frozen=True, kw_only=True)
class MakePaceRunner:
    """Makes a runner in a worker; as `trial_runner.RunnerFactory`, without data."""

    precision: str

    def __call__(self) -> PaceRunner:
        keep_freed_memory()
        return PaceRunner(choose_arithmetic(self.precision))


class PaceRunner:
    """Measures steps and evaluations with the trainers of students."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        self._trainers: dict[tuple[NetworkKind, bool], StudentTrainer] = {}

    def run(self, trial: PaceTrial, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Returns a record: seconds a step, an evaluated image, a compilation, a trial's start.

        ``core_share``: how much of a core the training thread had while it was measured.
        """
        parts = len(trial.steps) + len(trial.evaluations)
        measurements = [
            _Measurement(trial, part, self.arithmetic.device, progress, parts)
            for part in range(parts)
        ]
        steps = [
            self._steps(kind, measurement)
            for kind, measurement in zip(trial.steps, measurements, strict=False)
        ]
        evaluations = [
            self._evaluation(network, batch_size, measurement)
            for (network, batch_size), measurement in zip(
                trial.evaluations, measurements[len(trial.steps) :], strict=True
            )
        ]
        return trial.identity() | {
            "status": "done",
            "steps": steps,
            "evaluations": evaluations,
            "trial_seconds": self._start_of_a_trial(trial.steps[0]),
            "core_share": sum(each.busy for each in measurements)
            / sum(each.elapsed for each in measurements),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "environment": self.arithmetic.describe(),
        }

    def _steps(self, kind: StepKind, measurement: _Measurement) -> dict[str, float]:
        trainer = self._trainer_of(kind.network, compiled=kind.compiled)
        before = trainer.network.compile_seconds
        subset = synthetic_subset(kind.network, BATCHES_AN_EPOCH * kind.batch_size)
        with contextlib.suppress(_EnoughError):
            trainer.train(
                subset, _recipe(kind, ENDLESS), Seeds(), _no_evaluation, on_step=measurement.on_step
            )
        return {
            "seconds": measurement.seconds_each,
            "compile_seconds": trainer.network.compile_seconds - before,
        }

    def _evaluation(
        self, network: NetworkKind, batch_size: int, measurement: _Measurement
    ) -> dict[str, float]:
        trainer = self._trainer_of(network, compiled=True)
        before = trainer.network.compile_seconds
        images = synthetic_images(network, batch_size)
        ids = torch.arange(batch_size)
        batch = Batch(images.to(trainer.network.device), ids % network.num_classes, ids)
        with contextlib.suppress(_EnoughError):
            for number in range(1, ENDLESS):
                measurement.on_step(number, count_correct(trainer.network, [batch]))
        return {
            "seconds": measurement.seconds_each / batch_size,
            "compile_seconds": trainer.network.compile_seconds - before,
        }

    def _start_of_a_trial(self, kind: StepKind) -> float:
        """Seconds that a trial takes beside its steps: initial weights, optimiser, first order."""
        trainer = self._trainer_of(kind.network, compiled=kind.compiled)
        subset = synthetic_subset(kind.network, kind.batch_size)
        started = time.perf_counter()
        outcome = trainer.train(subset, _recipe(kind, 1), Seeds(), _no_evaluation)
        spent = time.perf_counter() - started
        return max(0.0, spent - sum(outcome["seconds"].values()))

    def _trainer_of(self, network: NetworkKind, *, compiled: bool) -> StudentTrainer:
        key = network, compiled
        if key not in self._trainers:
            self._trainers[key] = StudentTrainer(
                network.model,
                num_classes=network.num_classes,
                channels=network.channels,
                resolution=network.resolution,
                mean=(0.5,) * network.channels,
                std=(0.25,) * network.channels,
                arithmetic=self.arithmetic
                if compiled
                else replace(self.arithmetic, compiled=False),
            )
        return self._trainers[key]


class _EnoughError(Exception):
    """The clock has run out; ends an endless training."""


class _Measurement:
    """Times steps from the moment that every worker is warm, until its seconds are over."""

    def __init__(
        self,
        trial: PaceTrial,
        part: int,
        device: str,
        progress: Callable[[int, int], None],
        parts: int,
    ) -> None:
        self.seconds_each = float("nan")
        self.elapsed = self.busy = 0.0
        self._trial, self._part, self._parts, self._progress = trial, part, parts, progress
        self._look_every = LOOK_EVERY[device]
        self._started = self._busy_before = 0.0

    def on_step(self, step: int, result: Tensor) -> None:
        """Called after every step, counted from 1; raises _EnoughError."""
        if step < WARM_UP_STEPS:
            return
        timed = step - WARM_UP_STEPS
        if timed % self._look_every:
            return
        float(result)  # a GPU has finished the step only now
        if timed == 0:
            meet(self._trial, self._part)
            self._started, self._busy_before = time.perf_counter(), time.thread_time()
            return
        self.elapsed = time.perf_counter() - self._started
        share = min(self.elapsed / self._trial.seconds, 1.0)
        self._progress(round(100 * (self._part + share)), 100 * self._parts)
        if share == 1.0:
            self.busy = time.thread_time() - self._busy_before
            self.seconds_each = self.elapsed / timed
            raise _EnoughError


def meet(trial: PaceTrial, part: int) -> None:
    """Wait until every worker is about to measure its ``part``-th part.

    Raises:
        MeetingCancelled: one of them is gone.
    """
    (trial.folder / f"{part}.{trial.id}").touch()
    while len(list(trial.folder.glob(f"{part}.*"))) < trial.workers:
        if (trial.folder / "cancelled").exists():
            raise MeetingCancelled("another worker is gone")
        time.sleep(POLL)


def cancel_meetings(folder: Path) -> None:
    """Have nobody wait any longer."""
    (folder / "cancelled").touch()


def synthetic_images(network: NetworkKind, count: int) -> Tensor:
    """Noise, uint8 (count, c, h, w), in the memory layout of resident images."""
    shape = (count, network.resolution, network.resolution, network.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def synthetic_subset(network: NetworkKind, count: int) -> Subset:
    """A training set of noise with soft labels."""
    generator = np.random.default_rng(1)
    targets = generator.random((count, network.num_classes), dtype=np.float32)
    return Subset(
        images_nchw=synthetic_images(network, count),
        targets_nk=torch.from_numpy(targets / targets.sum(axis=1, keepdims=True)),
        ids=np.arange(count),
    )


def _recipe(kind: StepKind, epochs: int) -> StudentRecipe:
    return StudentRecipe.model_validate(
        {
            "model": kind.network.model,
            "epochs": epochs,
            "batch_size": kind.batch_size,
            "evaluations": 1,
            "augmentation": kind.augmentation,
        }
    )


def _no_evaluation(_network: object) -> dict[str, float | None]:
    return {"test": None, "validation": None}
