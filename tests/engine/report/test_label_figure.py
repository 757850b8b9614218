"""The picture of a label store."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import engine
import labelstore
from engine.errors import ArtefactError, UsageError


def text_of(svg: Path) -> set[str]:
    return {each.text for each in ElementTree.parse(svg).iter() if each.text}


def test_the_picture_names_every_codec_with_its_bytes(small_store: Path, tmp_path: Path) -> None:
    store = shutil.copytree(small_store, tmp_path / "small.zarr")
    labelstore.convert_labels(store, "quantised:4")
    assert engine.plot_labels(store, tmp_path / "a.svg") == {"plot": str(tmp_path / "a.svg")}
    words = text_of(tmp_path / "a.svg")
    assert {"dense (6 bytes)", "quantised:4 (6 bytes)", "worst sample", "mean entropy"} <= words
    assert {"small.zarr", "120 samples, 3 classes", "expert epoch"} <= words
    assert not any("$" in word for word in words)


def test_a_png_has_a_size_worth_looking_at(small_store: Path, tmp_path: Path) -> None:
    engine.plot_labels(small_store, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1_500
        assert len(image.convert("L").getcolors()) > 20


def test_other_file_names_and_empty_stores_are_refused(small_store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png or \.svg"):
        engine.plot_labels(small_store, tmp_path / "a.pdf")
    labelstore.create_store(tmp_path / "e.zarr", dataset_id="d", classes=("a",), num_samples=1)
    with pytest.raises(ArtefactError, match="no epoch is complete"):
        engine.plot_labels(tmp_path / "e.zarr", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
