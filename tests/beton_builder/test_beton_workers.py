"""Work in order over threads and processes; a worker that dies ends in a message."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beton_samples import small_folder, small_idx, some_pixels, write_cifar_python, write_idx

from beton_builder import DamagedSource, WorkerDied, build_beton, plan
from beton_builder.chunks import ChunkRules
from beton_builder.images import StorageRules
from beton_builder.ordered_work import WAYS, chunks_in_order
from beton_builder.sources.cifar_pickle import read_cifar_pickle
from beton_builder.sources.detect import open_source
from beton_builder.sources.samples import EncodedSplit, Source, Split, Unreadable

RULES = ChunkRules(storage=StorageRules(), num_classes=3, measure=True, skip_damaged=False)


class Dying(EncodedSplit):
    """A split whose fourth sample kills the process that reads it."""

    def __init__(self, split: Split, end: str) -> None:
        self.labels, self.parent, self.end = split.labels, os.getpid(), end
        self.encoded_sizes = np.ones(len(split), np.int64)

    def name_of(self, index: int) -> str:
        return str(index)

    def read(self, first: int, stop: int) -> list[bytes | Unreadable]:
        if first <= 4 < stop and os.getpid() != self.parent:
            if self.end == "exception":
                raise RuntimeError("a bug in a decoder")
            os.kill(os.getpid(), getattr(signal, self.end))
        return [Unreadable("of no matter")] * (stop - first)


@pytest.mark.parametrize("way", WAYS)
def test_chunks_come_in_order_and_only_so_far_ahead(tmp_path: Path, way: str) -> None:
    split = open_source(small_idx(tmp_path)).splits["train"]
    ranges = [(i, i + 1) for i in range(30)]
    chunks = list(chunks_in_order(split, RULES, ranges, way=way, workers=2))
    assert [chunk.first for chunk in chunks] == list(range(30))
    reference = [split[i][0].tobytes() for i in range(30)]  # type: ignore[index]
    stored = [bytes(chunk.payload[0][::3]) for chunk in chunks]
    assert stored == reference


def large_idx(folder: Path, gz: bool) -> np.ndarray:
    pixels = some_pixels(8000, 28, 28, 1)
    write_idx(folder, pixels[..., 0], np.arange(8000) % 3, gz=gz)
    return pixels


def large_pickled_cifar(folder: Path) -> np.ndarray:
    """Five train files of 400 images each, all different."""
    pixels = some_pixels(2000, 32, 32)
    planes = pixels.transpose(0, 3, 1, 2).reshape(5, 400, 3072)
    for number, batch in enumerate(planes, 1):
        other = write_cifar_python(folder / "other", batch, [0, 1, 2, 3] * 100, hundred=False)
        folder.joinpath(f"data_batch_{number}").write_bytes((other / "test_batch").read_bytes())
    folder.joinpath("batches.meta").write_bytes((other / "batches.meta").read_bytes())
    return pixels


@pytest.mark.parametrize("kind", ["idx", "idx.gz", "cifar"])
def test_every_image_is_its_own_when_threads_share_a_split(tmp_path: Path, kind: str) -> None:
    pixels = (
        large_pickled_cifar(tmp_path) if kind == "cifar" else large_idx(tmp_path, kind == "idx.gz")
    )
    assert pixels.nbytes > 5 << 20
    split = open_source(tmp_path).splits["train"]
    rules = replace(RULES, num_classes=4, measure=False)
    ranges = [(i, i + 50) for i in range(0, len(pixels), 50)]
    if kind == "cifar":
        ranges.sort(key=lambda each: each[0] % 400)  # from file to file, which are loaded whole
    chunks = list(chunks_in_order(split, rules, ranges, way="threads", workers=4))
    chunks.sort(key=lambda chunk: chunk.first)
    stored = b"".join(bytes(image) for chunk in chunks for image in chunk.payload)
    expected = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    wrong = np.frombuffer(stored, np.uint8).reshape(expected.shape) != expected
    assert not wrong.any(axis=(1, 2, 3)).sum()


def test_threads_that_want_the_same_pickle_load_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large_pickled_cifar(tmp_path)
    split = open_source(tmp_path).splits["train"]
    loaded, all_there = [], threading.Barrier(4)

    def loading(path: Path) -> dict[str, Any]:
        loaded.append(path.name)
        time.sleep(0.1)  # as a file of 150 MB would take, so that the others come meanwhile
        return read_cifar_pickle(path)

    def read(first: int) -> None:
        all_there.wait()
        split.read(first, first + 50)  # type: ignore[attr-defined]

    monkeypatch.setattr("beton_builder.sources.cifar.read_cifar_pickle", loading)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(0, 200, 50)))
    assert loaded == ["data_batch_1"]


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("SIGKILL", r"at samples 4\.\.5 \(signal SIGKILL, often the sign of too little memory\)"),
        ("SIGSEGV", r"\(signal SIGSEGV\).*--workers 1"),
        ("exception", "exit code 1.*RuntimeError: a bug in a decoder"),
    ],
)
def test_a_worker_that_dies_ends_in_a_message(tmp_path: Path, end: str, message: str) -> None:
    split = Dying(open_source(small_idx(tmp_path)).splits["train"], end)
    rules = ChunkRules(storage=StorageRules(), num_classes=3, measure=False, skip_damaged=True)
    ranges = [(i, i + 2) for i in range(0, 30, 2)]
    with pytest.raises(WorkerDied, match=message):
        list(chunks_in_order(split, rules, ranges, way="processes", workers=2))


@pytest.mark.parametrize("way", WAYS)
def test_the_first_damaged_sample_is_the_one_reported(tmp_path: Path, way: str) -> None:
    folder = small_folder(tmp_path, classes=3)
    for name in ("train/class0/1.png", "train/class2/3.png"):
        (folder / name).write_bytes(b"text")
    split = open_source(folder).splits["train"]
    ranges = [(i, i + 1) for i in range(12)]
    with pytest.raises(DamagedSource) as caught:
        list(chunks_in_order(split, RULES, ranges, way=way, workers=3))
    assert caught.value.sample == "train/class0/1.png"


def test_workers_end_when_the_work_is_given_up(tmp_path: Path) -> None:
    split = open_source(small_idx(tmp_path)).splits["train"]
    before = children()
    chunks = chunks_in_order(
        split, RULES, [(i, i + 1) for i in range(30)], way="processes", workers=2
    )
    next(chunks)
    assert len(children() - before) == 2
    chunks.close()
    assert children() == before


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize(
    ("kind", "count", "size", "workers", "expected"),
    [
        ("block", 10**6, 3072, 8, "inline"),
        ("copy", 10**6, 110_000, 8, "threads"),
        ("decode", 50_000, 18_000, 8, "processes"),
        ("decode", 10_000, 18_000, 8, "threads"),
        ("decode", 2000, 10**6, 8, "processes"),
        ("decode", 10**6, 3072, 1, "inline"),
    ],
)
def test_processes_are_started_only_where_they_pay(
    kind: str, count: int, size: int, workers: int, expected: str
) -> None:
    assert plan._way_to_run(kind, np.full(count, size), workers) == expected


def test_a_worker_dying_in_a_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_way_to_run", lambda kind, weights, workers: "processes")
    monkeypatch.setattr("beton_builder.build.open_source", lambda *a: dying_source(tmp_path))
    with pytest.raises(WorkerDied) as caught:
        build_beton(tmp_path / "source", tmp_path / "out", workers=2, on_error="skip")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def dying_source(folder: Path) -> Source:
    source = open_source(small_idx(folder / "source"))
    return replace(source, splits={"train": Dying(source.splits["train"], "SIGKILL")})
