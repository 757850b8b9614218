"""How a machine is shared out: by measurement, within its memory, and the same after a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pace_cases import made_pace, made_trial

from beton_builder import machine
from engine.errors import RankError
from engine.sweep.dry_run import estimate_trials
from engine.sweep.execution import Execution
from engine.sweep.timing import measured_packing as module
from engine.sweep.timing.measured_packing import (
    fastest_packing,
    image_bytes,
    measured_packing,
    packing_of_gpus,
)
from engine.sweep.timing.pace import Pace
from engine.sweep.timing.packing import (
    WORTH_MORE_WORKERS,
    Packing,
    choose_packing,
    recorded_packing,
)
from engine.training.progress import no_progress

PLENTY = 10**15


class Machine:
    """Measures by a table of images/s a worker; remembers what it was asked."""

    def __init__(
        self,
        rates: dict[tuple[int, int], float],
        worker_bytes: int = 10**9,
        core_share: float = 1.0,
    ) -> None:
        self.rates, self.worker_bytes, self.core_share = rates, worker_bytes, core_share
        self.asked: list[tuple[int, int]] = []

    def __call__(self, workers: int, threads: int) -> Pace:
        self.asked.append((workers, threads))
        rate = self.rates[workers, threads]
        if not rate:
            raise RankError("too little memory")
        return made_pace(
            {10: 10 / rate},
            workers=workers,
            threads=threads,
            worker_bytes=self.worker_bytes,
            core_share=self.core_share,
        )


def trials(count: int = 100) -> list:
    return [made_trial(seed=seed) for seed in range(count)]


def test_the_packing_that_trains_most_images_in_all_is_chosen() -> None:
    machine = Machine({(1, 4): 1000, (2, 2): 700, (4, 1): 300})
    packing = fastest_packing(trials(), 4, machine, PLENTY)
    assert (packing.workers, packing.threads) == (2, 2)
    assert packing.rates == {(1, 4): 1000, (2, 2): 1400, (4, 1): 1200}
    assert packing.reason == "2 workers × 2 threads: 1,400 images/s (1 × 4: 1,000, 4 × 1: 1,200)"
    assert machine.asked == [(1, 4), (2, 2), (4, 1)]


def test_more_workers_than_fit_into_memory_are_not_tried() -> None:
    machine = Machine({(1, 4): 100, (2, 2): 100, (4, 1): 100}, worker_bytes=3 * 10**9)
    packing = fastest_packing(trials(), 4, machine, 10 * 10**9)
    assert machine.asked == [(1, 4), (2, 2)]
    assert packing.workers == 2
    assert packing.reason.endswith("at most 2 of 3.0 GB each fit into 10.0 GB of free memory")


def test_one_worker_runs_however_little_memory_there_is() -> None:
    packing = fastest_packing(trials(), 2, Machine({(1, 2): 100}), free_bytes=10**6)
    assert (packing.workers, packing.threads) == (1, 2)


def test_a_packing_whose_workers_die_stands_still() -> None:
    packing = fastest_packing(trials(), 2, Machine({(1, 2): 100, (2, 1): 0}), PLENTY)
    assert (packing.workers, packing.rates[2, 1]) == (1, 0)


def test_a_measurement_on_a_busy_machine_says_so() -> None:
    machine = Machine({(1, 2): 100, (2, 1): 200}, core_share=0.4)
    packing = fastest_packing(trials(), 2, machine, PLENTY)
    assert packing.reason.endswith("left the workers 40% of their cores meanwhile")


def test_a_machine_on_which_nothing_runs_is_an_error() -> None:
    with pytest.raises(RankError):
        fastest_packing(trials(), 2, Machine({(1, 2): 0}), PLENTY)


def test_fewer_trials_than_cores_leave_no_worker_without_one() -> None:
    machine = Machine({(1, 4): 100, (2, 2): 100})
    assert fastest_packing(trials(3), 4, machine, PLENTY).workers == 2
    assert machine.asked == [(1, 4), (2, 2)]


def test_a_worker_keeps_its_subsets_and_the_images_it_evaluates_on() -> None:
    pixels = 3 * 8 * 8
    assert image_bytes([made_trial(ipc=1), made_trial(ipc=5)]) == 2 * 50 * pixels
    evaluated = made_trial(ipc=1, evaluation_images=700)
    assert image_bytes([evaluated]) == (2 * 10 + 700) * pixels


@pytest.mark.parametrize("asked", [{}, {"threads": 2}, {"gpus_per_worker": 0.5}])
def test_on_ray_the_cluster_has_the_say_on_how_many_workers_run(asked: dict[str, Any]) -> None:
    execution = Execution(executor="ray", **asked)
    settled, packing = execution.packed(
        trials(4), precision="fp32", remembered=None, progress=no_progress
    )
    assert (settled, packing) == (execution, None)


@pytest.mark.parametrize(
    ("threads", "num_trials", "workers"),
    [(1, 100, 4), (2, 100, 2), (3, 100, 1), (8, 100, 1), (1, 3, 3)],
)
def test_threads_alone_say_how_many_workers_run_and_are_estimated(
    monkeypatch: pytest.MonkeyPatch, threads: int, num_trials: int, workers: int
) -> None:
    monkeypatch.setattr("engine.sweep.execution.usable_cores", lambda: 4)
    asked = Execution(threads=threads)
    settled, packing = asked.packed(
        trials(num_trials), precision="fp32", remembered=None, progress=no_progress
    )
    assert (settled.workers, settled.threads, packing) == (workers, threads, None)
    estimated: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "engine.sweep.dry_run.dry_run_estimates", lambda _trials, **given: estimated.append(given)
    )
    estimate_trials(asked, trials(num_trials), precision="fp32", progress=no_progress)
    assert [(each["workers"], each["threads"]) for each in estimated] == [(workers, threads)]


def test_gpus_get_workers_without_a_measurement() -> None:
    packing = packing_of_gpus(4, 2, 32)
    assert (packing.workers, packing.threads, packing.rates) == (8, 4, {})
    assert packing.reason == "8 workers × 4 threads; 2 for each of 4 GPUs"
    assert packing_of_gpus(8, 1, 4).threads == 1


def test_a_resumed_sweep_keeps_its_packing_and_measures_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = machine.usable_cores()
    began = Packing(workers=cores, threads=1, rates={(cores, 1): 8.25}, because="so it was")
    head = {"packing": json.loads(json.dumps(began.record()))}
    monkeypatch.delattr(module, "measure_pace")
    assert measured_packing(trials(1), precision="fp32", remembered=head["packing"]) == began


def test_a_packing_of_another_machine_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    began = Packing(workers=64, threads=2, rates={}).record() | {"cores": 128}
    assert recorded_packing(began) is None
    assert recorded_packing(None) is None
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "measure_pace", lambda trials, **asked: made_pace())
    packing = measured_packing(trials(1), precision="fp32", remembered=began)
    assert (packing.workers, packing.threads) == (1, machine.usable_cores())


def test_a_quota_of_cpu_time_is_shared_out_like_so_many_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = Packing(workers=64, threads=1, rates={}).record() | {"cores": 64}
    monkeypatch.setattr(machine, "allowed_cores", lambda: list(range(64)))
    monkeypatch.setattr(machine, "cpu_quota", lambda root: 3.2)
    assert machine.usable_cores() == 4
    asked: list[tuple[int, int]] = []

    def measured(trials: list, *, workers: int, threads: int, **_: object) -> Pace:
        asked.append((workers, threads))
        return made_pace({10: workers}, workers=workers, threads=threads)

    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "measure_pace", measured)
    monkeypatch.setattr(module, "free_memory", lambda: PLENTY)
    packing = measured_packing(trials(), precision="fp32", remembered=began)
    assert asked == [(1, 4), (2, 2), (4, 1)]
    record = packing.record()
    assert record["cores"] == 4
    assert recorded_packing(record) == packing
    monkeypatch.setattr(machine, "cpu_quota", lambda root: 1.5)
    assert recorded_packing(record) is None


@given(st.integers(1, 48), st.integers(1, 64), st.randoms(use_true_random=False))
def test_a_packing_uses_all_cores_and_is_nearly_the_fastest(cores, most, random) -> None:
    packing = choose_packing(cores, lambda *_: random.uniform(1, 2), most_workers=most)
    assert packing.workers * packing.threads == cores
    assert packing.workers <= most
    fastest = max(packing.rates.values())
    assert packing.rates[packing.workers, packing.threads] * WORTH_MORE_WORKERS >= fastest
