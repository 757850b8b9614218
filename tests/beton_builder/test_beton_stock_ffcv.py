"""Stock FFCV reads our files, and we read its.

Stock FFCV runs in a process of its own, once for the module: importing it sets torch to one thread,
its loader can hang, and its compiled functions complain when they are collected.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beton_samples import as_jpeg, smooth_pixels, some_pixels, write_folder, write_idx

from beton_builder import BetonFile, build_beton
from beton_builder import beton_format as form
from beton_builder.images import StorageRules, resize

STOCK = """
import sys, threading
from pathlib import Path
import numpy as np
import ffcv.writer
from ffcv.fields import FloatField, IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder, resizer
from ffcv.libffcv import imdecode
from ffcv.loader import Loader, OrderOption
from ffcv.types import ALLOC_TABLE_TYPE, FieldDescType, HeaderType, get_metadata_type

folder, found = Path(sys.argv[1]), {}
for name, os_cache in (("raw", True), ("raw", False), ("jpeg", True)):
    loader = Loader(
        str(folder / name / "train.beton"), batch_size=7, num_workers=1, os_cache=os_cache,
        order=OrderOption.SEQUENTIAL, drop_last=False,
        pipelines={"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]},
    )
    batches = [(image.copy(), label.copy()) for image, label in loader]
    for key, arrays in zip(("images", "labels"), zip(*batches)):
        found[f"{name}_{key}_{os_cache}"] = np.concatenate(arrays)

decoded = []
for path in sorted((folder / "jpeg_source").rglob("*.jpg")):
    source, target = np.fromfile(path, np.uint8), np.empty((24, 33, 3), np.uint8)
    imdecode(source, target, 24, 33, 24, 33)
    decoded.append(target)
found["jpeg_decoded"] = np.stack(decoded)
found["resized"] = resizer(np.load(folder / "large.npy"), 64)

sample = get_metadata_type([RGBImageField(), IntField()])
types = (HeaderType, FieldDescType, ALLOC_TABLE_TYPE, sample, RGBImageField().metadata_type)
found["sizes"] = [dtype.itemsize for dtype in types]
found["offsets"] = [dtype.fields[name][1] for dtype in types for name in dtype.names]

ffcv.writer.Process = threading.Thread  # its processes hang when one of them dies
images = np.load(folder / "to_write.npy")
fields = {"weight": FloatField(), "y": IntField(), "x": RGBImageField(write_mode="raw")}
writer = ffcv.writer.DatasetWriter(str(folder / "stock.beton"), fields, num_workers=1)
samples = [(0.5, i % 4, image[: 5 + i % 3]) for i, image in enumerate(images)]
writer.from_indexed_dataset(samples, indices=np.arange(len(samples))[::-1], chunksize=4)
np.savez(folder / "found.npz", **found)
"""

RAW = some_pixels(20, 9, 6, 1)[..., 0]
LARGE = smooth_pixels(200, 301)
TO_WRITE = some_pixels(30, 7, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`raw/` and `jpeg/` of ours, `stock.beton` and `found.npz` of stock FFCV."""
    place = tmp_path_factory.mktemp("stock")
    build_beton(write_idx(place / "raw_source", RAW, np.arange(20) % 3), place / "raw")
    files = {
        f"c{i % 2}/{i}.jpg": as_jpeg(smooth_pixels(24, 33, seed=i), quality=80 + i)
        for i in range(10)
    }
    build_beton(write_folder(place / "jpeg_source", files), place / "jpeg")
    np.save(place / "large.npy", LARGE)
    np.save(place / "to_write.npy", TO_WRITE)
    command = [sys.executable, "-c", STOCK, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def stock(folder: Path) -> dict[str, Any]:
    return dict(np.load(folder / "found.npz"))


@pytest.mark.parametrize("os_cache", [True, False])
def test_stock_ffcv_reads_our_raw_images(stock: dict[str, Any], os_cache: bool) -> None:
    expected = np.repeat(RAW[..., None], 3, axis=-1)
    np.testing.assert_array_equal(stock[f"raw_images_{os_cache}"], expected)
    assert stock[f"raw_labels_{os_cache}"][:, 0].tolist() == [i % 3 for i in range(20)]


def test_stock_ffcv_decodes_copied_jpegs_as_it_decodes_their_sources(
    folder: Path, stock: dict[str, Any]
) -> None:
    np.testing.assert_array_equal(stock["jpeg_images_True"], stock["jpeg_decoded"])
    assert stock["jpeg_labels_True"][:, 0].tolist() == [0] * 5 + [1] * 5
    with BetonFile(folder / "jpeg/train.beton") as ours:  # stock FFCV decodes by the fast DCT
        pixels = np.stack([ours.image(i) for i in range(10)]).astype(int)
    assert np.abs(pixels - stock["jpeg_images_True"]).mean() < 2


def test_we_read_what_stock_ffcv_wrote(folder: Path) -> None:
    with BetonFile(folder / "stock.beton") as file:
        for i, source in enumerate(reversed(range(30))):
            assert file.labels[i] == source % 4
            np.testing.assert_array_equal(file.image(i), TO_WRITE[source][: 5 + source % 3])


def test_the_dtypes_are_those_of_stock_ffcv(stock: dict[str, Any]) -> None:
    types = (form.HEADER, form.FIELD_DESCRIPTOR, form.ALLOCATION, form.SAMPLE, form.IMAGE_RECORD)
    offsets = [dtype.fields[name][1] for dtype in types for name in dtype.names or ()]  # type: ignore
    assert [dtype.itemsize for dtype in types] == stock["sizes"].tolist()
    assert offsets == stock["offsets"].tolist()


def test_scaled_pixels_are_close_to_those_of_stock_ffcv(stock: dict[str, Any]) -> None:
    ours = resize(LARGE, StorageRules(max_resolution=64).resized(200, 301))
    assert ours.shape == stock["resized"].shape
    assert np.abs(ours.astype(int) - stock["resized"]).mean() < 1
