"""The papers' hyperparameters, typed here from docs/protocol.md's tables a second time."""

from __future__ import annotations

import pytest

from engine.configuration import load_configuration, preset_names
from engine.sweep import Grid, load_grids
from engine.training import ExpertRecipe, StudentRecipe
from engine.training.optimise import Optimiser, Schedule

# Table 7: IPC: (expert learning rate, student learning rate, expert epoch).
TABLE_7 = {
    "imagenet-resnet18": {
        1: (5e-4, 1e-3, 11), 10: (5e-4, 5e-3, 43),
        50: (1e-1, 5e-3, 30), 100: (1e-1, 5e-3, 34), 200: (1e-1, 2e-3, 34),
    },
    "imagenet-resnet50": {
        1: (5e-4, 1e-3, 9), 10: (5e-4, 5e-3, 24),
        50: (1e-1, 5e-3, 30), 100: (1e-1, 5e-3, 32), 200: (1e-1, 2e-3, 61),
    },
    "tinyimagenet": {
        1: (1e-2, 1e-2, 11), 10: (1e-2, 1e-1, 50), 50: (1e-2, 1e-1, 90), 100: (1e-2, 1e-1, 102),
    },
    "cifar100": {
        1: (1e-2, 1e-2, 13), 10: (1e-2, 1e-2, 36), 50: (1e-2, 1e-2, 125), 100: (1e-2, 1e-2, 125),
    },
    "cifar10": {
        1: (5e-4, 1e-2, 20), 10: (5e-4, 1e-2, 44), 50: (5e-4, 1e-2, 128), 100: (5e-4, 1e-2, 164),
    },
}  # fmt: skip
LEARNING_RATES = {5e-4, 1e-3, 5e-3, 1e-2, 5e-2}
MODELS = {"tinyimagenet": "convnet-d4", "cifar100": "convnet-d3", "cifar10": "convnet-d3"}
SMALL = ("cifar10", "cifar100", "tinyimagenet")
IMAGENET = ("imagenet-resnet18", "imagenet-resnet50")
SGD = Optimiser(kind="sgd", momentum=0.9, weight_decay=5e-4)
ADAMW = Optimiser(kind="adamw", weight_decay=0.01)


def grid(preset: str, **changes: object) -> Grid:
    (found,) = load_grids(preset, changes or None)
    return found


def of_imagenet(name: str, ipc: int) -> str:
    """Which of the two experts of an architecture an IPC has."""
    return f"{name}-slow" if TABLE_7[name][ipc][0] == 5e-4 else name


@pytest.mark.parametrize("name", SMALL)
def test_experts_of_small_images_follow_the_protocol(name: str) -> None:
    recipe = load_configuration(ExpertRecipe, f"expert-{name}")
    assert recipe == ExpertRecipe(
        model=MODELS[name],
        lr=TABLE_7[name][1][0],
        epochs=max(epoch for _, _, epoch in TABLE_7[name].values()),
        batch_size=256,
        optimiser=Optimiser(kind="sgd", momentum=0.0, weight_decay=0.0),
        schedule=Schedule(kind="constant"),
        augmentation="dsa",
    )


@pytest.mark.parametrize("name", IMAGENET)
@pytest.mark.parametrize("ipc", [1, 10, 50, 100, 200])
def test_experts_of_imagenet_follow_the_protocol(name: str, ipc: int) -> None:
    lr, _, epoch = TABLE_7[name][ipc]
    recipe = load_configuration(ExpertRecipe, f"expert-{of_imagenet(name, ipc)}")
    assert (recipe.model, recipe.lr) == (name.removeprefix("imagenet-"), lr)
    assert recipe.epochs >= epoch
    assert recipe.optimiser == Optimiser(kind="sgd", momentum=0.9, weight_decay=1e-4)
    assert recipe.schedule == Schedule(kind="step", every=30, factor=0.1)
    assert (recipe.batch_size, recipe.resolution) == (256, 224)
    assert recipe.augmentation == "random-resized-crop"


def test_the_expert_of_photographs_is_imagenets_resnet18() -> None:
    general = load_configuration(ExpertRecipe, "expert-imagenet")
    assert load_configuration(ExpertRecipe, "expert-imagenet-resnet18") == general


