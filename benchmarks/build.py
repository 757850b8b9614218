"""`engine bench build`: from a folder of JPEGs to a dataset on the disk, images/s, synced.

The source is the sample of ImageNet, four files for each of its own (quick: 40 files). Peers: stock
FFCV's DatasetWriter with as many workers as cores (it decodes and encodes every image again), and
copying the files one by one, which is what an ImageFolder user does. Limit: one sequential write of
the same bytes, synced. All results are synced to the disk within the measured time, many small
files all at once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import peers
from benchmarks.suite import Figure, Progress, figure, find_data, medians, share
from beton_builder import build_beton
from beton_builder.machine import usable_cores

COPIES = 4
ROUNDS = 5


def figures(*, progress: Progress, quick: bool) -> list[Figure]:
    """Every row of the suite; ``quick`` takes few files and one round."""
    sample = find_data("imagenet-sample")
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
        workspace = Path(folder)
        source = workspace / "source"
        num_images = _lay_out(sample, source, copies=1 if quick else COPIES, quick=quick)
        payload = b"".join(file.read_bytes() for file in sorted(source.rglob("*.JPEG")))
        workers = usable_cores()
        out = workspace / "out"
        contestants = {
            "ours": _timed(out, num_images, lambda: _build(source, out)),
            "markers": _timed(out, num_images, lambda: _build(source, out, check="markers")),
            "ffcv": _timed(out, num_images, lambda: _build_with_ffcv(source, out, workers)),
            "copy": _timed(out, num_images, lambda: _copy_files(source, out)),
            "write": _timed(out, num_images, lambda: _write_once(payload, out)),
        }
        rate = medians(contestants, rounds=1 if quick else ROUNDS, stage="build", progress=progress)
    ours, unit = rate["ours"], "images/s"
    return [
        figure(
            "build_jpeg",
            ours,
            unit,
            peer=f"{peers.FFCV} DatasetWriter, jpg, {workers} workers",
            peer_value=rate["ffcv"],
            bar=1.0,
        ),
        figure(
            "build_jpeg_vs_copy",
            ours,
            unit,
            peer="copying the files of an ImageFolder, synced at the end",
            peer_value=rate["copy"],
        ),
        share("build_jpeg_of_disk", ours, unit, limit=rate["write"]),
        share("build_jpeg_markers_of_disk", rate["markers"], unit, limit=rate["write"]),
    ]


def _lay_out(sample: Path, source: Path, *, copies: int, quick: bool) -> int:
    """An ImageFolder of the sample with every file ``copies`` times; returns how many files."""
    files = sorted(sample.rglob("*.JPEG"))[: 40 if quick else None]
    for file in files:
        (source / file.parent.name).mkdir(parents=True, exist_ok=True)
        for number in range(copies):
            shutil.copy(file, source / file.parent.name / f"{file.stem}_{number}.JPEG")
    os.sync()
    return len(files) * copies


def _timed(out: Path, num_images: int, work: Callable[[], None]) -> Callable[[], float]:
    """Images per second of ``work``, which writes into a fresh folder ``out``."""

    def run() -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        os.sync()
        begin = time.perf_counter()
        work()
        return num_images / (time.perf_counter() - begin)

    return run


def _build(source: Path, out: Path, check: str = "decode") -> None:
    build_beton(source, out / "dataset", jpeg_check=check)


def _build_with_ffcv(source: Path, out: Path, workers: int) -> None:
    peers.build_with_ffcv(source, out / "stock.beton", workers=workers)
    _sync(out / "stock.beton")


def _copy_files(source: Path, out: Path) -> None:
    for file in source.rglob("*.JPEG"):
        folder = out / file.parent.name
        folder.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / file.name)
    os.sync()


def _write_once(payload: bytes, out: Path) -> None:
    (out / "bytes").write_bytes(payload)
    _sync(out / "bytes")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
