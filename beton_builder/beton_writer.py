"""Writes one `.beton` file, samples in order, at the speed of the disk.

In:  samples as buffers (encoded bytes or raw pixels) with mode, height, width and label.
Out: a file that stock FFCV reads. The same samples give the same bytes, however they are cut into
     calls: placement depends on the sizes alone. The buffers go to the kernel as they are (one
     `pwritev` per run within a page, no copy); padding is left as holes.
The header is written last and after an fsync, so a file that was cut off never looks whole.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beton_builder import beton_format as form

IOV_MAX = 1024  # buffers per pwritev on Linux


class PageTooSmall(Exception):
    """A sample needs a larger page; the caller starts the file again with `needed` bytes."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"a sample of {needed:,} bytes does not fit the page")
        self.needed = needed


def write_fully(fd: int, buffers: Sequence[bytes | memoryview], offset: int) -> None:
    """pwritev until everything is written: the kernel may write less than it was given."""
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    first = 0
    while first < len(views):
        written = os.pwritev(fd, views[first : first + IOV_MAX], offset)
        offset += written
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]


class BetonWriter:
    """One file being written; use as a context manager, then `finish()`."""

    def __init__(self, path: Path, *, num_slots: int, page_size: int) -> None:
        """num_slots: the most samples that may come; fewer is fine (damaged ones left out)."""
        self.page_size = page_size
        self.num_samples = 0
        self._records = np.zeros(num_slots, form.SAMPLE)
        self._pointers = np.zeros(num_slots, np.uint64)
        self._sizes = np.zeros(num_slots, np.uint64)
        self._cursor = form.data_start(num_slots, page_size)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> "BetonWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def append(self, payload: Sequence[bytes | memoryview], columns: form.SampleColumns) -> None:
        """Append k samples: their stored bytes and their columns.

        Raises PageTooSmall when one buffer exceeds the page, OSError from the disk.
        """
        sizes = np.fromiter(map(len, payload), np.uint64, len(payload))
        if len(sizes) and sizes.max() > self.page_size:
            raise PageTooSmall(int(sizes.max()))
        begin, end = self.num_samples, self.num_samples + len(sizes)
        pointers = self._pointers[begin:end]
        for first, stop, pointer in form.place(sizes, self._cursor, self.page_size):
            write_fully(self._fd, payload[first:stop], pointer)
            run_ends = np.cumsum(sizes[first:stop], dtype=np.uint64)
            pointers[first:stop] = np.uint64(pointer) + run_ends - sizes[first:stop]
            self._cursor = pointer + int(run_ends[-1])
        self._records[begin:end] = form.sample_records(columns, pointers)
        self._sizes[begin:end] = sizes
        self.num_samples = end

    def finish(self) -> int:
        """Write records, allocation table and, last, the header; the file's size in bytes."""
        n = self.num_samples
        table_at = form.align(self._cursor, self.page_size)
        head = [form.header_bytes(n, self.page_size, 0), form.field_descriptor_bytes()]
        write_fully(self._fd, [*head, self._records[:n].tobytes()], 0)
        os.ftruncate(self._fd, table_at)
        table = form.allocation_table(self._pointers[:n], self._sizes[:n])
        write_fully(self._fd, [table], table_at)
        os.fsync(self._fd)
        write_fully(self._fd, [form.header_bytes(n, self.page_size, table_at)], 0)
        os.fsync(self._fd)
        return table_at + len(table)
