"""The label store at the size of ImageNet, really written: 1,281,167 × 1,000 logits × 4 epochs.

Two processes write the 10.3 GB and say how much memory they had. Then 50,000 random rows of an
epoch are read, from the page cache and from the disk, against np.take on one memmap of that epoch.
Needs 16 GB under $TMPDIR; with less, the only row says so. Writing counts from the first block that
is handed to a writer to the last chunk that is synced, and no logits are made up meanwhile. Its
limit: one sequential write of an epoch's bytes, synced, before and after the store is written.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import labelstore
from benchmarks import synthetic_labels
from benchmarks.errors import BenchmarkError
from benchmarks.label_peers import Read, Rows
from benchmarks.label_reads import random_rows, read_time
from benchmarks.label_writes import write_bytes
from benchmarks.suite import Figure, Progress, ceiling, figure, medians, share

WRITERS = 2
NUM_ROWS = 50_000
EPOCH = 1
FREE_GIGABYTES = 16.0
MEMORY_GIGABYTES = 1.5
TIMES_MEMMAP = 1.5


class Size(NamedTuple):
    """How much is written, and how often it is read."""

    num_samples: int
    num_classes: int
    num_epochs: int
    warm_rounds: int
    cold_rounds: int


FULL = Size(1_281_167, 1_000, 4, 7, 3)
QUICK = Size(60_000, 8, 2, 1, 1)


def figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """Rows of writing, memory, warm and cold reads; one row alone where the disk is too full."""
    free = shutil.disk_usage(workspace).free / 1e9
    if free < FREE_GIGABYTES and not quick:
        skipped = share("imagenet_scale_skipped", free, "GB free", limit=FREE_GIGABYTES)
        return [skipped | {"bar": 1.0}]
    size = QUICK if quick else FULL
    path = workspace / "imagenet.zarr"
    epoch_bytes = 2 * size.num_samples * size.num_classes
    disk = [_disk_speed(workspace, epoch_bytes)]
    written = _write(path, size, progress)
    disk.append(_disk_speed(workspace, epoch_bytes))
    megabytes = size.num_epochs * epoch_bytes / 1e6
    return [
        share(
            "imagenet_scale_write",
            megabytes / written.seconds,
            "MB/s",
            limit=statistics.fmean(disk),
        ),
        ceiling(
            "imagenet_scale_writer_rss_anon",
            written.rss_anon / 1e9,
            "GB",
            limit=MEMORY_GIGABYTES,
        ),
        *_read_figures(workspace, path, size, progress),
    ]


class Written(NamedTuple):
    """How writing went: from the first writer's beginning to the last one's end."""

    seconds: float
    rss_anon: int


def _write(path: Path, size: Size, progress: Progress) -> Written:
    store = synthetic_labels.create(
        path, num_samples=size.num_samples, num_classes=size.num_classes
    )
    view = synthetic_labels.add_view(store)
    epochs = range(size.num_epochs)
    view.prepare(epochs, synthetic_labels.checkpoint_ids(epochs))
    total = size.num_epochs * size.num_samples
    with ExitStack() as stack:
        writers = [
            stack.enter_context(_Writer(path, rank, size.num_epochs)) for rank in range(WRITERS)
        ]
        while any(writer.process.poll() is None for writer in writers):
            progress("write at ImageNet's size", total - view.plan(epochs)["missing_rows"], total)
            time.sleep(0.2)
        answers = [writer.answer() for writer in writers]
    progress("write at ImageNet's size", total, total)
    return Written(
        seconds=max(each["end"] for each in answers) - min(each["begin"] for each in answers),
        rss_anon=max(each["rss_anon"] for each in answers),
    )


class _Writer:
    """A writer's process; leaving the block ends it."""

    def __init__(self, path: Path, rank: int, num_epochs: int) -> None:
        arguments = [str(path), str(rank), str(WRITERS), str(num_epochs)]
        self.command = [sys.executable, "-m", "benchmarks.label_scale_writer", *arguments]
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)

    def answer(self) -> dict[str, Any]:
        """What the writer says when it is done."""
        output, _ = self.process.communicate()
        if self.process.returncode:
            raise BenchmarkError(
                f"`{' '.join(self.command)}` ended with exit code {self.process.returncode}; its "
                "own message stands above. Next: run the suite again with more room in $TMPDIR"
            )
        answer: dict[str, Any] = json.loads(output)
        return answer

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _disk_speed(workspace: Path, num_bytes: int) -> float:
    """Megabytes per second of one sequential write of so many bytes, synced."""
    piece = np.random.default_rng(0).integers(0, 2**16, min(2**25, num_bytes // 2), np.uint16)
    copies = num_bytes // piece.nbytes
    os.sync()
    begin = time.perf_counter()
    write_bytes(workspace / "raw", piece.view(np.float16), copies)
    seconds = time.perf_counter() - begin
    (workspace / "raw").unlink()
    return copies * piece.nbytes / 1e6 / seconds


def _read_figures(workspace: Path, path: Path, size: Size, progress: Progress) -> list[Figure]:
    flat = workspace / "flat"
    _copy_epoch(path, flat)
    files = [flat, *path.rglob("*")]
    os.sync()
    _forget(files)
    of_epoch = [flat, *path.rglob(f"c.{EPOCH}.*")]
    _read_through(of_epoch)
    shape = size.num_samples, size.num_classes
    row_sets = random_rows(size.num_samples, NUM_ROWS, 3)
    warm = medians(
        {
            "ours": read_time(_open_ours(path), row_sets),
            "memmap": read_time(_open_memmap(flat, shape), row_sets),
        },
        rounds=size.warm_rounds,
        stage=f"read {NUM_ROWS:,} rows, warm",
        progress=progress,
    )
    gc.collect()  # the pages of a mapped file stay in memory
    cold = medians(
        {
            "ours": _cold(files, row_sets[0], lambda: _open_ours(path)),
            "memmap": _cold(files, row_sets[0], lambda: _open_memmap(flat, shape)),
        },
        rounds=size.cold_rounds,
        stage=f"read {NUM_ROWS:,} rows, cold",
        progress=progress,
    )
    name, peer = f"imagenet_scale_read_{NUM_ROWS}", "np.take of the same rows on one memmap"
    return [
        figure(
            name,
            warm["ours"],
            "ms",
            peer=peer,
            peer_value=warm["memmap"],
            bar=1 / TIMES_MEMMAP,
            less_is_better=True,
        ),
        figure(
            f"{name}_cold",
            cold["ours"],
            "ms",
            peer=f"opening, then {peer}; nothing of either in memory",
            peer_value=cold["memmap"],
            less_is_better=True,
        ),
    ]


def _open_ours(path: Path) -> Read:
    view = labelstore.open_store(path).view()
    return lambda rows: view.read(EPOCH, rows)


def _open_memmap(flat: Path, shape: tuple[int, int]) -> Read:
    logits_nc = np.asarray(np.memmap(flat, np.float16, "r", shape=shape))
    return lambda rows: logits_nc.take(rows, axis=0)


def _cold(files: Iterable[Path], rows: Rows, open_it: Callable[[], Read]) -> Callable[[], float]:
    """Milliseconds of opening and one read, none of the files in memory."""

    def run() -> float:
        _forget(files)
        begin = time.perf_counter()
        open_it()(rows)
        return 1000 * (time.perf_counter() - begin)

    return run


def _copy_epoch(path: Path, flat: Path) -> None:
    view = labelstore.open_store(path).view()
    with flat.open("wb") as file:
        for chunk in range(view.geometry.num_chunks):
            logits_bc: NDArray[np.float16] = view.read(EPOCH, range(*view.geometry.rows_of(chunk)))
            logits_bc.tofile(file)


def _forget(files: Iterable[Path]) -> None:
    """Drop the files from the page cache; they are synced, and nobody has them mapped."""
    for path in files:
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def _read_through(files: Iterable[Path]) -> None:
    """Bring whole files into the page cache."""
    piece = bytearray(2**24)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(piece):
                pass
