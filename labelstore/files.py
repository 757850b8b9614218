"""Reads of a view in our own layout: completion records and mapped chunk files.

In: array name, epoch, checked rows. Out: the rows. Where the file system cannot map files,
the same rows come through Zarr.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cold_reads import ask_for_cold_rows
from .foreign import open_array, take_by_zarr
from .indices import Rows
from .layout import Geometry, record_path
from .mapped import CANNOT_MAP, MappedArray
from .records import recorded_chunks, recorded_epochs

_WORTH_TOUCHING = 4_096  # rows; fewer than that seldom share a page or a readahead window


class OwnLayout:
    """What a view in our own layout can be asked; sees chunks that appear later."""

    writable = True

    def __init__(self, folder: Path, geometry: Geometry) -> None:
        self.folder = folder
        self.geometry = geometry
        self._rows_folder = folder / geometry.rows.name
        self._whole: dict[int, frozenset[int]] = {}
        self._mapped = {
            array.name: MappedArray(folder / array.name, array, geometry)
            for array in geometry.arrays
        }
        self._by_zarr: dict[str, Any] = {}

    def complete_chunks(self, epoch: int) -> frozenset[int]:
        """Chunks of `epoch` that have a record."""
        whole = self._whole.get(epoch)
        if whole is not None:
            return whole
        found = recorded_chunks(self._rows_folder, epoch)
        chunks = frozenset(chunk for chunk in found if chunk < self.geometry.num_chunks)
        if len(chunks) == self.geometry.num_chunks:
            self._whole[epoch] = chunks
        return chunks

    def complete_epochs(self) -> tuple[int, ...]:
        """Epochs all of whose chunks have a record, ascending."""
        epochs = recorded_epochs(self._rows_folder)
        num_chunks = self.geometry.num_chunks
        return tuple(each for each in epochs if len(self.complete_chunks(each)) == num_chunks)

    def missing_chunks(self, epoch: int) -> list[int]:
        """Chunks of `epoch` that a writer still has to make, ascending."""
        return [
            chunk for chunk in range(self.geometry.num_chunks) if not self.is_whole(epoch, chunk)
        ]

    def is_whole(self, epoch: int, chunk: int) -> bool:
        """Whether the chunk has its record and files of the right size (their bytes unread)."""
        if not record_path(self._rows_folder, epoch, chunk).is_file():
            return False
        for array in self.geometry.arrays:
            path = self.folder / array.name / array.chunk_name(epoch, chunk)
            try:
                if path.stat().st_size != self.geometry.chunk_rows * array.row_bytes:
                    return False
            except FileNotFoundError:
                return False
        return True

    def first_missing(self, epoch: int, rows: Rows) -> int | None:
        """The first of `rows` that was never written at `epoch`; None if all were."""
        chunks = self.complete_chunks(epoch)
        if len(chunks) == self.geometry.num_chunks:
            return None
        indices = rows.to_array()
        there = np.isin(indices // self.geometry.chunk_rows, sorted(chunks))
        return None if there.all() else int(indices[np.argmin(there)])

    def take(
        self, name: str, epoch: int, rows: Rows, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Rows (k, …) of array `name`; a read-only view where `rows` is a range and `out` None."""
        source = self._epoch_rows(name, epoch)
        if source is not None:
            return _take_mapped(self._mapped[name], source, rows, out)
        if name not in self._by_zarr or epoch >= self._by_zarr[name].shape[0]:
            self._by_zarr[name] = open_array(self.folder / name)
        return take_by_zarr(self._by_zarr[name], epoch, rows, out)

    def mapped(
        self, name: str, epoch: int, rows: Rows
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
        """All of an epoch, and the places of `rows` in it, for who wants no copy of the rows.

        None where files cannot be mapped.
        """
        source = self._epoch_rows(name, epoch)
        if source is None:
            return None
        places = self._mapped[name].places(rows.to_array())
        ask_for_cold_rows(source, places, self.geometry.num_samples)
        return source, places

    def _epoch_rows(self, name: str, epoch: int) -> NDArray[Any] | None:
        if name not in self._mapped:
            return None
        try:
            return self._mapped[name].epoch_rows(epoch, self.complete_chunks(epoch))
        except OSError as error:
            if error.errno not in CANNOT_MAP:
                raise
            del self._mapped[name]  # from now on through Zarr
            return None


def _take_mapped(
    mapped: MappedArray, source: NDArray[Any], rows: Rows, out: NDArray[Any] | None
) -> NDArray[Any]:
    span = None if rows.span is None else mapped.span(rows.span)
    if span is not None:
        part = source[span]
        if out is None:
            return part
        np.copyto(out, part)
        return out
    places = mapped.places(rows.to_array())
    asked = ask_for_cold_rows(source, places, mapped.geometry.num_samples)
    if not asked and not rows.ascending and source.ndim > 1 and len(places) > _WORTH_TOUCHING:
        # Pages come from the disk in file order: touch both ends of every row in that order, then
        # copy in the order asked. Half of a cold epoch: 155 instead of 243 ms; gathering sorted
        # rows and putting them back in order would copy twice (48 against 25 ms when warm).
        in_file_order = np.sort(places)
        source[in_file_order, 0]
        source[in_file_order, -1]
    if out is None:
        found = source.take(places, axis=0)
        found.flags.writeable = rows.span is None  # a range is read-only, whatever it crosses
        return found
    # mode="raise" would gather into a buffer first; the rows are checked.
    return source.take(places, axis=0, out=out, mode="clip")
