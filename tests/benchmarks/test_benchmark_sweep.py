"""What the suite `sweep` measures with: trials that do nothing, the plain student, arithmetic."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import benchmarks
import engine
from benchmarks import plain_student, sweep, sweep_overhead, sweep_real, sweep_restart
from benchmarks.errors import BenchmarkError, DataMissing, PeerMissing
from benchmarks.noop_trials import NoOpRunner, noop_trials
from benchmarks.sweep_overhead import NoOpSweep
from benchmarks.sweep_real import Size, Spent, compare, sized
from engine.models import build_model
from engine.sweep.executors.local import run_local
from engine.sweep.executors.recording import Outcome
from engine.sweep.ledger import Ledger, verify_sweep
from engine.training import Seeds, StudentRecipe, StudentTrainer
from engine.training.precision import choose_arithmetic
from engine.training.student import Subset

ROW = {"name", "value", "unit", "peer", "peer_value", "ratio", "bar", "limit"}
STARTED = {"trials", "workers_ready_seconds"}
FURTHER_KEYS = {
    "trial_overhead_local": {"durable_file_ms", *STARTED},
    "trial_overhead_ray": {"durable_file_ms", "bare_call_ms", "ray_init_seconds", *STARTED},
    "restart_10000_trials": {"function_seconds", "import_seconds", "trials"},
    "makespan_1000_workers": {"with_jitter", "trials", "workers", "shapes_prepared"},
    "sweep_60_trials": {
        "step_factor",
        "overhead_factor",
        "images_per_second",
        "peer_images_per_second",
        "scaled_from",
        "peer_scaled_from",
    },
}
LIMITS = {
    "trial_overhead_local": 1.5,
    "trial_overhead_ray": 3.0,
    "restart_10000_trials": 3.0,
    "makespan_1000_workers": 1.03,
}


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def check_row(row: dict[str, Any]) -> None:
    assert json.loads(json.dumps(row)) == row
    further = FURTHER_KEYS[row["name"]]
    assert row.keys() == ROW | further
    assert all(row[key] > 0 for key in {"value", "ratio", *further})
    if row["name"] in LIMITS:
        assert (row["peer"], row["bar"], row["limit"]) == (None, 1.0, LIMITS[row["name"]])
        assert row["ratio"] == row["limit"] / row["value"]
    else:
        assert (row["bar"], row["limit"]) == (6.0, None)
        assert row["ratio"] == row["peer_value"] / row["value"]


@pytest.mark.parametrize("name", ["trial_overhead_local", "makespan_1000_workers"])
def test_a_row_can_be_measured_alone(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sweep", name, "--quick"])
    sweep._main()
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line)
    assert row["name"] == name
    check_row(row)


@pytest.mark.long
def test_the_suite_runs_quickly_on_tiny_inputs(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_DATA", str(shared_data))
    rows = benchmarks.run_suite("sweep", progress=quiet, quick=True)["figures"]
    assert [row["name"] for row in rows] == list(FURTHER_KEYS) == list(sweep.ROWS)
    for row in rows:
        check_row(row)


def test_without_the_images_the_suite_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match="ENGINE_DATA"):
        benchmarks.run_suite("sweep")


def test_nothing_is_measured_without_ray(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENGINE_DATA", str(shared_data))
    monkeypatch.setitem(sweep.ROWS, "trial_overhead_local", lambda *_, **__: pytest.fail("ran"))
    monkeypatch.setattr(sweep_overhead.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PeerMissing, match=r"pip install -e '\.\[ray\]'"):
        benchmarks.run_suite("sweep", progress=quiet, quick=True)


def test_trials_that_do_nothing_are_recorded_once_each(tmp_path: Path) -> None:
    written: Counter[str] = Counter()

    def execute(trials: list[Any], ledger: Ledger, on_event: Callable[..., None]) -> Outcome:
        def write(record: dict[str, Any]) -> None:
            written[record["id"]] += 1
            ledger.write(record)

        return run_local(trials, NoOpRunner, write, workers=2, threads=1, on_event=on_event)

    assert NoOpSweep(tmp_path / "sweep", execute, 50).round() > 0
    assert written == {trial.id: 1 for trial in noop_trials(50)}
    records = list(Ledger(tmp_path / "sweep").records())
    assert {record["id"] for record in records} == written.keys()
    assert all(2_000 < len(json.dumps(record, indent=1)) < 4_500 for record in records)


@pytest.mark.parametrize(("lost", "twice"), [(1, 0), (0, 1)])
def test_an_executor_that_loses_or_repeats_a_trial_has_no_figure(
    lost: int, twice: int, tmp_path: Path
) -> None:
    def execute(trials: list[Any], ledger: Ledger, on_event: Callable[..., None]) -> Outcome:
        on_event({"event": "worker_ready"})
        for trial in trials[lost:]:
            ledger.write(NoOpRunner().run(trial, quiet_trial))
        return Outcome(done=len(trials) - lost + twice)

    with pytest.raises(BenchmarkError, match="expected 5 trials recorded once each"):
        NoOpSweep(tmp_path / "sweep", execute, 5).round()


def quiet_trial(seen: int, total: int) -> None: ...


def test_ids_of_trials_that_do_nothing_are_like_real_ones() -> None:
    ids = [trial.id for trial in noop_trials(10_000)]
    assert len(set(ids)) == 10_000
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in ids)
    assert len({name[:2] for name in ids}) == 256  # every folder is used


@pytest.mark.long
def test_the_sweep_to_restart_is_finished(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_DATA", str(shared_data))
    size = sweep_restart.Size((1, 2), 2, 1)
    finished = sweep_restart.finish_sweep(tmp_path, size, quiet)
    assert verify_sweep(finished.out)["problems"] == []
    assert len(list(Ledger(finished.out).records())) == size.trials == 4
    given = finished.arguments
    again = engine.sweep_students(finished.data, finished.labels, finished.out, **given)
    assert (again["status"], again["trials"], again["ran"]) == ("finished already", 4, 0)


@pytest.mark.parametrize("answer", [("swept", 4), ("finished already", 3)])
def test_a_restart_that_finds_something_to_do_has_no_figure(answer: tuple[str, int]) -> None:
    size = sweep_restart.Size((1, 2), 2, 1)
    sweep = sweep_restart.FinishedSweep(Path("data"), Path("labels"), Path("out"), size)
    status, trials = answer
    with pytest.raises(BenchmarkError, match="expected 4 trials finished already"):
        sweep_restart._check({"status": status, "trials": trials}, sweep)


def test_factors_of_a_sweep_are_those_of_its_seconds() -> None:
    size = Size(num_seeds=15)
    assert size.trials == 60
    ours = Spent(seconds=400.0, step_seconds=300.0, images=3_000)
    plain = [
        {1: Spent(10.0, 4.0, 20), 5: Spent(60.0, 50.0, 100)},
        {1: Spent(20.0, 6.0, 20), 5: Spent(70.0, 60.0, 100)},
    ]
    row = compare(ours, plain, size)
    check_row(row)
    assert (row["value"], row["peer_value"], row["ratio"]) == (400.0, 2_400.0, 6.0)
    assert row["step_factor"] == 30 * (5 + 55) / 300
    assert row["overhead_factor"] == 30 * (10 + 10) / 100
    assert (row["images_per_second"], row["peer_images_per_second"]) == (10.0, 2.0)
    assert (row["scaled_from"], row["peer_scaled_from"]) == (60, 4)


def test_fewer_trials_are_scaled_as_a_whole() -> None:
    plain = [{1: Spent(10.0, 4.0, 20), 5: Spent(60.0, 50.0, 100)}] * 2
    whole = compare(Spent(400.0, 300.0, 3_000), plain, sized(60))
    part = compare(Spent(80.0, 60.0, 600), plain, sized(12))
    assert part["scaled_from"] == 12
    assert part["ratio"] == pytest.approx(whole["ratio"])
    assert part["step_factor"] == pytest.approx(whole["step_factor"])


@pytest.mark.parametrize("trials", [0, 13, 64, -4])
def test_a_number_of_trials_that_no_seeds_give_is_refused(trials: int) -> None:
    with pytest.raises(BenchmarkError, match="a multiple of 4 up to 60"):
        sized(trials)


# The plain student, beside ours, on three classes, each a pattern under noise.

CLASSES, SIDE = 3, 8
SHAPE: dict[str, Any] = {"num_classes": CLASSES, "channels": 3, "resolution": SIDE}


def patterns(num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(num_images) % CLASSES
    of_class = np.random.default_rng(100).integers(0, 85, (CLASSES, SIDE, SIDE, 3))
    noise = np.random.default_rng(seed).integers(0, 165, (num_images, SIDE, SIDE, 3))
    return (of_class[labels] + noise).astype(np.uint8), labels


def plain_network(width: int = 8) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (3, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GroupNorm(width, width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * (SIDE // 4) ** 2, CLASSES))


def our_trainer(monkeypatch: pytest.MonkeyPatch) -> StudentTrainer:
    monkeypatch.setenv("ENGINE_EAGER", "1")
    return StudentTrainer(
        "convnet-d2-w8",
        mean=plain_student.MEAN,
        std=plain_student.STD,
        arithmetic=choose_arithmetic("fp32"),
        **SHAPE,
    )


def our_recipe(**changes: Any) -> StudentRecipe:
    recipe = StudentRecipe(model="convnet-d2-w8", evaluations=2, precision="fp32", **changes)
    return recipe.model_copy(update={"schedule": recipe.schedule.resolved(recipe.epochs)})


def soft(labels: np.ndarray) -> Tensor:
    return torch.eye(CLASSES)[labels] * 0.7 + 0.1


def our_subset(images: np.ndarray, labels: np.ndarray) -> Subset:
    nchw = torch.from_numpy(images).permute(0, 3, 1, 2)
    return Subset(images_nchw=nchw, targets_nk=soft(labels), ids=np.arange(len(labels)))


def test_the_plain_student_takes_the_same_steps_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same initial weights, no augmentation, one batch: the losses are ours, epoch by epoch."""
    images, labels = patterns(30, seed=0)
    trainer = our_trainer(monkeypatch)
    recipe = our_recipe(epochs=40, augmentation="none")
    ours: list[float] = []
    initial: list[dict[str, Tensor]] = []
    load = trainer.network.load_weights

    def load_weights(weights: dict[str, Tensor]) -> None:
        initial.append({name: tensor.clone() for name, tensor in weights.items()})
        load(weights)

    monkeypatch.setattr(trainer.network, "load_weights", load_weights)
    trainer.train(
        our_subset(images, labels),
        recipe,
        Seeds(),
        lambda _: {"test": None, "validation": None},
        on_step=lambda _, loss: ours.append(float(loss)),
    )
    network = plain_network()
    plain_student.load_weights(network, initial[0])
    evaluated: list[int] = []
    plain = plain_student.train(
        network,
        TensorDataset(plain_student.normalised(images), soft(labels)),
        epochs=40,
        evaluations=2,
        evaluate=lambda: evaluated.append(1) or 0.5,
        augment=lambda batch: batch,
    )
    np.testing.assert_allclose(plain["losses"], ours, rtol=1e-4)
    assert ours[-1] < 0.95 * ours[0]
    assert (plain["steps"], plain["images"], plain["accuracies"]) == (40, 1200, [0.5, 0.5])


