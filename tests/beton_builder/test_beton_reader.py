"""Our reader: views, decoded images, and every impossible file refused."""

import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from beton_samples import small_folder
from PIL import Image

from beton_builder import (
    BetonFile,
    DamagedDataset,
    DamagedSample,
    DatasetNotFound,
    UnfinishedBeton,
    build_beton,
    open_dataset,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reader")
    build_beton(small_folder(place / "source"), place / "data")
    return place


def test_images_are_those_of_the_source(folder: Path) -> None:
    names = open_dataset(folder / "data").samples("train").source
    with open_dataset(folder / "data").split("train") as train:
        for i, name in enumerate(names):
            with Image.open(folder / "source" / name) as image:
                np.testing.assert_array_equal(train.image(i), np.asarray(image.convert("RGB")))


def test_arrays_have_the_promised_types(folder: Path) -> None:
    with BetonFile(folder / "data/train.beton") as file:
        assert (file.num_samples, len(file)) == (8, 8)
        kinds = [a.dtype.str for a in (file.labels, file.modes, file.heights, file.pointers)]
        assert kinds == ["<i8", "|u1", "<u2", "<u8"]
        assert file.labels.tolist() == [0] * 4 + [1] * 4
        assert file.sizes.tolist() == [len(file.payload(i)) for i in range(8)]


def test_raw_images_and_payloads_are_views_that_cannot_be_written(folder: Path) -> None:
    with BetonFile(folder / "data/train.beton") as file:
        image = file.image(1)
        assert not image.flags.owndata
        assert np.shares_memory(image, file.payload(1))
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0, 0] = 1
    assert image.sum() > 0  # a view outlives the file


def test_a_closed_file_and_a_wrong_index_are_errors(folder: Path) -> None:
    file = BetonFile(folder / "data/train.beton")
    for index in (-1, 8):
        with pytest.raises(IndexError, match=f"sample {index} of 8"):
            file.payload(index)
    file.close()
    with pytest.raises(ValueError, match="was closed"):
        file.image(0)


def test_files_and_datasets_travel_to_other_processes(folder: Path) -> None:
    dataset = pickle.loads(pickle.dumps(open_dataset(folder / "data")))
    with pickle.loads(pickle.dumps(dataset.split("test"))) as test:
        assert test.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, struct.pack("<H", 3), "format version 3"),
        (2, struct.pack("<H", 60_000), "allocation table at byte"),
        (4, struct.pack("<I", 3 << 20), "page size"),
        (8, struct.pack("<Q", 1 << 40), "do not fit before its data"),
        (16, struct.pack("<Q", 1 << 60), "allocation table at byte"),
        (24, b"\x07", "fields of types"),
        (2106, b"\x02", "record of sample 0 is impossible"),
        (2106 + 1, b"\0\0", "record of sample 0 is impossible"),
        (2106 + 24 + 3, b"\xff", "record of sample 1 is impossible"),
        (2106 + 5, struct.pack("<Q", 1 << 63), "sample 0 is not in the allocation table"),
        (-24 + 16, struct.pack("<Q", 1 << 62), "record of sample 7 is impossible"),
        (-24 + 8, struct.pack("<Q", 12), "sample 7 is not in the allocation table"),
    ],
)
def test_an_impossible_file_is_refused(
    folder: Path, tmp_path: Path, offset: int, value: bytes, message: str
) -> None:
    path = Path(shutil.copy(folder / "data/train.beton", tmp_path / "a.beton"))
    with path.open("r+b") as file:
        file.seek(offset, 0 if offset >= 0 else 2)
        file.write(value)
    with pytest.raises(DamagedDataset, match=message):
        BetonFile(path)


def test_an_unfinished_build_is_named(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(folder / "data/train.beton", tmp_path / "a.beton"))
    with path.open("r+b") as file:
        file.seek(16)
        file.write(bytes(8))
    with pytest.raises(UnfinishedBeton, match=r"run engine\s+build-beton\s+again"):
        BetonFile(path)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match="no such file"):
        BetonFile(tmp_path / "none")
    for content, message in ((b"", "is empty"), (b"short", "it has 5 bytes")):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(DamagedDataset, match=message):
            BetonFile(tmp_path / "a")


def test_a_jpeg_that_does_not_decode_fully_is_named(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(folder / "data/train.beton", tmp_path / "a.beton"))
    with BetonFile(path) as file:
        end = int(file.pointers[2] + file.sizes[2])
    with path.open("r+b") as handle:
        handle.seek(end - 40)
        handle.write(bytes(40))
    with BetonFile(path) as file:
        assert file.image(0).shape == (20, 30, 3)
        with pytest.raises(DamagedSample, match=r"sample 2 of .*does not decode"):
            file.image(2)


def test_a_jpeg_of_another_size_than_recorded_is_damage(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(folder / "data/train.beton", tmp_path / "a.beton"))
    with path.open("r+b") as handle:
        handle.seek(2106 + 1)
        handle.write(struct.pack("<H", 29))
    with (
        BetonFile(path) as file,
        pytest.raises(DamagedSample, match=r"decodes to \(20, 30\), recorded \(20, 29\)"),
    ):
        file.image(0)
