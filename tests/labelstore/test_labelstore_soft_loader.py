"""Soft labels beside the batches of stock FFCV, on real images: row i describes image i.

Every label is made from the mean colour of its image, so a batch's labels can be computed from the
pixels that FFCV decoded. FFCV runs in a process of its own, once for the module: importing it sets
torch to one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import beton_builder
import labelstore

NUM_IMAGES = 3_000  # 9 MB: two pages of a .beton file, so that quasi-random order has a choice
SUBSET = np.random.default_rng(1).permutation(NUM_IMAGES)[:700]
STOCK = """
import json, sys, threading, time
from pathlib import Path
import numpy as np, torch
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor
import labelstore

place = Path(sys.argv[1])
view = labelstore.open_store(place / "labels.zarr").view()
subset, labels = np.load(place / "subset.npy"), np.load(place / "labels.npy")

def stock(order, seed=3, **options):
    return Loader(
        str(place / "data/train.beton"), batch_size=256, num_workers=1, seed=seed,
        os_cache=order != "QUASI_RANDOM", order=OrderOption[order], **options,
        pipelines={"image": [SimpleRGBImageDecoder(), ToTensor()],
                   "label": [IntDecoder(), ToTensor()]},
    )

def run(loader):
    indices, worst, sizes = [], 0.0, []
    for images, classes, targets, rows in loader:
        assert targets.dtype == torch.float32 and rows.dtype == torch.int64
        logits = np.zeros((len(images), 100), np.float16)
        logits[:, :3] = images.numpy().reshape(len(images), -1, 3).mean(axis=1) / 16
        weights = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        expected = weights / weights.sum(axis=1, keepdims=True)
        worst = max(worst, float(np.abs(targets.numpy() - expected).max()))
        assert np.array_equal(classes[:, 0].numpy(), labels[rows])
        indices += rows.tolist()
        sizes.append(len(rows))
    return {"indices": indices, "worst": worst, "sizes": sizes, "len": len(loader)}

found = {}
for order in ("SEQUENTIAL", "RANDOM", "QUASI_RANDOM"):
    for drop_last, indices in ((True, None), (False, subset)):
        loader = stock(order, drop_last=drop_last, indices=indices)
        loader = labelstore.with_soft_labels(loader, view, 0)
        found[f"{order} {drop_last}"] = [run(loader), run(loader)]

plain = stock("SEQUENTIAL")
left = labelstore.with_soft_labels(plain, view, 0)
before = threading.active_count()
for batch in left:
    break
for _ in range(100):
    if threading.active_count() <= before:
        break
    time.sleep(0.1)
found["threads left"] = threading.active_count() - before
left.next_epoch = 7
found["next epoch"] = left.loader.next_epoch

def refusal(**options):
    try:
        for _ in labelstore.with_soft_labels(plain, view, 0, **options):
            pass
    except labelstore.LabelStoreError as error:
        return [type(error).__name__, str(error)]

found["shifted"] = refusal(indices=np.roll(np.arange(3000), 1))
found["shifted unchecked"] = refusal(indices=np.roll(np.arange(3000), 1), check=0)
found["no field"] = refusal(label="coarse")
found["other store"] = refusal(indices=range(5))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(shared_data, tmp_path_factory):
    """What FFCV and the labels beside it gave, see STOCK."""
    place = tmp_path_factory.mktemp("ffcv")
    (place / "source").mkdir()
    with pq.ParquetFile(shared_data / "cifar100" / "train-00000-of-00001.parquet") as file:
        table = file.read().slice(0, NUM_IMAGES)
    pq.write_table(table, place / "source" / "train-00000-of-00001.parquet")
    beton_builder.build_beton(place / "source", place / "data", workers=1)
    dataset = beton_builder.open_dataset(place / "data")
    store = labelstore.create_store(
        place / "labels.zarr",
        dataset_id=dataset.id,
        classes=dataset.classes,
        num_samples=NUM_IMAGES,
    )
    view = store.add_view("expert", "plain", identity={})
    logits = np.zeros((NUM_IMAGES, len(dataset.classes)), np.float32)
    with dataset.split("train") as split, view.writer([0], {0: "c"}) as writer:
        pixels = np.stack([split.image(i) for i in range(NUM_IMAGES)])
        logits[:, :3] = pixels.reshape(NUM_IMAGES, -1, 3).mean(axis=1) / 16
        for start, stop, _ in writer.missing_blocks():
            writer.write(0, start, logits[start:stop], split.labels[start:stop])
        np.save(place / "labels.npy", split.labels)
    np.save(place / "subset.npy", SUBSET)
    done = subprocess.run(
        [sys.executable, "-c", STOCK, str(place)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": str(Path(labelstore.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ffcv_order(order, indices, epoch, seed=3):
    """FFCV's order by its own rule; None for quasi-random, whose rule is compiled."""
    if order == "SEQUENTIAL":
        return indices.tolist()
    if order == "RANDOM":
        return np.random.default_rng(seed + epoch).permutation(indices).tolist()
    return None


@pytest.mark.parametrize("order", ["SEQUENTIAL", "RANDOM", "QUASI_RANDOM"])
@pytest.mark.parametrize(
    ("drop_last", "indices"), [(True, np.arange(NUM_IMAGES)), (False, SUBSET)], ids=["all", "some"]
)
def test_every_row_describes_its_image_in_the_order_of_ffcv(found, order, drop_last, indices):
    full, rest = divmod(len(indices), 256)
    sizes = [256] * full + ([] if drop_last else [rest])
    epochs = found[f"{order} {drop_last}"]
    for epoch, seen in enumerate(epochs):
        assert seen["worst"] < 1e-3
        assert seen["sizes"] == sizes
        assert seen["len"] == len(sizes)
        expected = ffcv_order(order, indices, epoch)
        if expected is not None:
            assert seen["indices"] == expected[: sum(sizes)]
        assert len(set(seen["indices"])) == sum(sizes)
        assert set(seen["indices"]) <= set(indices.tolist())
    assert (epochs[0]["indices"] == epochs[1]["indices"]) == (order == "SEQUENTIAL")


def test_leaving_an_epoch_early_ends_the_thread_of_ffcv(found):
    assert found["threads left"] == 0


def test_attributes_are_those_of_the_loader_inside(found):
    assert found["next epoch"] == 7


def test_rows_of_other_images_are_noticed_by_the_label_field(found):
    kind, message = found["shifted"]
    assert kind == "WrongDataset"
    assert "does not belong to row" in message
    assert found["shifted unchecked"] is None


def test_arguments_that_cannot_be_meant_are_refused(found):
    assert found["no field"][0] == "BadArgument"
    assert "['image', 'label'], found 'coarse'" in found["no field"][1]
    assert found["other store"][0] == "BadArgument"
