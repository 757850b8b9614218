"""Estimates: hand-computed cases, what is assumed says so, more work never takes less time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pace_cases import TINY, made_pace, made_trial, tiny_step

from cli.presentation import as_text
from engine.sweep.timing import estimate
from engine.sweep.timing.estimate import (
    AssumedGpu,
    dry_run_estimates,
    estimate_here,
    estimate_on_gpus,
    estimate_sweep,
    in_words,
)
from engine.sweep.timing.step_kinds import (
    NetworkKind,
    StepKind,
    flops_per_image,
    steps_of,
    steps_of_all,
    steps_to_measure,
)

CIFAR100 = NetworkKind("convnet-d3", 32, 3, 100)


def paper_plan(epochs: int = 3000) -> list:
    """The students of `paper/epoch-sweep-cifar100`: eight expert epochs and hard labels."""
    return [
        made_trial(
            ipc=ipc,
            seed=cell,
            num_classes=100,
            evaluation_images=15_000,
            model="convnet-d3",
            resolution=32,
            epochs=epochs,
            evaluations=15,
        )
        for ipc in (1, 5, 10, 50, 100)
        for cell in range(9)
    ]


def convnet_flops(network: NetworkKind, depth: int, width: int) -> int:
    """Two for each multiplication of 3 × 3 convolutions and of the last layer."""
    flops, channels, side = 0, network.channels, network.resolution
    for _ in range(depth):
        flops += 2 * side * side * 9 * channels * width
        channels, side = width, side // 2
    return flops + 2 * width * side * side * network.num_classes


def test_an_epoch_is_full_batches_and_a_partial_one_that_is_compiled_where_it_recurs() -> None:
    few = made_trial(ipc=30, batch_size=128, epochs=5)  # 300 images
    assert steps_of(few) == {tiny_step(128): 10, tiny_step(44): 5}
    many = made_trial(ipc=30, batch_size=16, epochs=5)  # 18 full batches
    assert steps_of(many) == {tiny_step(16): 90, tiny_step(12, compiled=False): 5}
    long = made_trial(ipc=30, batch_size=16, epochs=100)
    assert steps_of(long) == {tiny_step(16): 1800, tiny_step(12): 100}
    assert steps_of(made_trial(ipc=1, batch_size=128, epochs=5)) == {tiny_step(10): 5}


@pytest.mark.parametrize(
    ("network", "depth", "width"),
    [
        (CIFAR100, 3, 128),
        (NetworkKind("convnet-d1-w4", 8, 3, 10), 1, 4),
        (NetworkKind("convnet-d4-w32", 64, 1, 7), 4, 32),
    ],
)
def test_operations_are_those_of_the_convolutions_and_the_last_layer(
    network: NetworkKind, depth: int, width: int
) -> None:
    forward = convnet_flops(network, depth, width)
    first_layer = 2 * network.resolution**2 * 9 * network.channels * width
    assert flops_per_image(network).forward == forward
    # Backward: by weights and by inputs, but nobody asks for the gradient of the images.
    assert flops_per_image(network).training == 3 * forward - first_layer


def test_an_estimate_is_the_sum_of_its_parts() -> None:
    trials = [
        made_trial(
            ipc=30, seed=seed, batch_size=128, epochs=5, evaluations=2, evaluation_images=1000
        )
        for seed in range(2)
    ]
    pace = made_pace(
        {128: 0.1, 44: 0.05}, evaluation=0.001, start=3, compiling=1.5, trial_seconds=0.25
    )
    found = estimate_sweep(trials, pace, workers=1, machine="here", basis="a clock")
    steps = 2 * 5 * (2 * 0.1 + 0.05)
    evaluation = 2 * 2 * 1000 * 0.001
    preparation = 3 + 3 * 1.5 + 2 * 0.25
    assert found["steps_seconds"] == pytest.approx(steps)
    assert found["evaluation_seconds"] == pytest.approx(evaluation)
    assert found["preparation_seconds"] == pytest.approx(preparation)
    assert found["work_seconds"] == found["seconds"] == pytest.approx(14.5)
    assert found["longest_trial_seconds"] == pytest.approx(1.25 + 2 + 0.25)
    assert found["takes"] == f"about {round(steps + evaluation + preparation)} s"


def test_workers_that_idle_at_the_end_are_counted() -> None:
    """Trials of 3, 2 and 2 s on two workers end after 4 s, when 3.5 s would be an equal share."""
    trials = [made_trial(seed=seed, epochs=epochs) for seed, epochs in enumerate((300, 200, 200))]
    found = estimate_sweep(
        trials, made_pace({10: 0.01}, start=1), workers=2, machine="here", basis="a clock"
    )
    assert found["seconds"] == pytest.approx(1 + 4)
    assert found["work_seconds"] == pytest.approx(2 * 1 + 7)


def test_more_workers_than_trials_are_not_started() -> None:
    found = estimate_sweep(
        [made_trial()], made_pace(start=1), workers=8, machine="here", basis="a clock"
    )
    assert found["workers"] == 1
    assert found["preparation_seconds"] == 1


def test_what_was_not_measured_is_scaled_by_its_operations() -> None:
    pace = made_pace({100: 0.2, 10: 0.05})
    assert pace.step_seconds(tiny_step(50)) == pytest.approx(0.1)
    assert pace.step_seconds(tiny_step(12)) == pytest.approx(0.06)
    wider = NetworkKind("convnet-d1-w16", 8, 3, 10)
    ratio = flops_per_image(wider).training / flops_per_image(TINY).training
    assert ratio == pytest.approx(4, rel=0.01)
    assert pace.step_seconds(StepKind(wider, 10, True, "dsa")) == pytest.approx(0.05 * ratio)


def test_an_uncompiled_step_is_scaled_from_an_uncompiled_one() -> None:
    pace = made_pace({100: 0.1})
    uncompiled = tiny_step(20, compiled=False)
    pace.steps[uncompiled] = type(pace.steps[tiny_step(100)])(seconds=0.4, compile_seconds=0)
    assert pace.step_seconds(tiny_step(90, compiled=False)) == pytest.approx(0.4 * 90 / 20)


def test_the_kinds_that_carry_the_work_are_measured() -> None:
    steps = steps_of_all(paper_plan(epochs=99))  # from 100 on, partial batches are compiled
    measured = steps_to_measure(steps, 4)
    assert measured[0] == StepKind(CIFAR100, 256, True, "dsa")
    assert StepKind(CIFAR100, 136, False, "dsa") in measured  # few images, but slow ones
    assert len(measured) == 4 < len(steps)
    assert steps_to_measure(steps, 1) == measured[:1]
    assert set(steps_to_measure({measured[0]: 1000, measured[1]: 1}, 4)) == {measured[0]}


def test_every_network_of_a_plan_is_measured_before_the_rest_of_one() -> None:
    trials = [
        made_trial(ipc=ipc, model=model, batch_size=16, epochs=epochs)
        for model, epochs in (("convnet-d1-w4", 20), ("convnet-d1-w8", 5))
        for ipc in (3, 4, 5)
    ]
    measured = steps_to_measure(steps_of_all(trials), 2)
    assert {kind.network.model for kind in measured} == {"convnet-d1-w4", "convnet-d1-w8"}


def test_the_steps_of_a_gpu_have_a_floor_and_then_go_by_operations() -> None:
    gpu = AssumedGpu(tflops=10, step_floor_seconds=0.005)
    training = 3 * convnet_flops(CIFAR100, 3, 128) - 2 * 32 * 32 * 9 * 3 * 128
    assert gpu.step_seconds(StepKind(CIFAR100, 100, True, "dsa")) == 0.005
    assert gpu.step_seconds(StepKind(CIFAR100, 256, True, "dsa")) == pytest.approx(
        256 * training / 10e12
    )
    assert gpu.evaluation_seconds(CIFAR100) == pytest.approx(
        max(0.005 / 500, convnet_flops(CIFAR100, 3, 128) / 10e12)
    )


def test_the_papers_plan_on_eight_gpus_follows_from_the_stated_assumptions() -> None:
    """By hand: steps an epoch are 1, 2, 4, 20 and 40; those of 256 images go by operations."""
    trials = paper_plan()
    found = estimate_on_gpus(trials, 8, AssumedGpu())
    by_operations = 256 * 298_500_096 / 20e12
    full, small = 1 + 3 + 19 + 39, 1 + 4  # of one trial of each IPC: 256 images, and fewer
    # 244 and 232 images are above the floor of 3 ms, too; 100, 136 and 16 are not.
    near = (244 + 232) / 256 * by_operations + 3 * 0.003
    assert full + small == 67
    assert found["steps_seconds"] == pytest.approx(9 * 3000 * (full * by_operations + near))
    assert found["workers"] == 8
    assert found["seconds"] >= found["work_seconds"] / 8
    assert found["machine"] == "8 GPUs, one worker each"


def test_what_is_assumed_is_labelled_and_said_in_words() -> None:
    basis = estimate_on_gpus(
        paper_plan(), 8, AssumedGpu(tflops=33, step_floor_seconds=0.0045, worker_seconds=12)
    )["basis"]
    assert basis.startswith("assumed, not measured")
    for words in ("33 TFLOP/s", "convnet-d3 at 32 px 0.299 GFLOP", "4.5 ms", "in 12 s"):
        assert words in basis


def test_what_was_measured_says_so_and_that_the_machine_was_busy() -> None:
    trials = [made_trial()]
    idle = estimate_here(trials, made_pace({100: 0.5}, evaluation=0.001, core_share=0.99))
    assert idle["basis"] == (
        "measured in fp32, all workers at once: convnet-d1-w4 at 8 px, images/s a worker: 200 at "
        "batch 100, 1,000 in evaluation; other batches scaled by their work"
    )
    busy = estimate_here(trials, made_pace({100: 0.5}, core_share=0.41))
    assert "other programs left the workers 41% of their cores" in busy["basis"]


def test_a_dry_run_has_a_measured_and_an_assumed_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(trials, **options):
        asked.append(options)
        return made_pace(workers=options["workers"], threads=2)

    monkeypatch.setattr(estimate, "measure_pace", measure)
    found = dry_run_estimates([made_trial()], precision="fp32", workers=4, threads=2)
    assert [row["basis"].split()[0] for row in found] == ["measured", "assumed,"]
    assert asked[0]["workers"] == 1  # one trial keeps one worker busy
    assert found[0]["machine"] == "a machine, 2 threads a worker"
    assert json.loads(json.dumps(found)) == found
    assert {type(row["seconds"]) for row in found} == {float}
    assert "assumed, not measured" in as_text({"estimates": found})


def test_a_finished_sweep_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(estimate, "measure_pace")
    assert dry_run_estimates([], precision="fp32") == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 s"),
        (40, "about 40 s"),
        (59.7, "about 1 min"),
        (12 * 60 + 20, "about 12 min"),
        (3599, "about 1 h 00 min"),
        (5 * 3600 + 600, "about 5 h 10 min"),
        (86_390, "about 1 day 0 h"),
        (3 * 86_400 + 4 * 3600, "about 3 days 4 h"),
        (3 * 86_400 - 60, "about 3 days 0 h"),
    ],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


lengths = st.lists(st.integers(1, 500), min_size=1, max_size=30)


@given(lengths, st.integers(1, 500), st.integers(1, 8))
def test_one_trial_more_never_takes_less_time(
    epochs: list[int], another: int, workers: int
) -> None:
    assert seconds_of([*epochs, another], workers) >= seconds_of(epochs, workers) - 1e-9


@given(lengths, st.integers(1, 8))
def test_one_worker_more_never_takes_more_time(epochs: list[int], workers: int) -> None:
    assert seconds_of(epochs, workers + 1) <= seconds_of(epochs, workers) + 1e-9


@given(lengths, st.integers(1, 8))
def test_no_worker_idles_while_a_trial_waits(epochs: list[int], workers: int) -> None:
    """Graham's bound: the last trial began before an equal share of the others had passed."""
    share, longest = sum(epochs) * 0.01 / workers, max(epochs) * 0.01
    found = seconds_of(epochs, workers)
    assert max(share, longest) - 1e-9 <= found <= share + longest * (1 - 1 / workers) + 1e-9


def seconds_of(epochs: list[int], workers: int) -> float:
    trials = [made_trial(seed=seed, epochs=count) for seed, count in enumerate(epochs)]
    speed = made_pace({10: 0.01})
    return estimate_sweep(trials, speed, workers=workers, machine="", basis="")["seconds"]
