"""One runner for any trial: teachers, transforms and selections become images and targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plan_cases import logits_of, planned, write_store

import beton_builder
import engine
import labelstore
from engine.errors import UsageError
from engine.experiments import selection
from engine.experiments.selection.named import _KNOWN
from engine.loading import load_resident
from engine.records import read_record
from engine.sweep.executors.trial_runner import TrialRunner, _Evaluation
from engine.training import StudentTrainer
from engine.training.precision import choose_arithmetic
from tests.engine.conftest import write_image_folder


@pytest.fixture(scope="module")
def dataset(small_data: Path) -> beton_builder.Dataset:
    return beton_builder.open_dataset(small_data)


@pytest.fixture(scope="module")
def store(
    dataset: beton_builder.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> labelstore.LabelStore:
    return write_store(tmp_path_factory.mktemp("two") / "labels.zarr", dataset)


def test_one_runner_trains_any_trial_and_their_order_does_not_matter(dataset, store) -> None:
    """Other models, resolutions, IPCs and teachers between two runs of a trial change nothing."""
    trials = planned(
        dataset,
        store,
        ipc=[1, 2],
        labels=["soft", "hard", "temperature:4"],
        ensemble=[None, [4, 7]],
        **{"student.model": ["convnet-d2-w8", "convnet-d1-w4"], "student.epochs": 2},
    )
    trials += planned(dataset, store, **{"student.resolution": 8, "student.epochs": 2})
    arithmetic = choose_arithmetic("fp32")
    runner = TrialRunner(dataset, store, arithmetic)
    forwards = {t.id: runner.run(t, lambda *_: None) for t in trials}
    assert {r["status"] for r in forwards.values()} == {"done"}
    backwards = {t.id: runner.run(t, lambda *_: None)["result"] for t in reversed(trials)}
    assert backwards == {key: record["result"] for key, record in forwards.items()}
    assert len({trial.shape[:2] for trial in trials}) == 3
    alone = TrialRunner(dataset, store, arithmetic).run(trials[-2], lambda *_: None)
    assert alone["result"] == backwards[trials[-2].id]
    assert len({record["result"]["train_loss"] for record in forwards.values()}) == len(trials)


def test_one_decorated_function_adds_a_selection(dataset, store) -> None:
    @selection()
    def last(pool, images_per_class, subset_seed):
        of_class = [pool.candidates[pool.candidate_classes == k] for k in range(3)]
        return np.concatenate([ids[-images_per_class:] for ids in of_class])

    try:
        trials = planned(dataset, store, selection=["random", "last"], **{"student.epochs": 1})
        runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
        losses = {runner.run(t, lambda *_: None)["result"]["train_loss"] for t in trials}
        assert len(losses) == len({trial.id for trial in trials}) == 2
        assert {trial.cell["selection"] for trial in trials} == {"random", "last"}
    finally:
        del _KNOWN["last"]


@pytest.mark.parametrize("spelling", ["soft", "temperature:2", "soft+temperature:2+hard"])
def test_targets_are_the_mean_logits_of_the_ensemble_transformed(
    dataset, store, spelling: str
) -> None:
    (trial,) = planned(
        dataset, store, ensemble=[{"experts": "all", "epochs": [4, 7]}], labels=[spelling]
    )
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
    ids = np.array([5, 0, 99])
    num_samples, labels = 120, np.asarray(dataset.split("train").labels)[ids]
    members = [logits_of(e, k, num_samples)[ids] for e in ("ada", "bob") for k in (4, 7)]
    mean = np.mean(np.array(members, np.float64), axis=0)
    softened = np.exp(mean / (2 if "temperature" in spelling else 1))
    expected = softened / softened.sum(axis=1, keepdims=True)
    if "hard" in spelling:
        expected = np.eye(3)[labels]
    np.testing.assert_allclose(runner.targets_of(trial, ids), expected, rtol=1e-3)


def test_a_trial_of_another_checkpoint_fails_and_says_so(dataset, store, tmp_path: Path) -> None:
    (trial,) = planned(dataset, store)
    swapped = write_store(tmp_path / "l.zarr", dataset, names={"bob": "ada"})
    record = TrialRunner(dataset, swapped, choose_arithmetic("fp32")).run(trial, lambda *_: None)
    assert record["status"] == "failed"
    assert "plan the sweep again" in record["error"]


def test_a_whole_sweep_of_ensembles_and_transforms_makes_a_report(
    dataset, store, tmp_path: Path
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "seeds: [0, 1]\n"
        "student: {model: convnet-d2-w8, epochs: 2, evaluations: 1, precision: fp32}\n"
        "grids:\n"
        "  - {ipc: [1, 2], expert: [ada, bob], expert_epochs: [4, best]}\n"
        "  - ipc: [1]\n"
        "    expert: ada\n"
        "    expert_epochs: 4\n"
        "    ensemble: [[4, 7], [ada, bob]]\n"
        "    labels: [soft, temperature:3]\n"
    )
    swept = engine.sweep_students(dataset.path, store.path, tmp_path / "sweep", config=file)
    assert (swept["failed"], swept["trials"]) == (0, 2 * (2 * 3 + 2 * 1 + 2 * 2))
    again = engine.sweep_students(dataset.path, store.path, tmp_path / "sweep", config=file)
    assert again["status"] == "finished already"
    head = read_record(tmp_path / "sweep" / "sweep.json")
    assert {expert["name"] for expert in head["experts"]} == {"ada", "bob"}
    engine.write_report([tmp_path / "sweep"], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "4+7" in page
    assert "ada+bob" in page or "bob+ada" in page


def test_accuracy_by_class_is_the_diagonal_of_the_final_confusion(dataset, store) -> None:
    (trial,) = planned(dataset, store, ipc=[4], **{"student.epochs": 9, "student.lr": 0.05})
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
    result = runner.run(trial, lambda *_: None)["result"]
    (trainer,) = runner._trainers._kept.values()  # as the student left it
    test = load_resident(dataset, "test")
    images = trainer.network.normalise(test.images)
    trainer.network.model.eval()
    with torch.no_grad():
        predicted = trainer.network.logits(images).argmax(1).numpy()
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (test.labels.numpy(), predicted), 1)
    assert result["test_per_class"] == (confusion.diagonal() / confusion.sum(axis=1)).tolist()
    assert result["final"]["test"] == confusion.trace() / confusion.sum()
    assert len(set(result["test_per_class"])) > 1


def test_without_a_test_split_there_is_no_accuracy_by_class(dataset) -> None:
    network = StudentTrainer(
        "convnet-d2-w8",
        num_classes=4,
        channels=3,
        resolution=16,
        mean=dataset.mean,
        std=dataset.std,
        arithmetic=choose_arithmetic("fp32"),
    ).network
    validation = load_resident(dataset, "train", indices=dataset.validation_indices)
    without = _Evaluation({"test": None, "validation": validation}, 4)
    assert without(network)["test"] is None
    assert without.test_per_class is None
    absent = _Evaluation({"test": load_resident(dataset, "test"), "validation": None}, 4)
    accuracies = absent(network)
    assert accuracies["validation"] is None
    assert absent.test_per_class[3] is None  # a class that has no test image
    assert np.mean(absent.test_per_class[:3]) == pytest.approx(accuracies["test"])


def test_a_student_sees_whitened_images_where_the_dataset_says_so(
    dataset, store, tmp_path: Path
) -> None:
    """The whitening is part of the trial's identity, as mean and std are, and of its network."""
    write_image_folder(tmp_path / "source", train=40, test=12)
    beton_builder.build_beton(
        tmp_path / "source", tmp_path / "data", workers=1, normalisation="zca"
    )
    whitened = beton_builder.open_dataset(tmp_path / "data")
    (plain,) = planned(dataset, None, labels=["hard"])
    (trial,) = planned(whitened, None, labels=["hard"])
    assert (plain.dataset.id, plain.ipc) == (trial.dataset.id, trial.ipc)
    assert plain.id != trial.id
    assert trial.parents["normalisation"]["whitening"] == whitened.whitening_id
    assert set(plain.parents["normalisation"]) == {"mean", "std"}
    runner = TrialRunner(whitened, None, choose_arithmetic("fp32"))
    assert runner.run(trial, lambda *_: None)["status"] == "done"
    images = runner.subset_of(trial).images_nchw
    seen = runner._trainer_of(trial).network.normalise(images).numpy()
    whitening = whitened.whitening()
    flat = images.permute(0, 2, 3, 1).numpy() / 255 - whitening.centre_hwc
    expected = flat.reshape(len(flat), -1) @ whitening.matrix
    np.testing.assert_allclose(
        seen.transpose(0, 2, 3, 1).reshape(len(flat), -1), expected, rtol=1e-3, atol=1e-3
    )
    with pytest.raises(UsageError, match=r"whitened at 16 × 16 pixels.*students have 8"):
        planned(whitened, None, labels=["hard"], **{"student.resolution": 8})
