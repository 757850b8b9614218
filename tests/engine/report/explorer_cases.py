"""Small datasets with made-up labels, and an independent reading of what a fragment holds."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import beton_builder
import labelstore
from engine.report.explorer import explorer_fragment

EPOCHS = (0, 3, 10)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Explorer</title>
</head><body>{}</body></html>"""


def build_dataset(
    folder: Path, *, num_classes: int = 6, per_class: int = 9, side: int = 8, **changes: Any
) -> beton_builder.Dataset:
    """Images of noise. changes: fields of the Dataset to replace, such as its classes."""
    generator = np.random.default_rng(0)
    for c in range(num_classes):
        of_class = folder / "source" / "train" / f"class-{c:03d}"
        of_class.mkdir(parents=True)
        for i in range(per_class):
            pixels = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(of_class / f"{i:03d}.png")
    beton_builder.build_beton(folder / "source", folder / "data", workers=1)
    return replace(beton_builder.open_dataset(folder / "data"), **changes)


def build_store(
    dataset: beton_builder.Dataset,
    path: Path,
    *,
    epochs: Sequence[int] = EPOCHS,
    about: Mapping[int, Mapping[str, Any]] | None = None,
    crops: int = 0,
    experts: Sequence[str] = ("expert",),
) -> labelstore.LabelStore:
    """Logits drawn at random, sharper from epoch to epoch, the true class's raised."""
    with dataset.split("train") as beton:
        true_n = np.asarray(beton.labels)
    store = labelstore.create_store(
        path, dataset_id=dataset.id, classes=dataset.classes, num_samples=len(true_n)
    )
    for number, expert in enumerate(experts):
        name = f"crop-{crops}" if crops else "plain"
        view = store.add_view(expert, name, identity={}, crops=crops)
        write_labels(view, true_n, epochs, about or {}, np.random.default_rng(number))
    return labelstore.open_store(path)


def write_labels(
    view: labelstore.LabelView,
    true_n: np.ndarray,
    epochs: Sequence[int],
    about: Mapping[int, Mapping[str, Any]],
    generator: np.random.Generator,
) -> None:
    """One expert's labels; boxes of crops are empty."""
    checkpoints = {epoch: f"checkpoint-{epoch}" for epoch in epochs}
    view.prepare(epochs, checkpoints, about)
    crops = (view.crops,) if view.crops else ()
    shape = (len(true_n), *crops, view.geometry.num_classes)
    with view.writer(epochs, checkpoints) as writer:
        for start, stop, missing in writer.missing_blocks():
            boxes = np.zeros((stop - start, *crops, 5), np.uint16) if crops else None
            for epoch in missing:
                logits = generator.normal(0, 3 * (epoch + 1) / (epochs[-1] + 1), shape)
                logits[np.arange(len(true_n)), ..., true_n] += epoch / epochs[-1]
                block = logits[start:stop].astype(np.float32)
                writer.write(epoch, start, block, true_n[start:stop], boxes)


def write_page(fragment: str, path: Path) -> Path:
    """A page that holds nothing but the fragment."""
    path.write_text(PAGE.format(fragment), "utf-8")
    return path


def data_of(fragment: str) -> dict[str, Any]:
    """The JSON document inside a fragment, its arrays decoded as the README of `pack` says."""
    (text,) = re.findall(
        r'<script type="application/json"[^>]*>(.*?)</script>', fragment, re.DOTALL
    )
    data = json.loads(text)
    epochs, images, top = len(data["epochs"]), len(data["images"]), data["top"]
    size = len(data["order"])
    records = _numbers(data["records"], "<u2").reshape(epochs, images, 2 * top + 3)
    shares = _numbers(data["means"], "u1").reshape(epochs, size, size) / 255.0
    means = data["scale"] * shares**2
    diagonal = _numbers(data["diagonal"], "<u2").reshape(epochs, size) / 65535
    means[:, np.arange(size), np.arange(size)] = diagonal
    return data | {
        "top_classes": records[..., :top].astype(int),
        "top_probabilities": records[..., top : 2 * top] / 65535,
        "true_probability": records[..., 2 * top] / 65535,
        "true_rank": records[..., 2 * top + 1].astype(int),
        "label_entropy": records[..., 2 * top + 2] / 65535 * data["max_entropy"],
        "class_means": means,
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Plain, in float64."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def decoded(dataset: Any, store: Any, **options: Any) -> dict[str, Any]:
    """The data of the fragment that these arguments give."""
    return data_of(explorer_fragment(dataset, store, **options))


def _numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)
