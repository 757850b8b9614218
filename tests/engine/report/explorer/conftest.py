"""One small dataset and its labels, for all tests of the explorer."""

from __future__ import annotations

import pytest
from explorer_cases import EPOCHS, build_dataset, build_store

import beton_builder
import labelstore


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> beton_builder.Dataset:
    """6 classes of 9 images, 8 × 8."""
    return build_dataset(tmp_path_factory.mktemp("explorer"))


@pytest.fixture(scope="session")
def store(
    data: beton_builder.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> labelstore.LabelStore:
    """Their labels of three epochs; the expert's accuracy is known of two."""
    about = {EPOCHS[0]: {"test_accuracy": 0.125}, EPOCHS[2]: {"test_accuracy": 0.5}}
    return build_store(data, tmp_path_factory.mktemp("explorer") / "labels.zarr", about=about)
