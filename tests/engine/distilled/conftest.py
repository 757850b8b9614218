"""Distilled sets of the small dataset, which no test changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from distilled_cases import FORMATS, Pixels, make_pixels

import beton_builder
import engine


@pytest.fixture(scope="session")
def dataset(small_data: Path) -> beton_builder.Dataset:
    return beton_builder.open_dataset(small_data)


@pytest.fixture
def pixels() -> Pixels:
    return make_pixels()


@pytest.fixture(scope="session")
def hard_set(tmp_path_factory) -> Path:
    pixels = make_pixels(per_class=3)
    path = tmp_path_factory.mktemp("set") / "real.npz"
    np.savez(path, images=pixels.images_nhwc, labels=pixels.classes_n)
    return path


@pytest.fixture(scope="session")
def exports(small_data, small_store, tmp_path_factory) -> dict[str, Path]:
    """The same set in every format."""
    root = tmp_path_factory.mktemp("exports")
    for name in FORMATS:
        engine.export_distilled(
            small_data, small_store, root / name, ipc=4, expert_epoch=2, format=name, subset_seed=3
        )
    return {name: root / name for name in FORMATS}
