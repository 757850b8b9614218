"""An export is what a sweep's student gets, in a form that others read, whole or not there."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from distilled_cases import CLASSES, QUICK
from PIL import Image

import beton_builder
import engine
import labelstore
from engine.distilled import shard_writers
from engine.distilled.artefact import read_manifest
from engine.errors import ArtefactError, DamageError, MismatchError, UsageError
from engine.experiments import select_random
from engine.loading import load_resident

FORMATS = ("parquet", "webdataset", "npz")


@pytest.fixture(scope="module")
def exports(small_data, small_store, tmp_path_factory) -> dict[str, Path]:
    """The same set in every format."""
    root = tmp_path_factory.mktemp("exports")
    for name in FORMATS:
        engine.export_distilled(
            small_data, small_store, root / name, ipc=4, expert_epoch=2, format=name, subset_seed=3
        )
    return {name: root / name for name in FORMATS}


class Expected:
    """What the set must hold, taken from dataset and store by other means."""

    def __init__(self, data: Path, store: Path, **labels) -> None:
        dataset = beton_builder.open_dataset(data)
        split = dataset.split("train")
        allowed = np.setdiff1d(np.arange(split.num_samples), dataset.validation_indices)
        self.labels = np.asarray(split.labels)
        self.ids = _random_subset(self.labels, allowed)
        self.images_nhwc = np.stack([split.image(int(i)) for i in self.ids])
        view = labelstore.open_store(store).view()
        self.soft_nk = view.probabilities(2, self.ids, **labels)


def _random_subset(labels: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    try:
        return select_random(labels, allowed, 4, 3, CLASSES)
    except TypeError:
        from engine.experiments import Pool

        return select_random(Pool(labels=labels, candidates=allowed, classes=CLASSES), 4, 3)


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


def test_validation_images_are_never_in_it(exports, small_data) -> None:
    dataset = beton_builder.open_dataset(small_data)
    ids = np.load(exports["npz"] / "data" / "train.npz")["sample_ids"]
    assert len(dataset.validation_indices)
    assert not set(ids.tolist()) & set(dataset.validation_indices.tolist())


def test_temperature_transform_codec_and_best_epoch(small_data, small_run, tmp_path) -> None:
    engine.dump_labels(small_data, small_run, tmp_path / "labels.zarr", epochs=[1, 2, 3])
    labelstore.convert_labels(tmp_path / "labels.zarr", "quantised:8")
    engine.export_distilled(
        small_data,
        tmp_path / "labels.zarr",
        tmp_path / "set",
        ipc=2,
        expert_epoch="best",
        format="npz",
        temperature=2.5,
        transform="shuffle-tail" if _knows("shuffle-tail") else "temperature:1.5",
        codec="quantised:8",
    )
    manifest = read_manifest(tmp_path / "set")
    view = labelstore.open_store(tmp_path / "labels.zarr").view(codec="quantised:8")
    best = max(view.epochs, key=lambda e: (view.about(e)["test_accuracy"], -e))
    assert manifest["labels"]["expert_epoch"] == best
    assert manifest["expert"]["codec_error"] == view.codec_error(best)
    arrays = np.load(tmp_path / "set" / "data" / "train.npz")
    temperature = 2.5 if _knows("shuffle-tail") else 2.5 * 1.5
    softened = view.probabilities(best, arrays["sample_ids"], temperature=temperature)
    np.testing.assert_allclose(np.sort(arrays["soft_labels"], 1), np.sort(softened, 1), rtol=1e-6)
    card = (tmp_path / "set" / "README.md").read_text()
    assert "quantised:8" in card
    assert "2.5" in manifest["command"] or "3.75" in manifest["command"]


def _knows(name: str) -> bool:
    from engine.experiments import label_transform_names

    return name in label_transform_names()


def _copy(store: Path, to: Path) -> Path:
    import shutil

    shutil.copytree(store, to)
    return to


def test_equal_arguments_give_equal_bytes(exports, small_data, small_store, tmp_path) -> None:
    for name in FORMATS:
        engine.export_distilled(
            small_data, small_store, tmp_path / name, ipc=4, expert_epoch=2, format=name,
            subset_seed=3,
        )  # fmt: skip
        assert _files(tmp_path / name) == _files(exports[name])


def _files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


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


def test_the_card_says_how_it_was_made(exports, small_data, small_store) -> None:
    card = (exports["parquet"] / "README.md").read_text()
    view = labelstore.open_store(small_store).view()
    accuracy = view.about(2)["test_accuracy"]
    manifest = read_manifest(exports["parquet"])
    dataset = beton_builder.open_dataset(small_data)
    for said in (
        dataset.id,
        f"{100 * accuracy:.2f} %",
        manifest["id"],
        view.identity["run_id"],
        "after epoch 2",
        "subset seed 3",
        f"{manifest['figures']['label_entropy']:.3f} nats",
        manifest["command"],
        "load_dataset",
        "0 ant, 1 bee, 2 cat",
    ):
        assert said in card, said
    assert str(small_data) not in card
    entropy = -(soft := Expected(small_data, small_store).soft_nk.astype(float)) * np.log(soft)
    assert manifest["figures"]["label_entropy"] == pytest.approx(entropy.sum(1).mean())


def test_the_command_of_the_card_makes_the_same_set(exports, small_data, small_store, tmp_path):
    import shlex

    from cli.main import main

    places = {"DATA": small_data, "STORE": small_store, "OUT": tmp_path / "again"}
    words = shlex.split(read_manifest(exports["webdataset"])["command"])[1:]
    assert main([str(places.get(word, word)) for word in words]) == 0
    assert _files(tmp_path / "again") == _files(exports["webdataset"])


def test_every_flipped_byte_is_found(exports, tmp_path) -> None:
    from cli.artefacts import recognise

    folder = _copy(exports["webdataset"], tmp_path / "set")
    generator = np.random.default_rng(0)
    for file in (p for p in folder.rglob("*") if p.is_file()):
        whole = file.read_bytes()
        for place in {0, len(whole) - 1, *generator.integers(0, len(whole), 4).tolist()}:
            data = bytearray(whole)
            data[place] ^= 1
            file.write_bytes(data)
            answer = recognise(folder).verify(folder, lambda *_: None)
            assert not answer["ok"], (file, place)
            assert answer["problems"]
        if file.parent.name == "data":
            with pytest.raises(DamageError, match="export it anew"):
                engine.open_distilled(folder)
        file.write_bytes(whole)
    assert recognise(folder).name == "distilled"
    assert engine.verify_distilled(folder)["ok"]


def test_a_finished_export_is_left_alone_and_another_is_refused(
    small_data, small_store, tmp_path
) -> None:
    out = tmp_path / "set"
    options = {"ipc": 2, "expert_epoch": 1, "format": "npz"}
    assert engine.export_distilled(small_data, small_store, out, **options)["status"] == "exported"
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    again = engine.export_distilled(small_data, small_store, out, **options)
    assert again["status"] == "finished already"
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    other = {**options, "expert_epoch": 2, "format": "parquet"}
    with pytest.raises(MismatchError, match=r"expert_epoch: 1 → 2.*format: npz → parquet.*--force"):
        engine.export_distilled(small_data, small_store, out, **other)
    engine.export_distilled(small_data, small_store, out, **other, force=True)
    assert not (out / "data" / "train.npz").exists()
    assert engine.verify_distilled(out)["ok"]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_foreign_files_are_not_replaced(small_data, small_store, tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="no distilled set"):
        engine.export_distilled(
            small_data, small_store, tmp_path, ipc=2, expert_epoch=1, force=True
        )
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_dry_run_touches_nothing(small_data, small_store, tmp_path) -> None:
    plan = engine.export_distilled(
        small_data, small_store, tmp_path / "a" / "set", ipc=2, expert_epoch=1, dry_run=True
    )
    assert plan["num_images"] == 6
    assert plan["pixel_bytes"] == 6 * 16 * 16 * 3
    assert not any(tmp_path.iterdir())


def test_what_cannot_be_exported_is_said(small_data, small_store, tmp_path) -> None:
    def export(**options):
        engine.export_distilled(small_data, small_store, tmp_path / "set", **options)

    with pytest.raises(UsageError, match=r"IPC|images per class|37"):
        export(ipc=1000, expert_epoch=1)
    with pytest.raises(Exception, match="epoch 9"):
        export(ipc=1, expert_epoch=9)
    with pytest.raises(UsageError, match="expected one of parquet"):
        export(ipc=1, expert_epoch=1, format="zip")
    assert not any(tmp_path.iterdir())


SLOW_EXPORT = """
import sys, time
import engine.distilled.export as export
import engine

