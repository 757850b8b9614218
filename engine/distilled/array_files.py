"""`.npz` and HDF5 files: named arrays, read without unpickling anything.

In: a file. Out: its images and labels, under the names of `found`. `ids` (or `sample_ids`) and
`classes` are taken from files of our own export alone: elsewhere they could mean anything.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.distilled.found import Found, choose_arrays
from engine.errors import ArtefactError, DamageError, UsageError

NPZ_SUFFIXES = (".npz",)
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
OWN_NPZ = {"images", "labels", "soft_labels", "sample_ids", "classes"}  # as `shard_writers` names
_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,  # an encrypted archive, or compressed in a way that zipfile doesn't know
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path) -> Found:
    """Images and labels of an `.npz` file.

    Raises:
        ArtefactError: it lacks them.
        DamageError: it is cut off, no `.npz` file, or holds pickled objects.
    """
    arrays = load_npz(path)
    found = choose_arrays(arrays, str(path), "npz")
    if not arrays.keys() >= OWN_NPZ:
        return found
    return replace(found, class_names=tuple(map(str, arrays["classes"].ravel())))


def load_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Every array of an `.npz` file. Raises DamageError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            return {name: arrays[name] for name in arrays.files}
    except _DAMAGE as error:
        raise DamageError(
            f"{path}: expected an .npz file of plain arrays, found: {error}\n"
            "pickled objects in it are not loaded; save plain numbers"
        ) from error


def read_hdf5(path: Path) -> Found:
    """Images and labels at the top of an HDF5 file, such as Ra-BPTT's `data` and `label`.

    Raises:
        ArtefactError: it lacks them.
        UsageError: h5py isn't installed.
        DamageError: the file is cut off or no HDF5 file.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{path} is an HDF5 file, and the Python package h5py isn't installed: pip install h5py"
        ) from error
    arrays = {}
    try:
        with h5py.File(path, "r") as file:
            for name in file:
                # The link first: following an external one would open another file.
                link = file.get(name, getlink=True)
                item = file[name] if isinstance(link, h5py.HardLink) else None
                if isinstance(item, h5py.Dataset) and not _lies_elsewhere(item):
                    arrays[name] = np.asarray(item[()])
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DamageError(f"{path} is cut off or no HDF5 file: {error}") from error
    if not arrays:
        raise ArtefactError(f"{path}: expected arrays at the top of the file, found none")
    return choose_arrays(arrays, str(path), "hdf5")


def _lies_elsewhere(item: Any) -> bool:
    """Whether reading an HDF5 dataset would read other files of this machine."""
    return bool(item.external) or bool(item.is_virtual)
