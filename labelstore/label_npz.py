"""Labels in an .npz file, read without unpickling anything.

In: a path. Out: `NpzLabels`. Rows are streamed from the archive, compressed or not: memory is a few
thousand rows, except of an array in Fortran order, which is read whole.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadSource

PIECE_ROWS = 2_048
_DAMAGE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


class NpzLabels:
    """An .npz file, read without unpickling anything."""

    kind = "npz"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: tuple[Path, ...] = (path,)
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                self._headers = {name[:-4]: _header(archive, name) for name in names}
        except _DAMAGE as error:
            raise BadSource(
                f"{path}: expected an .npz file of plain arrays, found: {error}"
            ) from None
        self.columns: tuple[str, ...] = tuple(self._headers)

    def shape(self, column: str) -> tuple[int, int]:
        header = self._headers[column]
        if len(header.shape) != 2 or header.dtype.kind not in "fiu":
            raise BadSource(
                f"{self.path}: expected numbers (samples, classes) in {column!r}, found "
                f"{header.dtype} {header.shape}"
            )
        return header.shape[0], header.shape[1]

    def integers(self, column: str) -> NDArray[np.int64]:
        header = self._headers[column]
        if len(header.shape) != 1 or header.dtype.kind not in "iu":
            raise BadSource(
                f"{self.path}: expected integers (samples,) in {column!r}, found {header.dtype} "
                f"{header.shape}"
            )
        return self._whole(column).astype(np.int64)

    def pieces(self, column: str) -> Iterator[NDArray[Any]]:
        num_rows, num_classes = self.shape(column)
        if self._headers[column].fortran_order:
            yield self._whole(column)
            return
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{column}.npy") as member:
                dtype = _NpyHeader(member).dtype  # and the rows follow
                for start in range(0, num_rows, PIECE_ROWS):
                    rows = min(PIECE_ROWS, num_rows - start)
                    data = member.read(rows * num_classes * dtype.itemsize)
                    yield np.frombuffer(data, dtype).reshape(rows, num_classes)
        except _DAMAGE as error:
            raise BadSource(f"{self.path}: array {column!r} is damaged: {error}") from None

    def _whole(self, column: str) -> NDArray[Any]:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                whole: NDArray[Any] = arrays[column]
        except _DAMAGE as error:
            raise BadSource(f"{self.path}: array {column!r} is damaged: {error}") from None
        return whole


def _header(archive: zipfile.ZipFile, name: str) -> _NpyHeader:
    with archive.open(name) as member:
        try:
            return _NpyHeader(member)
        except ValueError as error:
            raise ValueError(f"array {name[:-4]!r}: {error}") from None


class _NpyHeader:
    """What an array in an .npz says of itself; ValueError where it is none that is plain data."""

    def __init__(self, member: IO[bytes]) -> None:
        version = np.lib.format.read_magic(member)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ValueError(f"its format is {version}, expected 1.0 or 2.0")
        self.shape, self.fortran_order, self.dtype = readers[version](member)
        if self.dtype.hasobject:
            raise ValueError("it holds pickled objects, which are not loaded; save plain numbers")
