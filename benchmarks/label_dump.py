"""Dumping the labels of 20 checkpoints, against nothing but the forward passes that it needs.

ConvNetD3 on CIFAR-100 images, labelled images per second (one image at one checkpoint counts once).
The peer decodes the same images once and applies each checkpoint to them, compiled, in the same
precision and batches, its weights loaded beforehand, and stores nothing. The two take turns, a
whole dump and all of the passes, and a dump counts from its beginning to its last synced file. The
first turns, in which both compile, are not counted. The checkpoints are an expert's initial weights
and random steps from them, written as training does.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

import engine
from benchmarks.suite import Figure, Progress, figure, find_data, medians
from beton_builder import Dataset, build_beton, open_dataset
from engine.loading import load_resident
from engine.models import build_model
from engine.training.expert_run import ExpertRun, open_run
from engine.training.precision import choose_arithmetic
from engine.training.step import Network

SOURCE = "cifar100"
NUM_CLASSES = 100
BATCH = 256
STEP = 0.01
TIMES_FORWARD = 1.08
ROUNDS = 3


def figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """One row; `quick` takes fewer images than a batch, which are not compiled for."""
    num_images, num_checkpoints = (200, 2) if quick else (4_096, 20)
    dataset = _some_images(workspace, num_images)
    run = _some_checkpoints(workspace, dataset, num_checkpoints, progress)
    labelled = num_images * num_checkpoints
    rate = medians(
        {
            "dump": _dumps(dataset, run, workspace, labelled),
            "passes": _all_passes(dataset, run, labelled),
        },
        rounds=1 if quick else ROUNDS,
        stage="dump labels",
        progress=progress,
    )
    return [
        figure(
            "dump_20_checkpoints",
            rate["dump"],
            "images/s",
            peer="the compiled forward passes and one decoding, nothing stored",
            peer_value=rate["passes"],
            bar=1 / TIMES_FORWARD,
        )
    ]


def _dumps(dataset: Dataset, run: ExpertRun, workspace: Path, labelled: int) -> Callable[[], float]:
    """Images/s of the public function, into a fresh store every time."""
    store = workspace / "labels.zarr"

    def dump() -> float:
        shutil.rmtree(store, ignore_errors=True)
        os.sync()
        begin = time.perf_counter()
        engine.dump_labels(dataset.path, run.path, store)
        return labelled / (time.perf_counter() - begin)

    return dump


def _all_passes(dataset: Dataset, run: ExpertRun, labelled: int) -> Callable[[], float]:
    """Images/s of decoding and all forward passes."""
    network = _network(dataset, run)
    checkpoints = [run.weights(epoch) for epoch in run.epochs()]

    def passes() -> float:
        begin = time.perf_counter()
        _label_all(network, checkpoints, dataset)
        return labelled / (time.perf_counter() - begin)

    return passes


def _some_images(workspace: Path, num_images: int) -> Dataset:
    source = workspace / "source"
    source.mkdir()
    train = next(find_data(SOURCE).glob("train*.parquet"))
    table = pq.read_table(train)
    by_class = np.argsort(table["fine_label"].to_numpy(), kind="stable").reshape(NUM_CLASSES, -1)
    some_of_each = by_class.T.ravel()[:num_images]  # a class without images is refused
    pq.write_table(table.take(some_of_each), source / train.name)
    build_beton(source, workspace / "data")
    return open_dataset(workspace / "data")


def _some_checkpoints(
    workspace: Path, dataset: Dataset, num_checkpoints: int, progress: Progress
) -> ExpertRun:
    engine.train_expert(
        dataset.path,
        workspace / "run",
        epochs=0,
        overrides={"precision": "fp32"},  # asked for, it need not be probed
        progress=progress,
    )
    run = open_run(workspace / "run")
    record, weights = run.record(0), run.weights(0)
    random = torch.Generator().manual_seed(0)
    for epoch in range(1, num_checkpoints):
        weights = {
            name: tensor + STEP * torch.randn(tensor.shape, generator=random)
            for name, tensor in weights.items()
        }
        run.write_epoch(
            epoch, weights, run.state(epoch - 1), record["metrics"], record["environment"]
        )
    return run


def _network(dataset: Dataset, run: ExpertRun) -> Network:
    model = build_model(
        run.manifest["recipe"]["model"],
        num_classes=dataset.num_classes,
        channels=dataset.channels,
        resolution=int(run.manifest["recipe"]["resolution"]),
        init_seed=0,
    )
    return Network(model.eval(), choose_arithmetic("fp32"), dataset.mean, dataset.std)


def _label_all(
    network: Network, checkpoints: list[dict[str, torch.Tensor]], dataset: Dataset
) -> None:
    """Label all images with every checkpoint, batch by batch."""
    images_nchw = load_resident(dataset).images
    for weights in checkpoints:
        network.load_weights(weights)
        for images in images_nchw.split(BATCH):
            with torch.no_grad():
                network.logits(network.normalise(images), compiled=len(images) == BATCH)
