"""Reads through plain Zarr: stores that others compressed, sharded or put somewhere without files.

In: any Zarr store or group with our attributes and arrays. Out: the same rows as the mapped files
give, but slower: 17 to 58 ms for 1,000 rows of 1,000 classes, against 0.1 to 0.4. Completion
records do not travel with copies that Zarr software makes, so a row counts as written if its
entropy is not NaN, which the fill value is and a written entropy never is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DamagedStore
from .indices import Rows
from .layout import Geometry

if TYPE_CHECKING:
    import zarr


def open_array(path: Path) -> zarr.Array[Any]:
    """The array in folder `path`, for reading."""
    import zarr

    return zarr.open_array(path, mode="r")


def take_by_zarr(
    array: zarr.Array[Any], epoch: int, rows: Rows, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Rows (k, …) of `epoch`, in any order, with duplicates; a range comes back read-only.

    Raises DamagedStore for rows of fill values, which Zarr gives where a chunk is missing.
    """
    if len(rows) == 0:
        found = np.empty((0, *array.shape[2:]), array.dtype)
    elif rows.span is not None:
        found = np.asarray(array[epoch, rows.span])
    else:
        # Zarr is given each row once and in file order; `[e:e+1]` is its faster form of one epoch.
        distinct, places = np.unique(rows.indices, return_inverse=True)
        found = np.asarray(array.oindex[epoch : epoch + 1, distinct])[0][places]
    missing = _is_fill(found).reshape(len(found), -1).all(axis=1)
    if missing.any():
        raise DamagedStore(
            f"{array.store_path}: sample {rows.to_array()[np.argmax(missing)]} of epoch {epoch} "
            "counts as written, but its chunk is missing; run `engine verify` on the store"
        )
    if out is not None:
        np.copyto(out, found)
        return out
    if rows.span is not None:
        found.flags.writeable = False  # as a range of mapped rows is
    return found


def _is_fill(found: NDArray[Any]) -> NDArray[np.bool_]:
    """Which elements are the fill value of an array of their type."""
    return np.isnan(found) if found.dtype.kind == "f" else found == np.iinfo(found.dtype).max


class OtherLayout:
    """What a view can be asked whose arrays only Zarr can read."""

    writable = False

    def __init__(self, group: zarr.Group, geometry: Geometry, where: str) -> None:
        self.geometry = geometry
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._whole: set[int] = set()
        for layout in geometry.arrays:
            array: Any = group.get(layout.name)
            expected = (geometry.num_samples, *layout.row_shape)
            found = None if array is None else (array.shape[1:], str(array.dtype))
            if found != (expected, layout.dtype):
                raise DamagedStore(
                    f"{where}/{layout.name}: expected {layout.dtype} (epochs, "
                    f"{', '.join(map(str, expected))}), found {found or 'no array'}"
                )
            self._arrays[layout.name] = array

    def complete_epochs(self) -> tuple[int, ...]:
        """Epochs none of whose rows is missing, ascending; reads the entropy of every sample."""
        everything = Rows(slice(0, self.geometry.num_samples), np.empty(0, np.int64), True)
        epochs = range(self._arrays[self.geometry.rows.name].shape[0])
        return tuple(each for each in epochs if self.first_missing(each, everything) is None)

    def first_missing(self, epoch: int, rows: Rows) -> int | None:
        """The first of `rows` that was never written at `epoch`; None if all were."""
        if epoch in self._whole:
            return None
        if epoch >= self._arrays["entropy"].shape[0]:
            return int(rows.to_array()[0]) if len(rows) else None
        missing = np.isnan(np.asarray(self._arrays["entropy"][epoch]))
        missing = missing.reshape(len(missing), -1).any(axis=1)
        if not missing.any():
            self._whole.add(epoch)
            return None
        indices = rows.to_array()
        wanted = missing[indices]
        return int(indices[np.argmax(wanted)]) if wanted.any() else None

    def mapped(self, name: str, epoch: int, rows: Rows) -> None:
        """None: what Zarr reads is in no mapped file."""

    def take(
        self, name: str, epoch: int, rows: Rows, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Rows (k, …) of array `name`."""
        return take_by_zarr(self._arrays[name], epoch, rows, out)
