"""Dumping the labels of 20 checkpoints, against nothing but the forward passes that it needs.

ConvNetD3 on CIFAR-100 images, labelled images per second (one image at one checkpoint counts once).
The peer decodes the same images once and applies each checkpoint to them, compiled, in the same
precision and batches, its weights loaded beforehand, and stores nothing. The two take turns of a
second or two: whenever the dump reports its progress, the peer labels as many images as the dump
has since, and what that takes is not the dump's. What is compiled is compiled before. The
checkpoints are an expert's initial weights and random steps from them, written as training does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

import engine
from benchmarks.suite import Figure, Progress, figure, find_data
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


def figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """One row; `quick` takes fewer images than a batch, which are not compiled for."""
    num_images, num_checkpoints = (200, 2) if quick else (4_096, 20)
    dataset = _some_images(workspace, num_images)
    run = _some_checkpoints(workspace, dataset, num_checkpoints, progress)
    progress("compile", 0, 1)
    network = _network(dataset, run)
    checkpoints = [run.weights(epoch) for epoch in run.epochs()]
    next(_forward_passes(network, checkpoints, dataset))
    engine.dump_labels(dataset.path, run.path, workspace / "compiled.zarr", epochs=[0])
    progress("compile", 1, 1)
    turns = _Turns(_forward_passes(network, checkpoints, dataset), progress)
    begin = time.perf_counter()
    engine.dump_labels(dataset.path, run.path, workspace / "labels.zarr", progress=turns)
    dump_seconds = time.perf_counter() - begin - turns.seconds
    labelled = num_images * num_checkpoints
    return [
        figure(
            "dump_20_checkpoints",
            labelled / dump_seconds,
            "images/s",
            peer="the compiled forward passes and one decoding, nothing stored",
            peer_value=labelled / turns.peer_seconds,
            bar=1 / TIMES_FORWARD,
        )
    ]


class _Turns:
    """The dump's progress, at which the peer catches up.

    seconds: of everything that happened here. peer_seconds: of the peer's passes.
    """

    def __init__(self, passes: Iterator[int], progress: Progress) -> None:
        self.seconds = self.peer_seconds = 0.0
        self._passes = passes
        self._progress = progress
        self._labelled = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        begin = time.perf_counter()
        while self._labelled < done:
            self._labelled += next(self._passes)
        self.peer_seconds += time.perf_counter() - begin
        self._progress(stage, done, total)
        self.seconds += time.perf_counter() - begin


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


def _forward_passes(
    network: Network, checkpoints: list[dict[str, torch.Tensor]], dataset: Dataset
) -> Iterator[int]:
    """Label all images with every checkpoint, batch by batch; yields how many each batch has."""
    ids = np.arange(dataset.split("train").num_samples)
    images_nchw = load_resident(dataset, indices=ids).images
    for weights in checkpoints:
        network.load_weights(weights)
        for images in images_nchw.split(BATCH):
            with torch.no_grad():
                network.logits(network.normalise(images), compiled=len(images) == BATCH)
            yield len(images)
