"""The measured pace is that of the steps, of all workers at once, and predicts a sweep."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pace_cases import TINY, made_trial, pace_trial, tiny_step

import beton_builder
import engine
from engine.errors import RankError
from engine.sweep import load_grids, plan_trials
from engine.sweep.timing import pace as module
from engine.sweep.timing import pace_worker
from engine.sweep.timing.estimate import estimate_here
from engine.sweep.timing.pace import measure_pace
from engine.sweep.timing.pace_worker import (
    MakePaceRunner,
    MeetingCancelled,
    PaceRunner,
    PaceTrial,
    cancel_meetings,
    meet,
)
from engine.training.precision import choose_arithmetic
from engine.training.step import TrainingStep

NAP = 0.02


@dataclass(frozen=True)
class MakeFailing:
    """A runner whose second worker ends in the middle of a measurement."""

    how: str

    def __call__(self) -> Failing:
        return Failing(self.how)


@dataclass(frozen=True)
class Failing:
    how: str

    def run(self, trial: PaceTrial, progress: Callable[[int, int], None]) -> dict[str, Any]:
        if trial.id == "worker-1":
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("a bug in a step")
        meet(trial, 0)
        raise AssertionError("it met a worker that is gone")


def run_here(trial: PaceTrial, progress: Callable[[int, int], None] = lambda *_: None) -> dict:
    return PaceRunner(choose_arithmetic("fp32")).run(trial, progress)


def test_the_time_of_a_step_is_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and evaluations that are slower by a nap are measured slower by a nap."""
    step, count = TrainingStep.__call__, pace_worker.count_correct

    def slow_step(self, *given, **options):
        time.sleep(NAP)
        return step(self, *given, **options)

    def slow_count(*given):
        time.sleep(NAP)
        return count(*given)

    monkeypatch.setattr(TrainingStep, "__call__", slow_step)
    monkeypatch.setattr(pace_worker, "count_correct", slow_count)
    record = run_here(pace_trial(tmp_path, evaluations=((TINY, 20),)))
    assert record["steps"][0]["seconds"] > NAP
    assert record["evaluations"][0]["seconds"] > NAP / 20  # of each of its images


def test_every_kind_of_step_is_taken_with_its_batch_and_augmentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    step = TrainingStep.__call__

    def noted(self, images, targets, **options):
        seen.add((*images.shape, targets.shape[1], options["operation"] is None))
        return step(self, images, targets, **options)

    monkeypatch.setattr(TrainingStep, "__call__", noted)
    plain = tiny_step(7)._replace(augmentation="none")
    record = run_here(pace_trial(tmp_path, steps=(tiny_step(10), plain)))
    assert seen == {(10, 3, 8, 8, 10, False), (7, 3, 8, 8, 10, True)}
    assert len(record["steps"]) == 2


def test_progress_goes_up_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    trial = pace_trial(tmp_path, steps=(tiny_step(10), tiny_step(4)), evaluations=((TINY, 5),))
    run_here(trial, lambda *seen: told.append(seen))
    assert told == sorted(told)
    assert told[-1] == (300, 300)


def test_nobody_begins_before_all_have_come(tmp_path: Path) -> None:
    begun = []

    def come(name: str) -> None:
        meet(pace_trial(tmp_path, id=name, workers=3), part=0)
        begun.append(name)

    threads = [threading.Thread(target=come, args=(name,)) for name in "abc"]
    for thread in threads[:2]:
        thread.start()
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.001)
    time.sleep(10 * pace_worker.POLL)
    assert begun == []
    threads[2].start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(begun) == ["a", "b", "c"]


def test_nobody_waits_for_a_worker_that_is_gone(tmp_path: Path) -> None:
    cancel_meetings(tmp_path)
    with pytest.raises(MeetingCancelled):
        meet(pace_trial(tmp_path, workers=2), part=0)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("killed", "SIGKILL"),
        pytest.param("raised", "ZeroDivisionError: a bug in a step", marks=pytest.mark.long),
    ],
)
def test_a_worker_that_fails_ends_the_measurement_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, how: str, reason: str
) -> None:
    monkeypatch.setattr(module, "MakePaceRunner", lambda precision: MakeFailing(how))
    with pytest.raises(RankError, match=reason):
        measure_pace([made_trial()], precision="fp32", workers=2, threads=1)


def test_workers_measure_at_once_and_their_pace_is_reported() -> None:
    told = []
    trials = [made_trial(ipc=4, batch_size=20, evaluation_images=60)]  # two steps an epoch
    pace = measure_pace(
        trials,
        precision="fp32",
        workers=2,
        threads=1,
        seconds=0.2,
        progress=lambda *given: told.append(given),
    )
    assert (pace.workers, pace.threads) == (2, 1)
    assert set(pace.steps) == {tiny_step(20)}
    assert set(pace.evaluations) == {TINY}
    assert pace.environment["precision"] == "fp32"
    assert 0 < pace.core_share <= 1.1
    assert pace.start_seconds > 0
    assert 50e6 < pace.worker_bytes < 50e9  # torch alone takes more than the one
    assert {stage for stage, _, _ in told} == {"measure the pace"}
    assert told[-1][1] == told[-1][2]
    assert pace.images_per_second(trials[0]) == pytest.approx(
        20 / pace.steps[tiny_step(20)].seconds
    )


def test_the_speed_of_workers_is_their_mean_speed() -> None:
    """Two workers of 10 and 30 steps/s take 40 steps/s together: 1 / 20 s a step each."""
    found = [[{"seconds": 0.1, "compile_seconds": 2}], [{"seconds": 1 / 30, "compile_seconds": 5}]]
    timing = module._timings(["step"], found)["step"]
    assert (timing.seconds, timing.compile_seconds) == (pytest.approx(1 / 20), 5)


def test_a_runner_survives_the_way_to_a_worker() -> None:
    import pickle

    assert pickle.loads(pickle.dumps(MakePaceRunner(precision="bf16"))).precision == "bf16"
    trial = pace_trial(Path("somewhere"))
    assert pickle.loads(pickle.dumps(trial)) == trial


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_the_measured_pace_predicts_the_time_of_a_sweep(
    small_data: Path, tmp_path: Path, workers: int
) -> None:
    asked = {
        "labels": ["hard"],
        "ipc": [10, 30],
        "seeds": [0, 1],
        "student.model": "convnet-d2-w16",
        "student.epochs": 150,
        "student.batch_size": 32,
        "student.precision": "fp32",
    }
    dataset = beton_builder.open_dataset(small_data)
    trials = plan_trials(load_grids(None, asked), dataset, None)
    pace = measure_pace(trials, precision="fp32", workers=workers, threads=1, seconds=3)
    estimate = estimate_here(trials, pace)
    started = time.perf_counter()
    swept = engine.sweep_students(
        small_data, None, tmp_path / "sweep", workers=workers, threads=1, overrides=asked
    )
    spent = time.perf_counter() - started
    assert (swept["ran"], swept["failed"]) == (len(trials), 0)
    assert spent / 3 < estimate["seconds"] < spent * 3
    assert spent / 3 < swept["seconds_by_part"]["steps"] / workers  # it measured what took the time
    steps = estimate["steps_seconds"]
    assert swept["seconds_by_part"]["steps"] / 3 < steps < swept["seconds_by_part"]["steps"] * 3
