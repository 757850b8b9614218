"""An export is what a sweep's student gets: the same images, the same labels, the same training."""

from __future__ import annotations

import json

import numpy as np
import pytest
from distilled_cases import FORMATS, QUICK, files_of

import beton_builder
import engine
import labelstore
from engine.distilled import export_source
from engine.distilled.artefact import read_manifest
from engine.errors import UsageError
from engine.sweep.executors import trial_runner


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
        expert_epoch="best-on-test",
        format="npz",
        temperature=2.5,
        transform="shuffle-tail",
        codec="quantised:8",
    )
    manifest = read_manifest(tmp_path / "set")
    view = labelstore.open_store(tmp_path / "labels.zarr").view(codec="quantised:8")
    best = max(view.epochs, key=lambda e: (view.about(e)["test_accuracy"], -e))
    assert manifest["labels"]["expert_epoch"] == best
    assert manifest["expert"]["codec_error"] == view.codec_error(best)
    arrays = np.load(tmp_path / "set" / "data" / "train.npz")
    softened = view.probabilities(best, arrays["sample_ids"], temperature=2.5)
    np.testing.assert_allclose(np.sort(arrays["soft_labels"], 1), np.sort(softened, 1), rtol=1e-6)
    card = (tmp_path / "set" / "README.md").read_text()
    assert "quantised:8" in card
    assert "--temperature 2.5" in manifest["command"]


def test_equal_arguments_give_equal_bytes(exports, small_data, small_store, tmp_path) -> None:
    for name in FORMATS:
        engine.export_distilled(
            small_data, small_store, tmp_path / name, ipc=4, expert_epoch=2, format=name,
            subset_seed=3,
        )  # fmt: skip
        assert files_of(tmp_path / name) == files_of(exports[name])


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


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_formats_of_stored_bytes_hold_no_pixels(
    exports, small_data, small_store, tmp_path, monkeypatch, format
) -> None:
    """Those of ImageNet at 200 images a class take tens of gigabytes."""
    for room in (trial_runner, export_source):
        monkeypatch.setattr(room, "load_resident", None)
    out = tmp_path / format
    engine.export_distilled(
        small_data, small_store, out, ipc=4, expert_epoch=2, format=format, subset_seed=3
    )
    assert files_of(out) == files_of(exports[format])


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


def test_an_export_of_hard_labels_is_one_of_hard_labels(small_data, small_store, tmp_path) -> None:
    out = tmp_path / "set"
    engine.export_distilled(
        small_data, small_store, out, ipc=2, expert_epoch=2, format="npz", transform="hard"
    )
    found = engine.open_distilled(out, dataset=beton_builder.open_dataset(small_data))
    assert found.label_kind == "hard"
    assert np.array_equal(found.targets_nk, np.eye(3)[found.labels])


def test_an_experts_own_choice_of_a_class_is_no_hard_label(
    small_data, small_store, tmp_path
) -> None:
    out = tmp_path / "set"
    engine.export_distilled(
        small_data, small_store, out, ipc=4, expert_epoch=0, format="npz", transform="top-k:1"
    )
    found = engine.open_distilled(out, dataset=beton_builder.open_dataset(small_data))
    chosen = np.eye(3)[found.targets_nk.argmax(axis=1)]
    assert np.array_equal(found.targets_nk, chosen)
    assert not np.array_equal(chosen, np.eye(3)[found.labels])
    assert found.label_kind == "probabilities"


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
