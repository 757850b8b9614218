"""One runner for any trial: teachers, transforms and selections become images and targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plan_cases import logits_of, planned, write_store

import beton_builder
import engine
import labelstore
from engine.experiments import selection
from engine.experiments.selection import _KNOWN
from engine.records import read_record
from engine.sweep.executors.trial_runner import TrialRunner
from engine.training.precision import choose_arithmetic


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
    @selection("last")
    def select_last(labels, candidates, images_per_class, subset_seed, classes):
        of_class = [candidates[labels[candidates] == k] for k in range(len(classes))]
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
    np.testing.assert_allclose(runner._targets(trial, ids), expected, rtol=1e-3)


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
