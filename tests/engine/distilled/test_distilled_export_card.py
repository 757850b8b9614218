"""The card of an export says how it was made, and its command makes it again."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from distilled_cases import Expected, files_of

import beton_builder
import engine
import labelstore
from cli.main import main
from engine.distilled.artefact import read_manifest


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
    places = {"DATA": small_data, "STORE": small_store, "OUT": tmp_path / "again"}
    words = shlex.split(read_manifest(exports["webdataset"])["command"])[1:]
    assert main([str(places.get(word, word)) for word in words]) == 0
    assert files_of(tmp_path / "again") == files_of(exports["webdataset"])


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
