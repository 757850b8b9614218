"""A dataset and a label store that were named: do they open, and are they of each other?"""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import beton_builder
from engine.doctor.artefacts import check_data, check_labels
from engine.doctor.examination import carry_out, checks_of
from engine.doctor.finding import Asked
from engine.loading import tiers


def finding_of(name, **asked):
    asked = Asked(**asked)
    (check,) = (each for each in checks_of(asked) if each.name == name)
    return carry_out(check, asked)


def images(folder, sides, seed=7):
    generator = np.random.default_rng(seed)
    for split in ("train", "test"):
        for name in ("ant", "bee", "cat"):
            (folder / split / name).mkdir(parents=True)
            for number, side in enumerate(sides):
                pixels = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def other_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    beton_builder.build_beton(images(folder / "source", [16] * 4), folder / "data", workers=1)
    return folder / "data"


def test_a_dataset_is_named_with_the_tier_that_will_serve_it(small_data):
    found = check_data(Asked(data=small_data))
    assert found.status == "ok"
    assert beton_builder.open_dataset(small_data).id in found.found
    assert "train images are resident: 120 images of 3×16×16" in found.found


def test_a_dataset_that_does_not_fit_is_said_to_stream(small_data, monkeypatch):
    monkeypatch.setattr(tiers, "free_memory", lambda: 0)
    assert "train images are streaming" in check_data(Asked(data=small_data)).found


def test_images_of_several_sizes_are_no_defect(tmp_path):
    beton_builder.build_beton(images(tmp_path / "s", [16, 24]), tmp_path / "data", workers=1)
    found = check_data(Asked(data=tmp_path / "data"))
    assert found.status == "ok"
    assert "need a resolution" in found.found


def test_no_dataset_there_is_a_problem_in_the_rooms_own_words(tmp_path):
    with pytest.raises(beton_builder.DatasetNotFound) as refusal:
        beton_builder.open_dataset(tmp_path)
    found = finding_of("data", data=tmp_path)
    assert (found.status, found.found) == ("problem", str(refusal.value))
    assert found.next == f"engine build-beton --source SOURCE --out {tmp_path}"


def test_a_damaged_dataset_is_a_problem_to_verify(small_data, tmp_path):
    damaged = shutil.copytree(small_data, tmp_path / "data")
    os.truncate(damaged / "train.beton", 100)
    found = finding_of("data", data=damaged)
    assert found.status == "problem"
    assert found.next == f"engine verify {damaged}"


def test_labels_of_the_dataset_are_counted(small_data, small_store):
    found = check_labels(Asked(data=small_data, labels=small_store))
    assert found.status == "ok"
    assert "this one" in found.found
    assert "plain, dense: 4 epochs" in found.found


def test_labels_alone_are_described(small_store):
    found = check_labels(Asked(labels=small_store))
    assert found.status == "ok"
    assert "this one" not in found.found


def test_labels_of_another_dataset_are_a_problem_that_names_both(
    small_data, small_store, other_data
):
    found = finding_of("labels", data=other_data, labels=small_store)
    assert found.status == "problem"
    for data in (small_data, other_data):
        assert beton_builder.open_dataset(data).id in found.found
    assert found.next == f"engine info {small_store}"


def test_a_damaged_store_is_a_problem_to_verify(small_store, tmp_path):
    damaged = shutil.copytree(small_store, tmp_path / "labels.zarr")
    document = damaged / "zarr.json"
    document.write_bytes(document.read_bytes()[:-20])
    found = finding_of("labels", labels=damaged)
    assert found.status == "problem"
    assert found.next == f"engine verify {damaged}"


def test_no_store_there_is_a_problem(tmp_path):
    found = finding_of("labels", labels=tmp_path)
    assert found.status == "problem"
    assert found.next.startswith("engine dump-labels ")
