"""An export as the libraries of its format read it, and as it comes back: the same pixels."""

from __future__ import annotations

import io
import json
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from distilled_cases import CLASSES, FORMATS, Expected
from PIL import Image

import beton_builder
import engine
from engine.distilled import shard_writers
from engine.loading import load_resident


def test_parquet_as_hugging_face_reads_it(exports, small_data, small_store) -> None:
    expected = Expected(small_data, small_store)
    (file,) = (exports["parquet"] / "data").glob("*.parquet")
    table = pq.read_table(file)
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"]["names"] == list(CLASSES)
    assert str(table.schema.field("soft_label").type) == "list<element: float>"
    rows = table.to_pylist()
    assert [row["sample_id"] for row in rows] == expected.ids.tolist()
    assert [row["label"] for row in rows] == expected.labels[expected.ids].tolist()
    assert np.array_equal(np.array([r["soft_label"] for r in rows], np.float32), expected.soft_nk)
    for row, image in zip(rows, expected.images_nhwc, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))), image)
        assert row["image"]["path"].endswith(".png")


def test_tar_as_webdataset_reads_it(exports, small_data, small_store) -> None:
    expected = Expected(small_data, small_store)
    with tarfile.open(exports["webdataset"] / "data" / "train-000000.tar") as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}
    names = list(files)
    assert len(names) == 3 * len(expected.ids)
    for number, sample in enumerate(expected.ids):
        key = f"{sample:09d}"
        assert names[3 * number : 3 * number + 3] == [f"{key}.png", f"{key}.cls", f"{key}.npy"]
        image = np.asarray(Image.open(io.BytesIO(files[f"{key}.png"])))
        assert np.array_equal(image, expected.images_nhwc[number])
        assert int(files[f"{key}.cls"]) == expected.labels[sample]
        soft = np.load(io.BytesIO(files[f"{key}.npy"]))
        assert np.array_equal(soft, expected.soft_nk[number])


def test_npz_as_numpy_reads_it(exports, small_data, small_store) -> None:
    expected = Expected(small_data, small_store)
    arrays = np.load(exports["npz"] / "data" / "train.npz")
    assert np.array_equal(arrays["images"], expected.images_nhwc)
    assert np.array_equal(arrays["sample_ids"], expected.ids)
    assert np.array_equal(arrays["labels"], expected.labels[expected.ids])
    assert np.array_equal(arrays["soft_labels"], expected.soft_nk)
    assert arrays["classes"].tolist() == list(CLASSES)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_comes_back_as_it_was(exports, small_data, small_store, name: str) -> None:
    expected = Expected(small_data, small_store)
    dataset = beton_builder.open_dataset(small_data)
    found = engine.open_distilled(exports[name], dataset=dataset)
    assert np.array_equal(found.images_nchw.permute(0, 2, 3, 1).numpy(), expected.images_nhwc)
    assert np.array_equal(found.targets_nk, expected.soft_nk)
    assert np.array_equal(found.ids, expected.ids)
    assert found.classes == CLASSES
    assert (found.scale, found.label_kind, found.findings) == ("bytes", "probabilities", ())
    assert engine.verify_distilled(exports[name])["ok"]


@pytest.mark.parametrize("name", ["parquet", "webdataset"])
def test_large_sets_lie_in_several_files(small_data, small_store, tmp_path, monkeypatch, name):
    monkeypatch.setattr(shard_writers, "SHARD_BYTES", 4000)
    engine.export_distilled(
        small_data, small_store, tmp_path / "set", ipc=4, expert_epoch=2, format=name,
        subset_seed=3,
    )  # fmt: skip
    assert len(list((tmp_path / "set" / "data").iterdir())) > 2
    dataset = beton_builder.open_dataset(small_data)
    found = engine.open_distilled(tmp_path / "set", dataset=dataset)
    assert np.array_equal(found.ids, Expected(small_data, small_store).ids)
    assert np.array_equal(found.targets_nk, Expected(small_data, small_store).soft_nk)


def test_jpegs_travel_as_they_are_stored(tmp_path) -> None:
    """Of photos of many sizes, students of the export see the pixels that the sweep's saw."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name in CLASSES:
            folder = tmp_path / "source" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                small = generator.integers(0, 256, (8, 8, 3)).astype(np.uint8)
                size = tuple(generator.integers(40, 70, 2).tolist())
                Image.fromarray(small).resize(size).save(folder / f"{number}.jpg", quality=90)
    data, store = tmp_path / "data", tmp_path / "labels.zarr"
    beton_builder.build_beton(tmp_path / "source", data, workers=1)
    engine.train_expert(
        data, tmp_path / "run", model="convnet-d2-w8", epochs=1,
        overrides={"resolution": 32, "precision": "fp32"},
    )  # fmt: skip
    engine.dump_labels(data, tmp_path / "run", store, epochs=[1])
    dataset = beton_builder.open_dataset(data)
    for name in FORMATS:
        out = tmp_path / name
        engine.export_distilled(data, store, out, ipc=3, expert_epoch=1, format=name)
        found = engine.open_distilled(out, dataset=dataset, resolution=32)
        expected = load_resident(dataset, "train", indices=found.ids, resolution=32)
        assert np.array_equal(found.images_nchw.numpy(), expected.images.numpy())
    with tarfile.open(tmp_path / "webdataset" / "data" / "train-000000.tar") as archive:
        jpegs = {m.name: archive.extractfile(m).read() for m in archive if ".jpg" in m.name}
    originals = {p.read_bytes() for p in (tmp_path / "source" / "train").rglob("*.jpg")}
    assert len(jpegs) == 9
    assert set(jpegs.values()) <= originals


def test_a_file_put_beside_an_export_is_no_part_of_it(exports, small_data, tmp_path) -> None:
    folder = shutil.copytree(exports["parquet"], tmp_path / "set")
    (file,) = (folder / "data").iterdir()
    shutil.copy(file, folder / "train-more.parquet")
    shutil.copy(file, folder / "data" / "train-more.parquet")
    dataset = beton_builder.open_dataset(small_data)
    assert engine.open_distilled(folder, dataset=dataset).num_images == 12
