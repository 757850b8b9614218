"""An exported set as WebDataset is a source of images: its hard labels, in its own order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import beton_builder
import engine


@pytest.mark.parametrize("below", ["", "data"])
def test_a_dataset_is_built_from_an_exported_sets_shards(
    small_data: Path, small_store: Path, tmp_path: Path, below: str
) -> None:
    engine.export_distilled(
        small_data, small_store, tmp_path / "set", ipc=4, expert_epoch=2, format="webdataset"
    )
    result = beton_builder.build_beton(tmp_path / "set" / below, tmp_path / "rebuilt")
    original, rebuilt = (beton_builder.open_dataset(p) for p in (small_data, tmp_path / "rebuilt"))
    assert result["format"] == "webdataset"
    assert rebuilt.classes == (("0", "1", "2") if below else original.classes)
    ids = [int(Path(name.split("#")[1]).stem) for name in rebuilt.samples("train").source]
    assert len(ids) == 12
    with original.split("train") as train, rebuilt.split("train") as again:
        np.testing.assert_array_equal(again.labels, train.labels[ids])
        for position, sample in enumerate(ids):
            np.testing.assert_array_equal(again.image(position), train.image(sample))
