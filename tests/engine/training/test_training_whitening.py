"""Whitened images from the builder to the labels, against a plain PyTorch pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import beton_builder
import engine
import labelstore
from beton_builder.whitening import PixelSums, Whitening, fit
from engine.errors import MismatchError, UsageError
from engine.records import read_record
from engine.training import open_run
from engine.training.precision import choose_arithmetic
from engine.training.recipe import Seeds, StudentRecipe
from engine.training.step import Network, Normaliser
from engine.training.student import StudentTrainer, Subset

SIDE = 8
WHOLE = {"batch_size": 256, "precision": "fp32", "augmentation": "none"}
MODEL = "convnet-d2-w8"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 24 train images and 6 test images each, 8 × 8 RGB."""
    folder = tmp_path_factory.mktemp("whitened") / "source"
    rng = np.random.default_rng(5)
    for split, count in (("train", 24), ("test", 6)):
        for number, name in enumerate(("ant", "bee")):
            (folder / split / name).mkdir(parents=True)
            for position in range(count):
                pixels = rng.integers(0, 90, (SIDE, SIDE, 3)) + rng.integers(0, 60, (SIDE, 1, 1))
                pixels[..., number] += 80
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / split / name / f"{position:02d}.png")
    return folder


@pytest.fixture(scope="module")
def data(source: Path) -> Path:
    beton_builder.build_beton(source, source.parent / "data", normalisation="zca", workers=1)
    return source.parent / "data"


@pytest.fixture(scope="module")
def plain(source: Path) -> Path:
    beton_builder.build_beton(source, source.parent / "plain", workers=1)
    return source.parent / "plain"


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    """One epoch that is one step, so that its order does not matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        engine.train_expert(
            data, data.parent / "run", model=MODEL, epochs=1, lr=0.5, overrides=WHOLE
        )
    return data.parent / "run"


def pixels_of(data: Path, split: str) -> Tensor:
    """uint8 (n, c, h, w)."""
    with beton_builder.open_dataset(data).split(split) as file:
        stacked = np.stack([file.image(i) for i in range(len(file))])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


def whitened_by_hand(images_nchw: Tensor, train_nchw: Tensor) -> Tensor:
    """The papers' whitening in torch, flattened by channel, with an SVD: float32 (n, c, h, w)."""
    train = (train_nchw.double() / 255).reshape(len(train_nchw), -1)
    centred = train - train.mean(0)
    left, values, _ = torch.linalg.svd(centred.T @ centred / (len(train) - 1))
    matrix = left @ torch.diag((values + 0.1).rsqrt()) @ left.T
    flat = (images_nchw.double() / 255).reshape(len(images_nchw), -1) - train.mean(0)
    return (flat @ matrix).reshape(images_nchw.shape).float()


def plain_network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(8, 8), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(8, 8), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(8 * 4, 2)),
    )


