"""Writing labels, synced: float32 logits through the writer, against np.save of finished float16.

A megabyte is one of float16 logits; the statistics and checksums that the writer adds do not count.
The store is fresh in every round. Peer and limit get their float16 ready made, which is their best
form. Limit: one sequential write of the same bytes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import synthetic_labels
from benchmarks.suite import Figure, Progress, figure, medians, share
from benchmarks.synthetic_labels import SyntheticLogits

EPOCHS = (0, 1)
ROUNDS = 5
BAR = 0.9


def figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """Two epochs of 100,000 × 1,000 logits."""
    num_samples, num_classes = (5_000, 8) if quick else (100_000, 1_000)
    progress("make up logits", 0, 1)
    made_up = SyntheticLogits(num_classes)
    blocks = [made_up.block(epoch, 0, num_samples) for epoch in EPOCHS]
    logits32_enc = np.stack([logits_nc for logits_nc, _ in blocks])
    labels = blocks[0][1]
    del blocks
    logits16_enc = logits32_enc.astype(np.float16)
    progress("make up logits", 1, 1)
    out = workspace / "out"
    contestants = {
        "ours": _timed(out, logits16_enc.nbytes, lambda: _write(out, logits32_enc, labels)),
        "np.save": _timed(out, logits16_enc.nbytes, lambda: _np_save(out, logits16_enc)),
        "disk": _timed(out, logits16_enc.nbytes, lambda: write_bytes(out / "raw", logits16_enc)),
    }
    rate = medians(contestants, rounds=1 if quick else ROUNDS, stage="write", progress=progress)
    return [
        figure(
            "write",
            rate["ours"],
            "MB/s",
            peer="np.save of the same logits as finished float16, synced",
            peer_value=rate["np.save"],
            bar=BAR,
        ),
        share("write_of_disk", rate["ours"], "MB/s", limit=rate["disk"]),
    ]


def write_bytes(path: Path, array: NDArray[np.float16], copies: int = 1) -> None:
    """The array's bytes in a file, so many times, synced."""
    data = array.reshape(-1).view(np.uint8).data
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for _ in range(copies):
            rest = data
            while len(rest):
                rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync_folder(path.parent)


def _timed(out: Path, size: int, work: Callable[[], None]) -> Callable[[], float]:
    """Megabytes per second of ``work``, which writes into a fresh folder ``out``."""

    def run() -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        os.sync()
        begin = time.perf_counter()
        work()
        return size / 1e6 / (time.perf_counter() - begin)

    return run


def _write(out: Path, logits_enc: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    _, num_samples, num_classes = logits_enc.shape
    store = synthetic_labels.create(
        out / "labels.zarr", num_samples=num_samples, num_classes=num_classes
    )
    view = synthetic_labels.add_view(store)
    with view.writer(EPOCHS, synthetic_labels.checkpoint_ids(EPOCHS)) as writer:
        for start, stop, epochs in writer.missing_blocks():
            for epoch in epochs:
                writer.write(epoch, start, logits_enc[epoch, start:stop], labels[start:stop])


def _np_save(out: Path, logits_enc: NDArray[np.float16]) -> None:
    with (out / "logits.npy").open("wb") as file:
        np.save(file, logits_enc)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(out)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
