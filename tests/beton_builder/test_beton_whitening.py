"""ZCA whitening against numpy's SVD of the covariance, and as a part of a dataset."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beton_samples import as_png, file_hashes, smooth_pixels, write_folder, write_idx
from hypothesis import given
from hypothesis import strategies as st

from beton_builder import (
    BadOption,
    DamagedDataset,
    Dataset,
    DatasetExists,
    build_beton,
    open_dataset,
    verify_dataset,
)
from beton_builder.whitening import FILE_NAME, PixelSums, fit, require_one_size


def by_svd(images: np.ndarray, epsilon: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and matrix (d, d) of (n, h, w, c) uint8, by the formula and another algorithm."""
    flat = images.reshape(len(images), -1) / 255.0
    centred = flat - flat.mean(axis=0)
    left, values, _ = np.linalg.svd(centred.T @ centred / (len(flat) - 1))
    return flat.mean(axis=0), left @ np.diag(1 / np.sqrt(values + epsilon)) @ left.T


def some_images(count: int, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Images with correlated neighbours, (n, h, w, c) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (count, height, 1, channels))
    return (coarse + rng.integers(0, 56, (count, height, width, channels))).astype(np.uint8)


def sums_of(images: np.ndarray) -> PixelSums:
    sums = PixelSums(int(np.prod(images.shape[1:])))
    sums.add(images.reshape(len(images), -1))
    return sums


@pytest.mark.parametrize("shape", [(40, 4, 3, 3), (300, 5, 5, 1), (12, 6, 6, 3)])
def test_centre_and_matrix_are_those_of_an_svd(shape: tuple[int, int, int, int]) -> None:
    images = some_images(*shape)
    found = fit(sums_of(images), shape[1:])
    mean, matrix = by_svd(images)
    np.testing.assert_allclose(found.centre_hwc.ravel(), mean, atol=1e-7)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-5)
    assert (found.matrix.dtype, found.epsilon) == (np.float32, 0.1)


def test_whitened_images_have_no_correlation_where_they_vary_much() -> None:
    images = some_images(500, 4, 4, 3)
    found = fit(sums_of(images), (4, 4, 3))
    flat = images.reshape(500, -1) / 255.0
    whitened = (flat - found.centre_hwc.ravel()) @ found.matrix.astype(np.float64)
    values = np.linalg.eigvalsh(np.cov(flat.T))
    expected = values / (values + 0.1)
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(whitened.T)), expected, atol=1e-5)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-5)


@given(st.lists(st.integers(0, 3000), max_size=4), st.integers(0, 2**32 - 1))
def test_sums_are_exact_for_any_cut_and_order(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.choice([0, 1, 127, 128, 254, 255], (3000, 5)).astype(np.uint8)
    whole, parts = PixelSums(5), PixelSums(5)
    whole.add(pixels)
    for part in np.split(rng.permutation(pixels), sorted(cuts)):
        parts.add(part)
    exact = pixels.astype(np.int64) - 128
    np.testing.assert_array_equal(parts.products, exact.T @ exact)
    np.testing.assert_array_equal(parts.sums, exact.sum(axis=0))
    assert whole.hash("rule") == parts.hash("rule") != whole.hash("another rule")
    np.testing.assert_allclose(whole.covariance(), np.cov(pixels.T / 255.0), atol=1e-12)


def small_source(folder: Path, *, channels: int = 3, size: int = 6) -> tuple[Path, np.ndarray]:
    """A source of equally large images; returns it and its train images in sample order."""
    images = some_images(30, size, size, channels)
    if channels == 1:
        for split in ("train", "t10k"):
            write_idx(folder, images[..., 0], np.arange(30) % 3, split)
        return folder, images
    files = {
        f"{split}/class{i % 3}/{i:02d}.png": as_png(image)
        for split in ("train", "val")
        for i, image in enumerate(images)
    }
    order = sorted(range(30), key=lambda i: (i % 3, i))
    return write_folder(folder, files), images[order]


def built(folder: Path, **options: Any) -> Dataset:
    source, _ = small_source(folder / "source")
    build_beton(source, folder / "data", normalisation="zca", **options)
    return open_dataset(folder / "data")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_built_dataset_has_the_whitening_of_its_train_images(
    tmp_path: Path, channels: int
) -> None:
    source, images = small_source(tmp_path / "source", channels=channels)
    result = build_beton(source, tmp_path / "data", normalisation="zca")
    dataset = open_dataset(tmp_path / "data")
    found = dataset.whitening()
    assert found is not None
    assert found.id == dataset.whitening_id == result["whitening"]
    mean, matrix = by_svd(images)
    np.testing.assert_allclose(found.centre_hwc, mean.reshape(6, 6, channels), atol=1e-7)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-5)
    assert (dataset.mean, dataset.std) == ((0.0,) * channels, (1.0,) * channels)
    assert dataset.manifest["whitening"]["samples"] == 30


