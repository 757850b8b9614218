"""Whose labels a sweep may train on: other codecs, imported ones, but not those of crops."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import engine
import labelstore
from engine.errors import UsageError
from engine.records import read_record

STUDENT = {
    "student.model": "convnet-d2-w8",
    "student.epochs": "2",
    "student.evaluations": "1",
    "student.batch_size": "4",
    "student.precision": "fp32",
    "labels": "[soft]",
}


def sweep(data: Path, store: Path, out: Path, epoch: int, **settings: str) -> list[dict]:
    engine.sweep_students(
        data, store, out, ipc=[1], expert_epochs=[epoch], seeds=[0], overrides=STUDENT | settings
    )
    return [read_record(file) for file in sorted(out.glob("trials/*/*.json"))]


def test_another_codec_is_another_trial(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    store = shutil.copytree(small_store, tmp_path / "l.zarr")
    labelstore.convert_labels(store, "topk:1")
    sweep(small_data, store, tmp_path / "sweep", 2)
    trials = sweep(small_data, store, tmp_path / "sweep", 2, codec="topk:1")
    assert {trial["parents"]["codec"] for trial in trials} == {"dense", "topk:1"}
    assert len({trial["result"]["train_loss"] for trial in trials}) == 2


def test_students_train_on_imported_labels(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    logits = labelstore.open_store(small_store).view().read(3, slice(None))
    np.savez(tmp_path / "labels.npz", logits=np.asarray(logits, np.float32))
    engine.import_labels(
        small_data, tmp_path / "labels.npz", tmp_path / "l.zarr", expert="theirs", epoch=3
    )
    (imported,) = sweep(small_data, tmp_path / "l.zarr", tmp_path / "a", 3)
    (own,) = sweep(small_data, small_store, tmp_path / "b", 3)
    assert imported["result"] == own["result"]
    assert imported["id"] != own["id"]


def test_labels_of_crops_are_refused_before_anything_starts(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    engine.dump_labels(small_data, small_run, tmp_path / "l.zarr", epochs=[1], view="crop:2")
    with pytest.raises(UsageError, match=r"labels of 2 crops.*--set view=plain"):
        sweep(small_data, tmp_path / "l.zarr", tmp_path / "sweep", 1, view="crop-2")
    assert not (tmp_path / "sweep").exists()
