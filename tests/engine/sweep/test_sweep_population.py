"""What all labels of an expert have in common, and its scores of images: against plain loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plan_cases import logits_of, planned, write_store

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.experiments import Samples, label_transform
from engine.experiments.label_transforms.registry import KNOWN
from engine.sweep.executors import teacher_labels
from engine.sweep.executors.teacher_labels import TeacherLabels
from engine.sweep.executors.trial_runner import TrialRunner
from engine.sweep.planning.plan import sample_pool
from engine.training.precision import choose_arithmetic


@pytest.fixture(scope="module")
def dataset(small_data: Path) -> beton_builder.Dataset:
    return beton_builder.open_dataset(small_data)


@pytest.fixture(scope="module")
def store(
    dataset: beton_builder.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> labelstore.LabelStore:
    return write_store(tmp_path_factory.mktemp("two") / "labels.zarr", dataset)


TEACHERS = {
    "one checkpoint": ({}, [("ada", 4)]),
    "two epochs": ({"ensemble": [[4, 7]]}, [("ada", 4), ("ada", 7)]),
    "two experts": ({"ensemble": [["ada", "bob"]]}, [("ada", 4), ("bob", 4)]),
}


def mean_logits(members: list[tuple[str, int]], num_samples: int) -> np.ndarray:
    stored = [logits_of(*member, num_samples).astype(np.float16) for member in members]
    return np.mean([each.astype(np.float64) for each in stored], axis=0)


def in_a_loop(logits: np.ndarray, labels: np.ndarray, candidates: np.ndarray, temperature: float):
    """Mean label of each class and mean of p_i p_j, one image after the other."""
    means, together, counts = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(3)
    for sample in candidates:
        powers = np.exp(logits[sample] / temperature)
        row = powers / powers.sum()
        means[labels[sample]] += row
        counts[labels[sample]] += 1
        together += np.outer(row, row)
    return means / counts[:, None], together / len(candidates)


@pytest.mark.parametrize("block_rows", [7, 4096])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("name", TEACHERS)
def test_a_population_is_that_of_a_plain_loop(
    dataset, store, monkeypatch, name: str, temperature: float, block_rows: int
) -> None:
    settings, members = TEACHERS[name]
    (trial,) = planned(dataset, store, **settings)
    labels, candidates = sample_pool(dataset)
    monkeypatch.setattr(teacher_labels, "BLOCK_ROWS", block_rows)
    found = TeacherLabels(store, trial.teacher).population(labels, candidates, temperature)
    logits = mean_logits(members, len(labels))
    means, together = in_a_loop(logits, labels, candidates, temperature)
    np.testing.assert_allclose(found.class_means_kk, means, rtol=1e-5)
    np.testing.assert_allclose(found.co_occurrence_kk, together, rtol=1e-5)
    assert found.class_means_kk.dtype == found.co_occurrence_kk.dtype == np.float32
    assert (found.co_occurrence_kk == found.co_occurrence_kk.T).all()
    assert found.co_occurrence_kk.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", TEACHERS)
def test_scores_of_all_images_are_those_of_the_mean_logits(
    dataset, store, monkeypatch, name: str
) -> None:
    settings, members = TEACHERS[name]
    (trial,) = planned(dataset, store, **settings)
    labels, _ = sample_pool(dataset)
    monkeypatch.setattr(teacher_labels, "BLOCK_ROWS", 50)
    found = TeacherLabels(store, trial.teacher)
    logits = mean_logits(members, len(labels))
    own = logits[np.arange(len(labels)), labels]
    nats = np.log(np.exp(logits).sum(axis=1)) - own
    np.testing.assert_allclose(found.cross_entropy(labels), nats, rtol=1e-2, atol=1e-2)
    ids = np.array([5, 0, 99])
    expected = logits[ids] - logits[ids].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found[ids], expected, rtol=1e-3, atol=1e-3)


@pytest.fixture
def probe():
    """A transform that gives back what it was told of the population and the superclasses."""
    told: list[Samples] = []

    @label_transform(needs_population=True)
    def tell_population(probabilities_nk, samples):
        told.append(samples)
        return probabilities_nk

    @label_transform(needs_superclasses=True)
    def tell_superclasses(probabilities_nk, samples):
        told.append(samples)
        return probabilities_nk

    yield told
    del KNOWN["tell-population"], KNOWN["tell-superclasses"]


def test_a_transform_is_told_the_population_at_the_temperature_of_its_head(
    dataset, store, probe, monkeypatch
) -> None:
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
    counted = []
    population = TeacherLabels.population
    monkeypatch.setattr(
        TeacherLabels,
        "population",
        lambda self, *given: counted.append(given) or population(self, *given),
    )
    trials = planned(
        dataset, store, labels=["tell-population", "soft"], temperature=[1, 3], seeds=[0, 1]
    )
    labels, candidates = sample_pool(dataset)
    probe.clear()
    for trial in trials:
        runner.targets_of(trial, np.array([0, 41]))
    assert len(probe) == 4  # two temperatures, two seeds
    assert len(counted) == 2  # once for each temperature, and never where nobody asks
    logits = mean_logits([("ada", 4)], len(labels))
    by_temperature = {
        temperature: in_a_loop(logits, labels, candidates, temperature) for temperature in (1, 3)
    }
    asked = [t.labels.temperature for t in trials if t.labels.needs_population]
    for temperature, samples in zip(asked, probe, strict=True):
        means, together = by_temperature[temperature]
        np.testing.assert_allclose(samples.population.class_means_kk, means, rtol=1e-4)
        np.testing.assert_allclose(samples.population.co_occurrence_kk, together, rtol=1e-4)


def test_superclasses_come_from_the_dataset_or_are_refused(dataset, store, probe) -> None:
    with pytest.raises(UsageError, match=r"tell-superclasses need superclasses, and dataset"):
        planned(dataset, store, labels=["tell-superclasses"])
    nested = replace(dataset, superclasses=("x", "y"), superclass_of=(0, 1, 0))
    (trial,) = planned(nested, store, labels=["tell-superclasses"])
    probe.clear()
    TrialRunner(nested, store, choose_arithmetic("fp32")).targets_of(trial, np.array([3]))
    assert probe[0].superclass_of.tolist() == [0, 1, 0]
    assert probe[0].superclass_of.dtype == np.int64
    assert probe[0].population is None


def test_another_hierarchy_of_the_same_images_is_another_trial_where_labels_ask_for_it(
    dataset, store, probe
) -> None:
    def trials_of(superclass_of, labels):
        nested = replace(dataset, superclasses=("x", "y"), superclass_of=superclass_of)
        return planned(nested, store, labels=[labels])

    (one,), (other,), (again,) = (
        trials_of(superclass_of, "tell-superclasses")
        for superclass_of in ((0, 1, 0), (0, 0, 1), (0, 1, 0))
    )
    assert one.id == again.id != other.id
    assert one.parents["superclasses"] != other.parents["superclasses"]
    (plain,), (nested,) = planned(dataset, store, labels=["soft"]), trials_of((0, 1, 0), "soft")
    assert plain.id == nested.id
    assert plain.parents == nested.parents
