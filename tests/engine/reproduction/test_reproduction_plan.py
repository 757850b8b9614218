"""Scales fitted to datasets: what is run, what is left out and why."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from engine.configuration import load_configuration
from engine.errors import ConfigurationError, UsageError
from engine.reproduction.plan import architecture, epochs_of_steps, fit_to
from engine.reproduction.run import write_plan
from engine.reproduction.scale import Scale, load_scale, scale_names
from engine.reproduction.table7 import as_published
from engine.sweep.planning.grid import load_grids
from engine.sweep.planning.plan import plan_trials
from engine.training import ExpertRecipe

PAPER_IPC = (1, 10, 50, 100)


def dataset(
    *, classes=100, per_class=450, side=32, superclasses=True, whitening=None, name="made up"
):
    labels = np.repeat(np.arange(classes), per_class)
    return SimpleNamespace(
        path="data",
        id="d" * 32,
        name=name,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        channels=3,
        whitening_id=whitening,
        num_classes=classes,
        classes=tuple(f"class {c}" for c in range(classes)),
        superclass_of=tuple(c // 5 for c in range(classes)) if superclasses else None,
        height=side,
        width=side,
        validation_indices=np.zeros(0, np.int64),
        split=lambda name: SimpleNamespace(labels=labels),
        has_split=lambda name: name == "train",
    )


@pytest.mark.parametrize("name", scale_names())
def test_every_scale_is_a_plan_that_sweeps_understand(name, tmp_path):
    plan = fit_to(load_scale(name), dataset(), ["first", "second", "third"])
    write_plan(tmp_path / "plan.yaml", plan)
    grids = load_grids(tmp_path / "plan.yaml")
    assert len(grids) == len(plan.grids)
    assert all("top-k:128" in reason for reason in plan.left_out)
    assert {grid.expert if isinstance(grid.expert, str) else grid.expert[0] for grid in grids} <= {
        "first",
        "second",
    }


def test_the_scale_for_two_cores_holds_the_students_of_the_short_epoch_sweep():
    """Those 54 had run before the rest was planned, so they must be the same trials."""
    plan = fit_to(load_scale("cpu"), dataset(), ["first", "second"])
    grid = plan.grids["expert-epoch"]
    (preset,) = load_grids("paper/epoch-sweep-cifar100-short")
    for ipc in (1, 5, 10):
        assert grid["by_ipc"][ipc]["epochs"] == preset.by_ipc[ipc].epochs
    assert grid["student"]["lr"] == preset.student.lr
    assert grid["student"]["evaluations"] == preset.student.evaluations
    assert {4, 7, 10, 15, 24, 41} <= {*grid["expert_epochs"]}


@pytest.mark.parametrize(("images", "steps"), [(100, 300), (1000, 300), (5000, 300), (257, 7)])
def test_epochs_make_as_many_steps_as_were_asked_for(images, steps):
    epochs = epochs_of_steps(steps, images)
    batches = math.ceil(images / 256)
    assert abs(epochs * batches - steps) <= batches / 2 or epochs == 1


def test_what_a_dataset_does_not_allow_is_left_out_with_its_reason():
    small = dataset(classes=10, per_class=8, superclasses=False)
    plan = fit_to(load_scale("cpu"), small, ["first", "second"])
    reasons = " / ".join(plan.left_out)
    assert "swap-ith:64" in reasons
    assert "within-superclasses: the dataset names no superclasses" in reasons
    assert "IPC 10: the smallest class has 8 images" in reasons
    assert "zero-shot-column: " in reasons
    assert plan.grids["swap"]["labels"] == ["swap-ith:1", "swap-ith:2", "swap-ith:4"]
    assert plan.grids["expert-epoch"]["ipc"] == [1, 2, 5]
    assert "long" not in plan.grids


@pytest.mark.parametrize(
    ("side", "model", "resolution"),
    [
        (28, "convnet-d3", None),
        (32, "convnet-d3", None),
        (64, "convnet-d4", None),
        (224, "convnet-d4", 64),
        (None, "convnet-d4", 64),
    ],
)
def test_the_network_follows_from_the_images(side, model, resolution):
    assert architecture(Scale(), dataset(side=side)) == (model, resolution)


def test_a_dataset_on_which_nothing_fits_is_refused():
    scale = Scale.model_validate({"experiments": {"a": {"ipc": [50]}}})
    with pytest.raises(UsageError, match="smallest class has 3 images"):
        fit_to(scale, dataset(per_class=3), ["first"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"experiments": {"a": {"ipc": [1], "expert_epochs": [99]}}}, "trained for 41 epochs"),
        ({"label_epochs": [1], "experiments": {}}, "label_epochs lacks"),
        ({"experiments": {"a": {"ipc": [1], "experts": [3]}}}, "more than the 1 experts"),
        ({"student": {"steps": 3, "epochs": 2}}, "not in both"),
        ({"experiments": {"a": {"ipc": [1], "selection": ["herdin"]}}}, "did you mean herding"),
        ({"experiments": {"a": {"ipc": [1], "labels": ["swap-it:1"]}}}, "did you mean swap-ith"),
        (
            {"label_epochs": [10], "experiments": {"a": {"ipc": [1], "selection": ["herding@24"]}}},
            r"label_epochs lacks \[24\]",
        ),
        ({"expert_epoch": {2: 3}, "experiments": {"a": {"ipc": [1]}}}, "has none for IPC 1"),
        ({"expert_epoch": {2: 3}, "learned": {"initial": ["expert"]}}, "has none for IPC 1"),
        ({"derived": {"entropies": [1.0]}}, "less than or equal to 0.95"),
        ({"experimentz": {}}, "did you mean experiments"),
    ],
)
def test_a_scale_that_contradicts_itself_is_refused(content, complaint, tmp_path):
    file = tmp_path / "scale.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=complaint):
        load_scale(file)


def test_an_experiments_own_length_replaces_the_scales():
    plan = fit_to(load_scale("cpu"), dataset(), ["first", "second"])
    assert plan.grids["long"]["by_ipc"] == {10: {"epochs": 3000}}
    assert plan.grids["long"]["expert_epochs"] == [36]


def test_whitened_images_are_not_shown_at_another_size():
    plan = fit_to(load_scale("smoke"), dataset(whitening="w"), ["first", "second"])
    assert plan.resolution is None
    assert all("resolution" not in grid["student"] for grid in plan.grids.values())
    assert "resolution 16: the dataset is whitened at 32 × 32 pixels" in plan.left_out
    plain = fit_to(load_scale("smoke"), dataset(), ["first", "second"])
    assert plain.resolution == 16
    assert all(grid["student"]["resolution"] == 16 for grid in plain.grids.values())


def test_label_sets_that_do_not_fit_are_left_out_with_their_reason():
    plan = fit_to(load_scale("full"), dataset(classes=4, per_class=8), ["a", "b", "c"])
    assert {each["ipc"] for each in plan.learned} == {1}
    assert "learned labels: IPC 10: the smallest class has 8 images" in plan.left_out
    # ln 4 is 1.39 nats; half of that is sharper than ln 2.
    assert plan.derived == ((1, 0.97), (1, 1.25))
    assert any(reason.startswith("derived labels: 0.69 nats") for reason in plan.left_out)
    assert "derived labels: IPC 10, 50: the smallest class has 8 images" in plan.left_out


TABLE7 = {
    "cifar10": (10, 32, 5e-4, {1: 20, 10: 44, 50: 128, 100: 164}, dict.fromkeys(PAPER_IPC, 0.01)),
    "tinyimagenet": (
        *(200, 64, 1e-2),
        {1: 11, 10: 50, 50: 90, 100: 102},
        {1: 0.01, 10: 0.1, 50: 0.1, 100: 0.1},
    ),
    "cifar100": (
        *(100, 32, 1e-2),
        {1: 13, 10: 36, 50: 125, 100: 125},
        dict.fromkeys(PAPER_IPC, 0.01),
    ),
}
"""Classes, side, expert's learning rate; expert epoch and student's learning rate by IPC."""


@pytest.mark.parametrize("name", TABLE7)
def test_the_papers_datasets_have_their_own_hyperparameters(name, tmp_path):
    classes, side, expert_lr, epochs, rates = TABLE7[name]
    papers = dataset(classes=classes, side=side, name=name)
    scale = as_published(load_scale("full"), papers)
    recipe = load_configuration(ExpertRecipe, scale.expert.recipe)
    plan = fit_to(scale, papers, ["first", "second", "third"])
    assert (recipe.model, recipe.lr) == (plan.model, expert_lr)
    assert set(epochs.values()) <= set(scale.label_epochs)
    write_plan(tmp_path / "plan.yaml", plan)
    grids = dict(zip(plan.grids, load_grids(tmp_path / "plan.yaml"), strict=True))
    for ipc in PAPER_IPC:
        assert grids["baseline"].expert_epochs_at(ipc) == [epochs[ipc]]
        assert [each.lr for each in grids["baseline"].students_at(ipc)] == [rates[ipc]]
        assert plan.student_at(ipc)["student.lr"] == rates[ipc]
    varied = [each.lr for each in grids["learning-rate"].students_at(10)]
    assert varied == [0.0005, 0.001, 0.005, 0.05]


def test_a_scale_keeps_its_own_hyperparameters_where_table_7_is_not_asked_for_or_silent():
    cpu, full = load_scale("cpu"), load_scale("full")
    assert as_published(cpu, dataset(classes=10, name="cifar10")) is cpu
    assert as_published(full, dataset()) is full
    assert as_published(full, dataset(classes=1000, side=None, name="imagenet")) is full


@pytest.mark.parametrize("name", scale_names())
def test_whatever_is_done_to_labels_or_images_has_plain_soft_labels_of_the_same_seeds(
    name, tmp_path
):
    """Else a difference to soft labels would be one between images or initial weights, too."""
    made_up = dataset()
    plan = fit_to(load_scale(name), made_up, ["first", "second", "third"])
    write_plan(tmp_path / "plan.yaml", plan)
    trials = plan_trials(load_grids(tmp_path / "plan.yaml"), made_up, None, labels_to_come=True)

    def place(trial):
        student = trial.student.model_copy(update={"lr": 0.01, "augmentation": "dsa"})
        return trial.ipc, trial.teacher.checkpoints, vars(trial.seeds).values(), student

    taught = [trial for trial in trials if trial.teacher is not None]
    plain = {
        tuple(map(repr, place(trial)))
        for trial in taught
        if str(trial.labels) == "soft" and str(trial.selection) == "random"
        if (trial.student.lr, trial.student.augmentation) == (0.01, "dsa")
    }
    assert plain
    lonely = [
        (trial.ipc, str(trial.labels), str(trial.selection), trial.seeds)
        for trial in taught
        if tuple(map(repr, place(trial))) not in plain and trial.student.lr != 0.001
    ]
    assert lonely == []


def test_an_unknown_scale_is_refused_with_those_there_are():
    with pytest.raises(ConfigurationError, match="called smok: expected cpu, full, smoke or"):
        load_scale("smok")
