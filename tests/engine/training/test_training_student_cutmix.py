"""A student trained with CutMix: step for step what plain PyTorch does, and one compiled step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import beton_builder
import engine
import labelstore
from engine.augment import draw_mixes
from engine.loading import epoch_order, load_resident
from engine.models import build_model
from engine.training import Seeds, StudentRecipe, StudentTrainer
from engine.training.precision import can_compile, choose_arithmetic
from engine.training.student import Subset, student_init

RECIPE = StudentRecipe(
    model="convnet-d2-w8",
    epochs=6,
    batch_size=6,
    evaluations=1,
    augmentation="cutmix",
    precision="fp32",
)
SEEDS = Seeds(init_seed=1, order_seed=2, augment_seed=3)
SHAPE = {"num_classes": 3, "channels": 3, "resolution": 16}


def subset_of(data: Path, store: Path) -> Subset:
    dataset = beton_builder.open_dataset(data)
    ids = np.arange(16) * 7
    targets = labelstore.open_store(store).view().probabilities(2, ids)
    images = load_resident(dataset, "train", indices=ids).images
    return Subset(images_nchw=images, targets_nk=torch.from_numpy(targets), ids=ids)


def trainer_of(data: Path) -> StudentTrainer:
    dataset = beton_builder.open_dataset(data)
    return StudentTrainer(
        RECIPE.model,
        **SHAPE,
        mean=dataset.mean,
        std=dataset.std,
        arithmetic=choose_arithmetic("fp32"),
    )


def losses_of(trainer: StudentTrainer, subset: Subset) -> list[float]:
    losses: list[float] = []
    trainer.train(
        subset,
        RECIPE,
        SEEDS,
        lambda _network: {"test": None, "validation": None},
        on_step=lambda _step, loss: losses.append(float(loss)),
    )
    return losses


def losses_in_plain_pytorch(data: Path, subset: Subset) -> list[float]:
    """Normalised images are mixed here, and the loss of both targets is weighted by area."""
    dataset = beton_builder.open_dataset(data)
    student = build_model(RECIPE.model, init_seed=student_init(SEEDS.init_seed), **SHAPE)
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (dataset.mean, dataset.std))
    normalised = (subset.images_nchw / 255 - mean) / std
    optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    losses = []
    for epoch in range(RECIPE.epochs):
        optimiser.param_groups[0]["lr"] = 0.01 * 0.3 ** (epoch // (RECIPE.epochs // 4))
        order = epoch_order(np.arange(16), SEEDS.order_seed, epoch)
        for start, mix in zip((0, 6, 12), draw_mixes(3, epoch, [6, 6, 4], 16, 16), strict=True):
            positions = order[start : start + 6]
            partners = positions[mix.partners]
            batch = normalised[positions]
            inside = torch.zeros(16, 16, dtype=torch.bool)
            inside[mix.top : mix.bottom, mix.left : mix.right] = True
            logits = student(torch.where(inside, normalised[partners], batch))
            area = inside.float().mean()
            loss = (1 - area) * F.cross_entropy(logits, subset.targets_nk[positions])
            loss = loss + area * F.cross_entropy(logits, subset.targets_nk[partners])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    return losses


def test_a_student_with_cutmix_equals_plain_pytorch_step_for_step(
    small_data: Path, small_store: Path
) -> None:
    subset = subset_of(small_data, small_store)
    losses = losses_of(trainer_of(small_data), subset)
    assert len(losses) == 6 * 3
    np.testing.assert_allclose(losses, losses_in_plain_pytorch(small_data, subset), rtol=1e-4)


@pytest.mark.compiled
def test_boxes_of_all_sizes_go_through_one_compiled_step(
    small_data: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_compile():
        pytest.skip("torch.compile needs a C++ compiler, and none is here")
    subset, trainer = subset_of(small_data, small_store), trainer_of(small_data)
    assert trainer.network.arithmetic.compiled
    torch._dynamo.reset()  # graphs that other tests compiled would be found again
    torch._dynamo.utils.counters.clear()
    losses = losses_of(trainer, subset)
    # One for the full batch and one for the partial last one.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    monkeypatch.setenv("ENGINE_EAGER", "1")
    np.testing.assert_allclose(losses, losses_of(trainer_of(small_data), subset), rtol=1e-4)


def test_a_sweep_compares_augmentations(small_data: Path, tmp_path: Path) -> None:
    """One word in a grid; everything else stays what it was."""
    out = tmp_path / "sweep"
    engine.sweep_students(
        small_data,
        None,
        out,
        ipc=[20],
        seeds=[0],
        overrides={
            "labels": "[hard]",
            "student.model": "convnet-d2-w8",
            "student.epochs": "40",
            "student.lr": "0.05",
            "student.precision": "fp32",
            "student.augmentation": "[dsa, cutmix, none]",
        },
    )
    records = [json.loads(file.read_text()) for file in out.glob("trials/*/*.json")]
    accuracy = {r["student"]["augmentation"]: r["result"]["final"]["test"] for r in records}
    assert set(accuracy) == {"dsa", "cutmix", "none"}
    assert accuracy["cutmix"] > 0.99