def slowly(path, data, write=export.write_bytes):
    write(path, data)
    print(path, flush=True)
    time.sleep(60)

export.write_bytes = slowly
engine.export_distilled(sys.argv[1], sys.argv[2], sys.argv[3], ipc=2, expert_epoch=1)
"""


def test_a_killed_export_leaves_no_set_and_the_next_one_clears_up(
    small_data, small_store, tmp_path
) -> None:
    out = tmp_path / "here" / "set"
    command = [sys.executable, "-c", SLOW_EXPORT, str(small_data), str(small_store), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[1])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists()
    with pytest.raises(ArtefactError):
        engine.open_distilled(out)
    assert any(out.parent.iterdir())
    engine.export_distilled(small_data, small_store, out, ipc=2, expert_epoch=1)
    assert [p.name for p in out.parent.iterdir()] == ["set"]
    assert engine.verify_distilled(out)["ok"]


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


def test_training_on_an_export_is_training_in_a_sweep(
    exports, small_data, small_store, tmp_path
) -> None:
    """Exactly: every evaluation of every student, through each lossless format."""
    engine.sweep_students(
        small_data,
        small_store,
        tmp_path / "sweep",
        ipc=[4],
        expert_epochs=[2],
        seeds=[0, 1],
        workers=1,
        overrides={**QUICK, "labels": ["soft"], "subset_seed": 3},
    )
    swept = {
        record["seeds"]["init_seed"]: record["result"]
        for record in map(json.loads, (p.read_text() for p in tmp_path.rglob("trials/*/*.json")))
    }
    for name in FORMATS:
        out = tmp_path / name
        engine.evaluate_distilled(
            small_data, exports[name], out, seeds=[0, 1], workers=1, overrides=QUICK
        )
        for seed, expected in swept.items():
            record = json.loads((out / "students" / f"{seed}.json").read_text())
            assert record["result"] == expected


def test_labels_that_do_not_sum_to_one_come_back_as_they_are(
    small_data, small_store, tmp_path
) -> None:
    out = tmp_path / "set"
    engine.export_distilled(
        small_data, small_store, out, ipc=2, expert_epoch=2, format="npz", transform="top-k:1,keep"
    )
    stored = np.load(out / "data" / "train.npz")["soft_labels"]
    assert (stored.sum(axis=1) < 0.99).any()
    found = engine.open_distilled(out, dataset=beton_builder.open_dataset(small_data))
    assert found.label_kind == "weights"
    assert np.array_equal(found.targets_nk, stored)
    card = (out / "README.md").read_text()
    assert f"sum to {stored.sum(axis=1).mean():.3f} on average" in card
    assert "none: they don't sum to 1" in card


def test_the_card_of_labels_without_an_expert_names_none(small_data, small_store, tmp_path) -> None:
    for transform, said in (("hard", "hard labels"), ("generated:0.9", "soft labels")):
        out = tmp_path / transform
        engine.export_distilled(
            small_data, small_store, out, ipc=2, expert_epoch=2, transform=transform
        )
        card = (out / "README.md").read_text()
        assert f"labels that no expert gave (`{transform}`)" in card
        assert f"2 images per class, {said}" in card
        assert "soft labels of an expert" not in card


def test_the_card_of_imported_labels_claims_no_run(small_data, tmp_path) -> None:
    engine.derive_labels(small_data, tmp_path / "labels.zarr", entropies=[0.7])
    engine.export_distilled(
        small_data, tmp_path / "labels.zarr", tmp_path / "set", ipc=2, expert_epoch=70
    )
    card = (tmp_path / "set" / "README.md").read_text()
    assert "`class-mean-images`, imported, after epoch 70" in card
    assert "not made by an expert run of this program" in card
    assert "the image as stored" not in card


def test_a_file_put_beside_an_export_is_no_part_of_it(exports, small_data, tmp_path) -> None:
    import shutil

    folder = _copy(exports["parquet"], tmp_path / "set")
    (file,) = (folder / "data").iterdir()
    shutil.copy(file, folder / "train-more.parquet")
    shutil.copy(file, folder / "data" / "train-more.parquet")
    dataset = beton_builder.open_dataset(small_data)
    assert engine.open_distilled(folder, dataset=dataset).num_images == 12


def test_exporting_again_mends_a_damaged_file(small_data, small_store, tmp_path) -> None:
    options = {"ipc": 2, "expert_epoch": 1, "format": "npz"}
    engine.export_distilled(small_data, small_store, tmp_path / "set", **options)
    (tmp_path / "set/data/train.npz").write_bytes(b"")
    again = engine.export_distilled(small_data, small_store, tmp_path / "set", **options)
    assert again["status"] == "exported"
    assert engine.verify_distilled(tmp_path / "set")["ok"]


def test_one_of_several_experts_has_to_be_named(small_data, tmp_path) -> None:
    store = tmp_path / "labels.zarr"
    for method in ("class-mean-images", "random-features"):
        engine.derive_labels(
            small_data, store, method=method, model="convnet-d2-w8", entropies=[0.7]
        )
    with pytest.raises(UsageError, match=r"name one expert.*class-mean-images, random.*--expert"):
        engine.export_distilled(
            small_data, store, tmp_path / "set", ipc=2, expert_epoch=70, expert="all"
        )
    assert not (tmp_path / "set").exists()


def test_leftovers_are_cleared_whatever_the_folder_is_called(
    small_data, small_store, tmp_path
) -> None:
    left = tmp_path / ".set[1].writing-999999999"
    left.mkdir()
    engine.export_distilled(small_data, small_store, tmp_path / "set[1]", ipc=2, expert_epoch=1)
    assert [p.name for p in tmp_path.iterdir()] == ["set[1]"]
