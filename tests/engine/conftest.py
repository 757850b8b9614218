"""A small real dataset on disk, and the stages before the one under test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("ant", "bee", "cat")
SIDE = 16


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Small networks run eagerly in tests; those about compilation say so by their marker."""
    if "compiled" not in request.keywords:
        monkeypatch.setenv("ENGINE_EAGER", "1")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """`programs(name="script")`: the only programs on the PATH; torch.compile is wanted."""
    import torch

    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for variable in ("ENGINE_EAGER", "CXX", "CC", "TORCH_INDUCTOR_INSTALL_GXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))

    def install(**scripts: str) -> Path:
        for name, script in scripts.items():
            file = folder / name.replace("pp", "++")
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)
        return folder

    return install


def write_image_folder(root: Path, *, train: int, test: int, seed: int = 0) -> Path:
    """Classes that differ in mean colour, so that a small network can learn them."""
    generator = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        for number, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for position in range(count):
                pixels = generator.integers(0, 120, (SIDE, SIDE, 3))
                pixels[..., number] += 90
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{position:03d}.png")
    return root


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built dataset: 3 classes, 40 train and 12 test images each, 16 × 16 RGB."""
    import beton_builder

    folder = tmp_path_factory.mktemp("small")
    write_image_folder(folder / "source", train=40, test=12)
    beton_builder.build_beton(folder / "source", folder / "data", workers=1)
    return folder / "data"


@pytest.fixture(scope="session")
def small_run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expert trained on it for three epochs."""
    import engine

    out = tmp_path_factory.mktemp("run") / "expert"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        engine.train_expert(small_data, out, model="convnet-d2-w8", epochs=3, overrides=QUICK)
    return out


@pytest.fixture(scope="session")
def small_store(
    small_data: Path, small_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its labels of epochs 0 to 3."""
    import engine

    out = tmp_path_factory.mktemp("labels") / "labels.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        engine.dump_labels(small_data, small_run, out)
    return out


QUICK = {"batch_size": 32, "precision": "fp32"}