def test_the_images_keep_their_id_and_an_older_program_refuses(tmp_path: Path) -> None:
    whitened = built(tmp_path)
    build_beton(tmp_path / "source", tmp_path / "plain")
    plain = open_dataset(tmp_path / "plain")
    assert whitened.id == plain.id
    assert (plain.whitening_id, plain.whitening(), plain.manifest["format_version"]) == (
        None, None, 1,
    )  # fmt: skip
    assert "whitening" not in plain.manifest
    assert whitened.manifest["format_version"] == 2


def test_the_bytes_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    source, _ = small_source(tmp_path / "source")
    hashes = []
    for workers in (1, 3):
        build_beton(source, tmp_path / str(workers), normalisation="zca", workers=workers)
        hashes.append(file_hashes(tmp_path / str(workers)))
    assert hashes[0] == hashes[1]
    assert FILE_NAME in hashes[0]


@pytest.mark.parametrize("position", [0, 9, 200, -1])
def test_a_flipped_bit_of_the_whitening_is_found(tmp_path: Path, position: int) -> None:
    dataset = built(tmp_path)
    assert verify_dataset(dataset.path)["ok"]
    path = dataset.path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)
    problems = verify_dataset(dataset.path)["problems"]
    assert [FILE_NAME in problem for problem in problems] == [True]
    with pytest.raises(DamagedDataset, match=r"whitening\.safetensors is damaged.*--force"):
        open_dataset(dataset.path).whitening()


def test_a_missing_whitening_is_found_on_opening(tmp_path: Path) -> None:
    dataset = built(tmp_path)
    (dataset.path / FILE_NAME).unlink()
    assert "cannot be read" in " ".join(verify_dataset(dataset.path)["problems"])
    with pytest.raises(DamagedDataset, match="is missing"):
        open_dataset(dataset.path)


def test_another_normalisation_is_another_dataset_and_leaves_no_whitening(tmp_path: Path) -> None:
    dataset = built(tmp_path)
    again = build_beton(tmp_path / "source", dataset.path, normalisation="zca")
    assert again["status"] == "finished already"
    with pytest.raises(DatasetExists, match="normalisation zca there, auto asked"):
        build_beton(tmp_path / "source", dataset.path)
    build_beton(tmp_path / "source", dataset.path, force=True)
    assert not (dataset.path / FILE_NAME).exists()
    assert verify_dataset(dataset.path)["ok"]


def test_images_of_several_sizes_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    source, _ = small_source(tmp_path / "source")
    write_folder(source, {"train/class0/zz.png": as_png(smooth_pixels(6, 7))})
    with pytest.raises(BadOption, match="6 to 6 pixels high and 6 to 7 wide"):
        build_beton(source, tmp_path / "data", normalisation="zca")
    assert not (tmp_path / "data").exists()


def test_a_test_split_of_another_size_is_refused(tmp_path: Path) -> None:
    source, _ = small_source(tmp_path / "source")
    for path in (source / "val").rglob("*.png"):
        path.write_bytes(as_png(smooth_pixels(8, 8)))
    with pytest.raises(BadOption, match="images of one size"):
        build_beton(source, tmp_path / "data", normalisation="zca")


def test_images_too_large_for_a_matrix_are_refused() -> None:
    require_one_size([64], [64])
    with pytest.raises(BadOption, match="up to 64 × 64 pixels, and these are 65 × 64"):
        require_one_size([64], [65])


def test_arrays_that_are_too_large_are_refused_in_a_dry_run_too(tmp_path: Path) -> None:
    images = some_images(6, 65, 65, 1)[..., 0]
    write_idx(tmp_path / "source", images, np.arange(6) % 2)
    with pytest.raises(BadOption, match="up to 64 × 64 pixels, and these are 65 × 65"):
        build_beton(tmp_path / "source", tmp_path / "data", normalisation="zca", dry_run=True)
    shrunk = build_beton(
        tmp_path / "source", tmp_path / "data", normalisation="zca", dry_run=True, max_resolution=8
    )
    assert shrunk["status"] == "planned"


def test_a_single_image_has_no_covariance(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", {"one/a.png": as_png(smooth_pixels(6, 6))})
    with pytest.raises(BadOption, match="at least 2 train images"):
        build_beton(source, tmp_path / "data", normalisation="zca")


def test_what_the_dataset_says_of_itself_names_the_whitening(tmp_path: Path) -> None:
    from beton_builder import dataset_info

    dataset = built(tmp_path)
    about = dataset_info(dataset.path)
    assert about["whitening"]["id"] == dataset.whitening_id
    assert about["bytes"] == sum(
        path.stat().st_size for path in dataset.path.iterdir() if path.name != "manifest.json"
    )
    assert json.dumps(about)