def test_fashion_mnist_has_cifar100s_recipe_and_says_that_it_is_ours() -> None:
    ours = load_configuration(ExpertRecipe, "expert-fashion-mnist")
    cifar = load_configuration(ExpertRecipe, "expert-cifar100")
    assert ours == cifar.model_copy(update={"epochs": ours.epochs})
    students = grid("table2-fashion-mnist")
    for ipc in students.ipc:
        assert [student.lr for student in students.students_at(ipc)] == [0.01]
        assert max(map(int, students.expert_epochs_at(ipc))) <= ours.epochs
    assert max(map(int, grid("table7-fashion-mnist").expert_epochs)) <= ours.epochs


def check_paper_students(found: Grid, ipc: int, lr: float, models: set[str]) -> None:
    """Five students of 3,000 epochs on one subset, in batches of 256, with DSA (section 1)."""
    students = found.students_at(ipc, 32)
    assert {student.model for student in students} == models
    for student in students:
        resnet = student.model.startswith("resnet")
        schedule = (
            Schedule(kind="cosine", horizon=3000)
            if resnet
            else Schedule(kind="step", every=750, factor=0.3)
        )
        assert student == StudentRecipe(
            model=student.model,
            epochs=3000,
            lr=lr,
            batch_size=256,
            optimiser=ADAMW if resnet else SGD,
            schedule=schedule,
            augmentation="dsa",
            resolution=224 if resnet else 32,
            evaluations=15,
        )
    seeds = found.seed_sets()
    assert [each.init_seed for each in seeds] == [0, 1, 2, 3, 4]
    assert {each.subset_seed for each in seeds} == {0}


@pytest.mark.parametrize("name", SMALL)
def test_table_2_has_the_hyperparameters_of_table_7(name: str) -> None:
    found = grid(f"paper/table2-{name}")
    # Table 2 says nothing of CIFAR-10 at IPC 100.
    assert found.ipc == ([1, 10, 50] if name == "cifar10" else [1, 10, 50, 100])
    for ipc, (_, lr, epoch) in TABLE_7[name].items():
        assert found.expert_epochs_at(ipc) == [epoch]
        check_paper_students(found, ipc, lr, {MODELS[name]})
    assert (found.labels, found.temperature, found.selection) == (["soft"], [1.0], ["random"])


@pytest.mark.parametrize("name", IMAGENET)
@pytest.mark.parametrize("ipc", [1, 10, 50, 100, 200])
def test_table_1_has_the_hyperparameters_of_table_7(name: str, ipc: int) -> None:
    found = grid(f"paper/table1-{of_imagenet(name, ipc)}")
    assert ipc in found.ipc
    assert all(of_imagenet(name, other) == of_imagenet(name, ipc) for other in found.ipc)
    _, lr, epoch = TABLE_7[name][ipc]
    assert found.expert_epochs_at(ipc) == [epoch]
    check_paper_students(found, ipc, lr, {"resnet18", "resnet50"})
    assert found.labels == ["soft"]


def test_table_1_hard_labels_are_of_resnet18_at_every_ipc() -> None:
    found = grid("paper/table1-imagenet-hard")
    assert (found.labels, found.ipc) == (["hard"], [1, 10, 50, 100, 200])
    for ipc, (_, lr, _) in TABLE_7["imagenet-resnet18"].items():
        check_paper_students(found, ipc, lr, {"resnet18"})


@pytest.mark.parametrize("name", [*SMALL, *IMAGENET])
def test_the_search_reaches_what_table_7_found(name: str) -> None:
    for ipc, (_, lr, epoch) in TABLE_7[name].items():
        found = grid(f"paper/table7-{name if name in SMALL else of_imagenet(name, ipc)}")
        assert ipc in found.ipc
        assert epoch in found.expert_epochs_at(ipc)
        students = found.students_at(ipc)
        rates = {student.lr for student in students}
        assert lr in rates
        assert rates >= LEARNING_RATES
        assert rates - LEARNING_RATES <= {other for _, other, _ in TABLE_7[name].values()}
        expert = load_configuration(
            ExpertRecipe, f"expert-{name if name in SMALL else of_imagenet(name, ipc)}"
        )
        assert max(map(int, found.expert_epochs_at(ipc))) <= expert.epochs
        assert {student.model for student in students} == {expert.model}


def test_every_dataset_has_an_expert_students_and_a_search() -> None:
    names = set(preset_names())
    for name in SMALL:
        assert {f"expert-{name}", f"paper/table2-{name}", f"paper/table7-{name}"} <= names
    for name in IMAGENET:
        for each in (name, f"{name}-slow"):
            assert {f"expert-{each}", f"paper/table1-{each}", f"paper/table7-{each}"} <= names
    assert {"expert-fashion-mnist", "table2-fashion-mnist", "table7-fashion-mnist"} <= names
