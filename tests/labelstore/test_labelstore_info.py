"""What `store_info` says of a store."""

from __future__ import annotations

import json

import labelstore_cases as cases
import numpy as np
import pytest

import labelstore


def test_info_counts_epochs_bytes_and_mean_statistics(tmp_path):
    path = tmp_path / "labels.zarr"
    view = cases.filled(path)
    view.prepare([6], cases.CHECKPOINTS)
    info = json.loads(json.dumps(labelstore.store_info(path)))
    assert (info["kind"], info["num_samples"], info["num_classes"]) == ("label-store", 5_000, 6)
    (about,) = info["views"]
    assert (about["expert"], about["view"], about["identity"]) == (
        "expert-a",
        "plain",
        cases.IDENTITY,
    )
    assert about["epochs"] == [0, 1, 4]
    assert about["unfinished_epochs"] == [6]
    assert about["missing_epochs"] == [2, 3, 5]
    assert about["checkpoints"]["4"] == "checkpoint-4"
    assert about["mean_entropy"]["4"] == pytest.approx(view.entropy(4).astype(np.float64).mean())
    assert list(about["mean_cross_entropy"]) == ["0", "1", "4"]
    on_disk = sum(len(content) for content in cases.bytes_of(path).values())
    assert about["bytes"] <= info["bytes"]
    assert info["bytes"] == pytest.approx(on_disk, rel=0.3)


def test_info_of_an_empty_store_has_no_views(tmp_path):
    labelstore.create_store(tmp_path / "s", dataset_id="d", classes=["a"], num_samples=3)
    assert labelstore.store_info(tmp_path / "s")["views"] == []


def test_info_of_nothing_is_refused(tmp_path):
    with pytest.raises(labelstore.StoreNotFound):
        labelstore.store_info(tmp_path / "absent")