def load(network: nn.Sequential, weights: dict[str, Tensor]) -> None:
    layers = ["features.0", "features.1", "features.4", "features.5", "classifier"]
    ours = [weights[f"{layer}.{part}"] for layer in layers for part in ("weight", "bias")]
    names = [name for name, _ in network.named_parameters()]
    network.load_state_dict(dict(zip(names, ours, strict=True)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_whitened_as_by_hand(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, channels, 6, 5), generator=generator, dtype=torch.uint8)
    sums = PixelSums(6 * 5 * channels)
    sums.add(images.permute(0, 2, 3, 1).flatten(1).numpy())
    normalise = Normaliser((0.0,) * channels, (1.0,) * channels, "cpu", fit(sums, (6, 5, channels)))
    expected = whitened_by_hand(images, images)
    for batch in (images, images.contiguous(memory_format=torch.channels_last)):
        found = normalise(batch)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(normalise(images[7:8]), expected[7:8], atol=2e-5, rtol=1e-4)


def test_mean_and_std_come_before_the_whitening() -> None:
    identity = Whitening(
        "id", 0.1, np.full((2, 2, 3), 0.25, np.float32), np.eye(12, dtype=np.float32) * 2
    )
    images = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    found = Normaliser(mean, std, "cpu", identity)(images)
    expected = 2 * (Normaliser(mean, std, "cpu")(images) - 0.25)
    torch.testing.assert_close(found, expected)


def test_images_of_another_size_are_refused(data: Path) -> None:
    whitening = beton_builder.open_dataset(data).whitening()
    normalise = Normaliser((0.0,) * 3, (1.0,) * 3, "cpu", whitening)
    with pytest.raises(UsageError, match="for images of 8 × 8 pixels, and these are 10 × 9"):
        normalise(torch.zeros(1, 3, 9, 10, dtype=torch.uint8))


def test_an_expert_on_whitened_images_equals_plain_pytorch(data: Path, run: Path) -> None:
    opened = open_run(run)
    train, test = pixels_of(data, "train"), pixels_of(data, "test")
    labels = torch.from_numpy(beton_builder.open_dataset(data).split("train").labels)
    network = plain_network()
    load(network, opened.weights(0))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    F.cross_entropy(network(whitened_by_hand(train, train)), labels).backward()
    optimiser.step()
    trained = plain_network()
    load(trained, opened.weights(1))
    for ours, theirs in zip(trained.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-3)
    predicted = network(whitened_by_hand(test, train)).argmax(1)
    truth = torch.from_numpy(beton_builder.open_dataset(data).split("test").labels)
    accuracy = float((predicted == truth).double().mean())
    assert opened.record(1)["metrics"]["test_accuracy"] == pytest.approx(accuracy, abs=1 / 12)


@pytest.mark.parametrize("view", ["plain", "flip"])
def test_labels_are_the_logits_of_whitened_images(
    data: Path, run: Path, tmp_path: Path, view: str
) -> None:
    engine.dump_labels(data, run, tmp_path / "labels.zarr", view=view)
    store = labelstore.open_store(tmp_path / "labels.zarr")
    train = pixels_of(data, "train")
    network = plain_network()
    for epoch in (0, 1):
        load(network, open_run(run).weights(epoch))
        with torch.no_grad():
            logits = network(whitened_by_hand(train, train))
            if view == "flip":
                logits = (logits + network(whitened_by_hand(train.flip(3), train))) / 2
        stored = store.view(None, view).read(epoch, np.arange(len(train)))
        np.testing.assert_allclose(stored, logits.numpy(), atol=5e-3)
    checked = engine.check_labels(tmp_path / "labels.zarr", data, run)
    assert checked["ok"]


def test_a_student_on_whitened_images_equals_plain_pytorch(data: Path) -> None:
    dataset = beton_builder.open_dataset(data)
    train = pixels_of(data, "train")
    ids = np.arange(0, 48, 4)
    trainer = StudentTrainer(
        MODEL,
        num_classes=2,
        channels=3,
        resolution=SIDE,
        mean=dataset.mean,
        std=dataset.std,
        arithmetic=choose_arithmetic("fp32"),
        whitening=dataset.whitening(),
    )
    targets = torch.full((len(ids), 2), 0.5)
    targets[:6] = torch.tensor([0.9, 0.1])
    started: dict[str, Tensor] = {}
    recipe = StudentRecipe(epochs=1, lr=0.1, augmentation="none", precision="fp32", model=MODEL)
    subset = Subset(images_nchw=train[ids], targets_nk=targets, ids=ids)

    def finish(network: Network) -> dict[str, float | None]:
        started["after"] = network.model.classifier.weight.detach().clone()
        return {"test": None, "validation": None}

    trainer.train(subset, recipe, Seeds(init_seed=3), finish)
    from engine.models import build_model
    from engine.training.student import student_init

    initial = build_model(
        MODEL, num_classes=2, channels=3, resolution=SIDE, init_seed=student_init(3)
    )
    network = plain_network()
    load(network, dict(initial.state_dict()))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    F.cross_entropy(network(whitened_by_hand(train[ids], train)), targets).backward()
    optimiser.step()
    torch.testing.assert_close(started["after"], network[-1].weight.detach(), atol=2e-5, rtol=1e-3)


def test_runs_with_and_without_whitening_are_told_apart(
    data: Path, plain: Path, run: Path, tmp_path: Path
) -> None:
    options = {"model": MODEL, "epochs": 0, "lr": 0.5, "overrides": WHOLE}
    other = engine.train_expert(plain, tmp_path / "run", **options)
    assert other["id"] != open_run(run).id
    assert "whitening" not in open_run(tmp_path / "run").manifest["dataset"]
    whitening = beton_builder.open_dataset(data).whitening_id
    assert open_run(run).manifest["dataset"]["whitening"] == whitening
    with pytest.raises(MismatchError, match=f"whitening: None → {whitening}"):
        engine.train_expert(data, tmp_path / "run", **options)
    with pytest.raises(MismatchError, match=f"with whitening {whitening}, but .* says none"):
        engine.dump_labels(plain, run, tmp_path / "labels.zarr")
    with pytest.raises(MismatchError, match="trained with whitening none, but"):
        engine.dump_labels(data, tmp_path / "run", tmp_path / "labels.zarr")


def test_another_resolution_than_the_whitenings_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="whitened at 8 × 8 pixels, and the recipe asks for 6"):
        engine.train_expert(
            data, tmp_path / "run", model=MODEL, overrides={**WHOLE, "resolution": 6}
        )


def test_a_sweep_on_whitened_images_has_trials_of_its_own(
    data: Path, plain: Path, run: Path, tmp_path: Path
) -> None:
    engine.dump_labels(data, run, tmp_path / "labels.zarr", epochs=[1])
    records = {}
    for name, dataset, labels in (("zca", data, ["soft", "hard"]), ("plain", plain, ["hard"])):
        engine.sweep_students(
            dataset,
            tmp_path / "labels.zarr",
            tmp_path / name,
            ipc=[2],
            seeds=[0],
            executor="local",
            overrides={
                "labels": labels,
                "student.model": MODEL,
                "student.epochs": 3,
                "student.precision": "fp32",
            },
        )
        found = [read_record(path) for path in (tmp_path / name / "trials").rglob("*.json")]
        records[name] = {record["cell"]["labels"]: record for record in found}
    whitening = beton_builder.open_dataset(data).whitening_id
    for record in records["zca"].values():
        assert record["status"] == "done"
        assert record["parents"]["normalisation"] == {
            "mean": [0.0] * 3,
            "std": [1.0] * 3,
            "whitening": whitening,
        }
    assert records["plain"]["hard"]["parents"]["normalisation"].keys() == {"mean", "std"}
    assert records["plain"]["hard"]["id"] != records["zca"]["hard"]["id"]


def test_students_of_another_resolution_than_the_whitenings_are_refused(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is whitened at 8 × 8 pixels"):
        engine.sweep_students(
            data,
            None,
            tmp_path / "sweep",
            ipc=[1],
            seeds=[0],
            overrides={"labels": ["hard"], "student.model": MODEL, "student.resolution": 16},
            dry_run=True,
        )
