"""Rows that are not in memory are asked for together; warm and dense reads are left alone."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

import labelstore
from labelstore import cold_reads

NUM_SAMPLES, NUM_CLASSES = 30_000, 100


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    store = labelstore.create_store(
        tmp_path_factory.mktemp("cold") / "labels.zarr",
        dataset_id="d",
        classes=[str(each) for each in range(NUM_CLASSES)],
        num_samples=NUM_SAMPLES,
        chunk_rows=8_192,
    )
    view = store.add_view("e", "plain", identity={})
    with view.writer([0], {0: "c"}) as writer:
        for start, stop, _ in writer.missing_blocks():
            logits = logits_of(np.arange(start, stop))
            writer.write(0, start, logits, np.zeros(stop - start, np.int64))
    return store.view()


def logits_of(rows: np.ndarray) -> np.ndarray:
    return (rows[:, None] % 1_000 + np.arange(NUM_CLASSES) / 64).astype(np.float32)


def forget(folder: Path) -> None:
    """Drops the files from memory; nothing may have them mapped."""
    for path in folder.rglob("c.*"):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def is_in_memory(folder: Path) -> bool:
    """Whether the middle of a file of logits is in memory, asked without the code under test."""
    with (folder / "logits/c.0.1.0").open("rb") as file:
        mapped = np.memmap(file, np.uint8, "r")
    middle = (mapped.ctypes.data + len(mapped) // 2) // mmap.PAGESIZE * mmap.PAGESIZE
    found = ctypes.create_string_buffer(1)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mincore(ctypes.c_void_p(middle), ctypes.c_size_t(1), found) == 0
    return bool(found.raw[0] & 1)


def answers_while_reading(monkeypatch, view, rows) -> list[bool]:
    """Whether the disk was asked, read by read; the rows read are compared with the oracle."""
    answers = []

    def asking(*arguments):
        answers.append(cold_reads.ask_for_cold_rows(*arguments))
        return answers[-1]

    monkeypatch.setattr("labelstore.files.ask_for_cold_rows", asking)
    expected = logits_of(rows).astype(np.float16)
    assert np.array_equal(view.read(0, rows), expected)
    assert np.array_equal(view.read(0, rows), expected)
    return answers


@pytest.mark.parametrize("ascending", [True, False])
def test_cold_rows_are_asked_for_once_and_are_the_right_ones(monkeypatch, view, ascending):
    rows = np.random.default_rng(0).choice(NUM_SAMPLES, 2_000, replace=False)
    rows = np.sort(rows) if ascending else rows
    forget(view.folder)
    if is_in_memory(view.folder):
        pytest.skip("this file system keeps its files in memory")
    fresh = labelstore.open_store(view.folder.parent.parent).view()
    assert answers_while_reading(monkeypatch, fresh, rows) == [True, False]


@pytest.mark.parametrize("count", [999, 3_001])
def test_few_rows_and_dense_reads_are_left_to_the_kernel(monkeypatch, view, count):
    forget(view.folder)
    fresh = labelstore.open_store(view.folder.parent.parent).view()
    rows = np.arange(0, NUM_SAMPLES, NUM_SAMPLES // count)[:count]
    assert answers_while_reading(monkeypatch, fresh, rows) == [False, False]
