"""`engine bench load`: both tiers against stock FFCV and torchvision, on real images.

- ``resident_cifar``: CIFAR-100 in memory, shuffled uint8 batches of 256, images/s. Peer: the
  fastest of the plain forms of torch, from sample by sample to indexing a tensor. Limit: copying
  the same batches without gathering.
- ``jpeg_rrc224``: 300 ImageNet JPEGs (each epoch reads them several times over), random resized
  crop to 224 px and mirror, batches of 64, images/s. All contestants use as many workers as there
  are cores, and stock FFCV reads our own file, so that all decode the same bytes. Limit: the rate
  at which libjpeg-turbo alone decodes whole images on all cores, which cropping may exceed.
- ``jpeg_first_batch``: seconds from imported modules to the first batch, once.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.suite import Figure, Progress, figure, find_data, medians, share
from beton_builder import BetonFile, Dataset, build_beton, open_dataset
from beton_builder.machine import usable_cores
from engine.loading import Resident, Streaming, load_resident
from engine.loading.jpeg import choose_decoder, read_frame

RESIDENT_BATCH = 256
JPEG_BATCH = 64
RESOLUTION = 224
ROUNDS = 7


def figures(*, progress: Progress, quick: bool) -> list[Figure]:
    """Every row of the suite; ``quick`` takes few images and one round."""
    cifar, photos = find_data("cifar100"), find_data("imagenet-sample")
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
        workspace = Path(folder)
        jpeg_rows = _jpeg_figures(photos, workspace / "photos", progress, quick)
        return [*_resident_figures(cifar, workspace / "cifar", progress, quick), *jpeg_rows]


def _resident_figures(
    source: Path, workspace: Path, progress: Progress, quick: bool
) -> list[Figure]:
    build_beton(source, workspace, progress=progress)
    dataset = open_dataset(workspace)
    wanted = np.arange(2_000) if quick else None
    resident = load_resident(dataset, indices=wanted)
    images = resident.images.contiguous()
    workers = usable_cores()
    samples = {
        f"torch DataLoader over a TensorDataset, {count} workers": peers.torchvision_tensors(
            images, resident.labels, batch_size=RESIDENT_BATCH, workers=count
        )
        for count in (0, workers)
    }
    batches = {
        "torch DataLoader with a BatchSampler: one indexing per batch": peers.torchvision_gather(
            images, resident.labels, batch_size=RESIDENT_BATCH
        ),
        "torch.randperm and indexing of the tensor": peers.TorchIndexing(
            images, resident.labels, batch_size=RESIDENT_BATCH
        ),
    }
    contestants = {
        "ours": _resident_epochs(resident),
        **{form: _epochs(loader) for form, loader in {**samples, **batches}.items()},
        "ffcv": _epochs(
            peers.ffcv_raw(dataset.split("train").path, batch_size=RESIDENT_BATCH, workers=workers)
        ),
        "copy": _copies(resident.images),
    }
    rate = medians(contestants, rounds=1 if quick else ROUNDS, stage="resident", progress=progress)
    ours, unit = rate["ours"], "images/s"

    def against_fastest(name: str, forms: Iterable[str], bar: float | None = None) -> Figure:
        fastest = max(forms, key=lambda form: rate[form])
        return figure(name, ours, unit, peer=fastest, peer_value=rate[fastest], bar=bar)

    with_sampler, _ = batches
    return [
        against_fastest("resident_cifar", [*samples, *batches], bar=1.0),
        against_fastest("resident_cifar_vs_loader", samples),
        against_fastest("resident_cifar_vs_batch_sampler", [with_sampler]),
        figure(
            "resident_cifar_vs_ffcv",
            ours,
            unit,
            peer=f"{peers.FFCV} Loader, raw, page cache",
            peer_value=rate["ffcv"],
            bar=1.0,
        ),
        share("resident_cifar_of_memory_copy", ours, unit, limit=rate["copy"]),
    ]


def _jpeg_figures(source: Path, workspace: Path, progress: Progress, quick: bool) -> list[Figure]:
    build_beton(source, workspace, progress=progress)
    dataset = open_dataset(workspace)
    num_samples = dataset.split("train").num_samples
    indices = np.arange(60) if quick else np.tile(np.arange(num_samples), 4)
    resolution, workers = 64 if quick else RESOLUTION, usable_cores()
    peers.import_ffcv()  # ours is imported, too
    our_start, stream = _first_batch(lambda: Streaming(dataset, resolution=resolution), indices)
    ffcv_start, ffcv = _timed_loader(
        lambda: peers.ffcv_jpegs(
            dataset.split("train").path,
            resolution=resolution,
            batch_size=JPEG_BATCH,
            workers=workers,
            indices=indices,
        )
    )
    contestants = {
        "ours": _streaming_epochs(stream, indices),
        "ffcv": _epochs(ffcv),
        "torchvision": _epochs(
            peers.torchvision_folder(
                _class_folders(source),
                resolution=resolution,
                batch_size=JPEG_BATCH,
                workers=workers,
                indices=indices.tolist(),
            )
        ),
        "decode": _full_decodes(dataset, indices, workers),
    }
    rate = medians(contestants, rounds=1 if quick else ROUNDS, stage="jpeg", progress=progress)
    ours, unit = rate["ours"], "images/s"
    return [
        figure(
            "jpeg_rrc224",
            ours,
            unit,
            peer=f"{peers.FFCV} Loader, {workers} workers, the same file",
            peer_value=rate["ffcv"],
            bar=1.0,
        ),
        figure(
            "jpeg_rrc224_vs_torchvision",
            ours,
            unit,
            peer=f"torchvision ImageFolder and DataLoader, {workers} workers",
            peer_value=rate["torchvision"],
            bar=1.0,
        ),
        share("jpeg_rrc224_of_full_decode", ours, unit, limit=rate["decode"]),
        figure(
            "jpeg_first_batch",
            our_start,
            "s",
            peer=f"{peers.FFCV} Loader, which compiles its pipeline",
            peer_value=ffcv_start,
            less_is_better=True,
        ),
    ]


def _resident_epochs(resident: Resident) -> Callable[[], float]:
    epoch = 0

    def run() -> float:
        nonlocal epoch
        epoch += 1
        ids = resident.ids.numpy()
        begin = time.perf_counter()
        batches = resident.batches(ids, batch_size=RESIDENT_BATCH, epoch=epoch)
        return sum(len(batch.labels) for batch in batches) / (time.perf_counter() - begin)

    return run


def _streaming_epochs(stream: Streaming, indices: np.ndarray) -> Callable[[], float]:
    epoch = 0

    def run() -> float:
        nonlocal epoch
        epoch += 1
        begin = time.perf_counter()
        batches = stream.batches(indices, batch_size=JPEG_BATCH, epoch=epoch)
        return sum(len(batch.labels) for batch in batches) / (time.perf_counter() - begin)

    return run


def _epochs(loader: Iterable[Any]) -> Callable[[], float]:
    def run() -> float:
        begin = time.perf_counter()
        return sum(len(labels) for _, labels in loader) / (time.perf_counter() - begin)

    return run


def _copies(images: torch.Tensor) -> Callable[[], float]:
    rows = images.permute(0, 2, 3, 1).numpy()

    def run() -> float:
        begin = time.perf_counter()
        for first in range(0, len(rows), RESIDENT_BATCH):
            rows[first : first + RESIDENT_BATCH].copy()
        return len(rows) / (time.perf_counter() - begin)

    return run


def _full_decodes(dataset: Dataset, indices: np.ndarray, workers: int) -> Callable[[], float]:
    beton = dataset.split("train")

    def run() -> float:
        begin = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda ids: _decode_all(beton, ids), np.array_split(indices, workers)))
        return len(indices) / (time.perf_counter() - begin)

    return run


def _decode_all(beton: BetonFile, ids: np.ndarray) -> None:
    decoder = choose_decoder("auto")()
    for sample_id in ids.tolist():
        payload = beton.payload(sample_id)
        decoder.decode(payload, read_frame(payload))
    decoder.close()


def _first_batch(make: Callable[[], Streaming], indices: np.ndarray) -> tuple[float, Streaming]:
    begin = time.perf_counter()
    stream = make()
    with stream.batches(indices, batch_size=JPEG_BATCH) as batches:
        next(batches)
    return time.perf_counter() - begin, stream


def _timed_loader(make: Callable[[], Iterable[Any]]) -> tuple[float, Iterable[Any]]:
    begin = time.perf_counter()
    loader = make()
    batches = iter(loader)
    next(batches)
    elapsed = time.perf_counter() - begin
    for _ in batches:  # stock FFCV's threads only end with the epoch
        pass
    return elapsed, loader


def _class_folders(source: Path) -> Path:
    """The folder whose subfolders are classes: ``source`` itself or its ``train``."""
    return source / "train" if (source / "train").is_dir() else source
