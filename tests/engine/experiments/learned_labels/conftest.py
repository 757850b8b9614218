"""Learned labels that no test changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from learned_cases import learn


@pytest.fixture(scope="package")
def learned(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("learned") / "labels"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        learn(small_data, out)
    return out