def test_the_plain_student_learns_as_much_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """With DSA and a partial last batch, as many steps, and an accuracy in the range of ours."""
    (images, labels), (test_images, test_labels) = patterns(40, seed=0), patterns(150, seed=1)
    test = TensorDataset(plain_student.normalised(test_images), torch.from_numpy(test_labels))
    trainer, recipe = our_trainer(monkeypatch), our_recipe(epochs=60, batch_size=32)
    ours, plain, steps = [], [], set()
    for seed in range(3):
        taken: list[int] = []

        def evaluate(network: Any) -> dict[str, float | None]:
            with torch.no_grad():
                logits = network.logits(test.tensors[0])
            found = (logits.argmax(1).numpy() == test_labels).mean()
            return {"test": float(found), "validation": None}

        outcome = trainer.train(
            our_subset(images, labels),
            recipe,
            Seeds(init_seed=seed, order_seed=seed, augment_seed=seed),
            evaluate,
            on_step=lambda step, _, taken=taken: taken.append(step),
        )
        ours.append(outcome["evaluations"][-1]["test"])
        torch.manual_seed(seed)
        network = plain_network()
        answer = plain_student.train(
            network,
            TensorDataset(plain_student.normalised(images), soft(labels)),
            epochs=60,
            evaluations=2,
            evaluate=lambda network=network: plain_student.accuracy(network, test),
            batch_size=32,
        )
        plain.append(answer["accuracies"][-1])
        steps |= {taken[-1], answer["steps"]}
    assert steps == {120}
    assert np.mean(ours) > 0.5  # chance is 0.33
    assert np.mean(plain) == pytest.approx(np.mean(ours), abs=0.12)


