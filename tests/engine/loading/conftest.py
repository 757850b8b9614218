"""Two tiny datasets, built once: photographs of many shapes as JPEGs, and tiles as raw pixels."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beton_builder import Dataset, build_beton, open_dataset

SIZES = [(97, 64), (64, 97), (120, 120), (75, 300), (300, 75), (161, 143), (33, 40), (256, 192)]


def picture(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Smooth colours with some grain, as photographs have."""
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grainy = smooth + rng.integers(-9, 10, (height, width, 3))
    return Image.fromarray(grainy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of 24 JPEGs in 2 classes: every chroma sampling, grey, progressive."""
    folder, rng = tmp_path_factory.mktemp("photo_files"), np.random.default_rng(0)
    for number in range(24):
        image = picture(rng, *SIZES[number % len(SIZES)])
        image = image.convert("L") if number % 7 == 3 else image
        place = folder / f"class{number // 12}" / f"{number:02}.jpg"
        place.parent.mkdir(exist_ok=True)
        image.save(place, quality=90, subsampling=number % 3, progressive=number % 5 == 4)
    return folder


@pytest.fixture(scope="session")
def photos(photo_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("photos") / "dataset"
    build_beton(photo_files, out, workers=1)
    return open_dataset(out)


@pytest.fixture(scope="session")
def tile_pixels() -> np.ndarray:
    """uint8 (30, 16, 16, 3)."""
    return np.random.default_rng(1).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiles(tile_pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiles, ten of each of three classes, in order."""
    folder = tmp_path_factory.mktemp("tiles")
    for number, pixels in enumerate(tile_pixels):
        place = folder / "source" / f"class{number // 10}" / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    build_beton(folder / "source", folder / "dataset", workers=1)
    return open_dataset(folder / "dataset")


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every test of this room ends with the threads it began with."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not [name for name in left if name.startswith("engine-loading")]
