"""Real datasets against independent readers of their files."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beton_builder import Dataset, build_beton, open_dataset, verify_dataset


@pytest.fixture(scope="module")
def cifar100(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("cifar100") / "data"
    build_beton(shared_data / "cifar100", out)
    return open_dataset(out)


def columns_of(shared_data: Path, split: str) -> tuple:
    table = pq.read_table(shared_data / f"cifar100/{split}-00000-of-00001.parquet")
    metadata = json.loads(table.schema.metadata[b"huggingface"])
    return table, metadata["info"]["features"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar100_has_pyarrows_labels_and_pillows_pixels(
    cifar100: Dataset, shared_data: Path, split: str
) -> None:
    table, features = columns_of(shared_data, split)
    assert list(cifar100.classes) == features["fine_label"]["names"]
    with cifar100.split(split) as file:
        np.testing.assert_array_equal(file.labels, table["fine_label"].to_numpy())
        for i in np.random.default_rng(0).integers(0, len(file), 200).tolist():
            png = io.BytesIO(table["img"][i]["bytes"].as_py())
            with Image.open(png) as image:
                np.testing.assert_array_equal(file.image(i), np.asarray(image))


def test_cifar100_keeps_its_superclasses_and_follows_the_protocol(
    cifar100: Dataset, shared_data: Path
) -> None:
    table, features = columns_of(shared_data, "train")
    assert list(cifar100.superclasses or ()) == features["coarse_label"]["names"]
    nesting = np.array(cifar100.superclass_of)
    np.testing.assert_array_equal(
        nesting[table["fine_label"].to_numpy()], table["coarse_label"].to_numpy()
    )
    assert cifar100.mean == (0.4914, 0.4822, 0.4465)
    assert cifar100.std == (0.2023, 0.1994, 0.2010)
    labels = table["fine_label"].to_numpy()[cifar100.validation_indices]
    assert np.bincount(labels).tolist() == [50] * 100
    assert (cifar100.height, cifar100.width, cifar100.channels) == (32, 32, 3)


def test_cifar100_verifies_and_is_not_built_twice(cifar100: Dataset, shared_data: Path) -> None:
    assert verify_dataset(cifar100.path) == {"ok": True, "checked": 60_000, "problems": []}
    again = build_beton(shared_data / "cifar100", cifar100.path)
    assert again["status"] == "finished already"


def test_imagenet_files_are_copied_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    result = build_beton(shared_data / "imagenet-sample", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert (result["splits"]["train"]["samples"], dataset.decode_path) == (300, "jpeg")
    assert (dataset.has_split("test"), len(dataset.validation_indices)) == (False, 0)
    assert dataset.mean == (0.485, 0.456, 0.406)
    names = dataset.samples("train").source
    with dataset.split("train") as train:
        for i, name in enumerate(names):
            source = shared_data / "imagenet-sample" / name
            assert train.payload(i).tobytes() == source.read_bytes()
        with Image.open(shared_data / "imagenet-sample" / names[7]) as image:
            np.testing.assert_array_equal(train.image(7), np.asarray(image.convert("RGB")))
        sizes = {(h, w) for h, w in zip(train.heights, train.widths, strict=True)}
    assert len(sizes) > 50


def test_imagenet_at_64_pixels_fits_its_limit(shared_data: Path, tmp_path: Path) -> None:
    build_beton(shared_data / "imagenet-sample", tmp_path / "out", max_resolution=64)
    with open_dataset(tmp_path / "out").split("train") as train:
        longer = np.maximum(train.heights, train.widths)
        assert set(longer.tolist()) <= {63, 64}
        assert train.modes.tolist() == [0] * 300


def read_idx(path: Path) -> np.ndarray:
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape.tolist())


def test_fashion_mnist_equals_an_independent_parse(
    fashion_mnist_source: Path, tmp_path: Path
) -> None:
    result = build_beton("fashion-mnist", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.classes[8:] == ("Bag", "Ankle boot")
    assert (dataset.channels, result["normalisation"]["from"]) == (1, "measured on train")
    for split, word in (("train", "train"), ("test", "t10k")):
        images = read_idx(fashion_mnist_source / f"{word}-images-idx3-ubyte.gz")
        labels = read_idx(fashion_mnist_source / f"{word}-labels-idx1-ubyte.gz")
        with dataset.split(split) as file:
            np.testing.assert_array_equal(file.labels, labels)
            stored = np.stack([file.image(i)[..., 0] for i in range(len(file))])
            np.testing.assert_array_equal(stored, images)
            if split == "train":
                np.testing.assert_allclose(dataset.mean[0], images.mean() / 255, atol=1e-9)
                np.testing.assert_allclose(dataset.std[0], images.std() / 255, atol=1e-9)
    same = build_beton(fashion_mnist_source, tmp_path / "by_path", workers=1)
    assert same["id"] == result["id"]