def test_the_plain_teacher_is_the_checkpoint(tmp_path: Path) -> None:
    model = build_model("convnet-d2-w8", init_seed=5, **SHAPE)
    images = plain_student.normalised(patterns(10, seed=2)[0])
    teacher = plain_network()
    plain_student.load_weights(teacher, dict(model.state_dict()))
    with torch.no_grad():
        expected = model(images).softmax(1)
    torch.testing.assert_close(plain_student.label(teacher, images), expected)


def test_a_plain_subset_has_as_many_images_of_every_class() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 200)
    ids = plain_student.choose_subset(labels, 7, np.random.default_rng(1))
    assert len(set(ids.tolist())) == 28
    assert np.bincount(labels[ids]).tolist() == [7, 7, 7, 7]
    other = plain_student.choose_subset(labels, 7, np.random.default_rng(2))
    assert set(ids.tolist()) != set(other.tolist())


def test_the_plain_student_is_paced_by_dsa(monkeypatch: pytest.MonkeyPatch) -> None:
    used: Counter[str] = Counter()
    apply = plain_student.apply_operation
    monkeypatch.setattr(
        plain_student,
        "apply_operation",
        lambda name, *rest: used.update([name]) or apply(name, *rest),
    )
    torch.manual_seed(0)
    for _ in range(120):
        plain_student.augment(torch.zeros(2, 3, SIDE, SIDE))
    assert used.keys() == plain_student.OPERATIONS.keys()
    assert max(used.values()) < 40


def test_a_step_that_fails_says_which_command_it_was() -> None:
    with pytest.raises(BenchmarkError, match=r"ended with exit code 3:\nno more"):
        sweep_real._run(
            [sys.executable, "-c", "import sys; sys.stderr.write('no more'); sys.exit(3)"], {}
        )
