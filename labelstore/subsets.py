"""The same rows at many epochs as one small file, which every process of a machine maps together.

In: a view, epochs and sample indices. Out: a read-only float16 (epoch, sample, class) array over
`HASH.npy`, made by whoever asks first. Thousands of students of a sweep read the same few hundred
rows at the same few dozen epochs: one file of some megabytes, of which the page cache holds one
copy for all of them, where the rows themselves lie scattered over gigabytes of the store.

::

    STORE.subsets/HASH.npy     float16 (epoch, sample, class), a plain .npy file
    STORE.subsets/HASH.json    its CRC-32, shape, parents and rows, sealed; before the .npy
    STORE.subsets/HASH.lock    while a process makes it, and HASH.npy.tmp

The folder lies beside the store, because Zarr readers list what is inside. HASH covers everything
that the values depend on (view, codec, checkpoints, indices in their order), so a file never
changes: it may be removed at any time, and the next call makes it again.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .checksum import crc32, crc32_of_file
from .disk import locked, naming_full_disk, preallocate, sync_folder, write_at, write_whole
from .errors import (
    BadArgument,
    DamagedStore,
    EpochNotDumped,
    ReadOnlyStore,
    SubsetsNotFound,
)
from .indices import Indices, check_rows
from .layout import software_versions
from .sealed import NOT_AS_WRITTEN, canonical, parse, seal, unseal
from .view import LabelView

KIND = "label-subset"
FORMAT = 1
Subset = np.memmap[Any, np.dtype[np.float16]]

# An epoch keeps the checkpoint that it was begun with; reading it from the store takes longer than
# reading a small subset.
_checkpoints: WeakKeyDictionary[LabelView, dict[int, str]] = WeakKeyDictionary()
# Written at once, so that the page cache holds large pages: a mapped file of 5 MB that was written
# in pieces of 0.1 MB takes 1.6 times as long to read.
_WRITE_BYTES = 1 << 23
_HASH = re.compile(r"[0-9a-f]{32}")
_CANNOT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM)


def materialise(
    view: LabelView,
    epochs: Sequence[int],
    indices: Indices,
    folder: str | Path | None = None,
) -> Subset:
    """`view.read(epochs, indices)` as a read-only memory map of a file that all processes share.

    epochs: E epochs; indices: k sample indices; both in any order, with duplicates. folder: where
    the file lies or is made, by default `STORE.subsets` beside the store.
    Returns float16 (E, k, C), of a view of S crops (E, k, S, C). One process makes the file, others
    that ask for it meanwhile wait; its memory is the rows of one epoch, or 8 MB if that is more.
    Raises what `view.read` raises, BadArgument, StoreFull (nothing is left behind), ReadOnlyStore
    if the folder cannot be written, DamagedStore if the file has another size or shape than it
    should; flipped bytes are what `verify_subsets` finds.
    """
    if isinstance(epochs, (int, np.integer)):
        raise BadArgument(f"epochs: expected a sequence of epochs, found {epochs}; give [{epochs}]")
    epochs = [int(epoch) for epoch in epochs]
    rows = check_rows(indices, view.geometry.num_samples).to_array()
    parents = _parents(view, epochs, rows)
    place = _beside_the_store(view) if folder is None else Path(folder)
    path = place / f"{_hash(parents)}.npy"
    crops = (view.crops,) if view.crops else ()
    shape = (len(epochs), len(rows), *crops, view.geometry.num_classes)
    found = _map(path, shape)
    if found is None:
        _make_once(path, view, rows, shape, parents)
        found = _map(path, shape)
        assert found is not None
    return found


def verify_subsets(folder: str | Path, views: Iterable[LabelView] = ()) -> dict[str, Any]:
    """Checks every byte of the materialised subsets in `folder`.

    views: those that they may be of. A subset of one of them is compared with its labels too: one
    that was made while a chunk was damaged keeps the wrong labels when the store is mended.
    Returns {"ok": bool, "checked": number of files read, "problems": [str]}, as `verify_store`
    does. What a stopped process left unfinished is no problem: nothing reads it, and the next
    `materialise` of the same rows replaces it. Raises SubsetsNotFound if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SubsetsNotFound(
            f"{folder}: expected a folder of materialised subsets, such as labels/NAME.zarr.subsets"
            ", found none; labelstore.materialise makes it"
        )
    arrays = sorted(path for path in folder.glob("*.npy") if _HASH.fullmatch(path.stem))
    by_parents = {(view.id, view.codec): view for view in views}
    problems = [
        f"{problem}; remove {path.name} and {path.stem}.json, the next use makes them again"
        for path in arrays
        if (problem := _problem(path, by_parents))
    ]
    return {"ok": not problems, "checked": 2 * len(arrays), "problems": problems}


def _parents(view: LabelView, epochs: Sequence[int], rows: NDArray[np.int64]) -> dict[str, Any]:
    """Everything that the values of a subset depend on."""
    checkpoints = _checkpoints.setdefault(view, {})
    if not checkpoints.keys() >= set(epochs):
        checkpoints.update(view.checkpoints)
    for epoch in set(epochs) - checkpoints.keys():
        view.checkpoint_id(epoch)  # raises
    return {
        "view": view.id,
        "codec": view.codec,
        "epochs": [[epoch, checkpoints[epoch]] for epoch in epochs],
        "indices": hashlib.blake2b(rows.astype("<i8").tobytes(), digest_size=16).hexdigest(),
    }


def _hash(parents: Mapping[str, Any]) -> str:
    # Not `sealed.digest`: its indented form is what Python writes slowly, 0.2 ms for 50 epochs.
    text = json.dumps(parents, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def _beside_the_store(view: LabelView) -> Path:
    store = view.folder.parents[1 if view.geometry.codec.folder is None else 2].absolute()
    if not store.is_dir():
        raise BadArgument(f"{store}: is not a local folder; say with folder= where subsets may lie")
    return folder_beside(store)


def folder_beside(store: Path) -> Path:
    """Where the subsets of the store in folder `store` lie unless told otherwise."""
    return store.with_name(f"{store.name}.subsets")


def _header(shape: tuple[int, ...]) -> bytes:
    """What precedes the values in a .npy file of this shape."""
    header = io.BytesIO()
    fields = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _map(path: Path, shape: tuple[int, ...]) -> Subset | None:
    """The values in `path`, None if there is no such file; DamagedStore for another shape."""
    expected = _header(shape)
    try:
        with path.open("rb") as file:
            header, size = file.read(len(expected)), os.fstat(file.fileno()).st_size
            if header == expected and size == len(expected) + 2 * math.prod(shape):
                return np.memmap(file, np.float16, "r", offset=len(expected), shape=shape)
    except FileNotFoundError:
        return None
    raise DamagedStore(
        f"{path}: expected a .npy file of float16 {shape}, found another one of {size:,} bytes; "
        "remove it, the next use makes it again"
    )


def _make_once(
    path: Path,
    view: LabelView,
    rows: NDArray[np.int64],
    shape: tuple[int, ...],
    parents: Mapping[str, Any],
) -> None:
    """Makes the file unless another process has made it while we waited for its lock."""
    lock = path.with_suffix(".lock")
    try:
        with locked(lock):
            try:
                if not path.exists():
                    _make(path, view, rows, shape, parents)
            finally:
                lock.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE or not str(error.filename).startswith(str(path.parent)):
            raise
        raise ReadOnlyStore(
            f"{path.parent}: cannot be written ({error.strerror}); give materialise a folder= "
            "that can"
        ) from error


def _make(
    path: Path,
    view: LabelView,
    rows: NDArray[np.int64],
    shape: tuple[int, ...],
    parents: Mapping[str, Any],
) -> None:
    temporary = path.with_name(path.name + ".tmp")
    header = _header(shape)
    size = len(header) + 2 * math.prod(shape)
    try:
        preallocate(temporary, size, needed=size)
        crc = _write(temporary, size, header, view, [epoch for epoch, _ in parents["epochs"]], rows)
        fields = {
            "kind": KIND,
            "format": FORMAT,
            "id": path.stem,
            "shape": list(shape),
            "bytes": size,
            "crc32": f"{crc:08x}",
            "parents": dict(parents),
            "rows": base64.b64encode(rows.astype("<i8").tobytes()).decode("ascii"),
            "versions": software_versions(),
        }
        write_whole(path.with_suffix(".json"), canonical(seal(fields)))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _write(
    path: Path,
    size: int,
    header: bytes,
    view: LabelView,
    epochs: Sequence[int],
    rows: NDArray[np.int64],
) -> int:
    """Fills the file and makes it durable; CRC-32 of what was meant to be written."""
    epochs_at_once = max(1, _WRITE_BYTES * len(epochs) // size)
    place, crc = len(header), crc32(header)
    fd = os.open(path, os.O_WRONLY)
    try:
        with naming_full_disk(path, size):
            write_at(fd, header, 0)
            for first in range(0, len(epochs) if len(rows) else 0, epochs_at_once):
                logits = view.read(epochs[first : first + epochs_at_once], rows)
                data = logits.reshape(-1).view(np.uint8).data
                write_at(fd, data, place)
                place, crc = place + len(data), crc32(data, crc)
            os.fsync(fd)
    finally:
        os.close(fd)
    return crc


def _problem(path: Path, views: Mapping[tuple[str, str], LabelView]) -> str | None:
    """What is wrong with a subset, if anything is."""
    document = path.with_suffix(".json")
    try:
        data = document.read_bytes()
        fields = unseal(parse(data, document), document)
        intact = canonical(seal(fields)) == data and _hash(fields["parents"]) == path.stem
        if not intact:
            return f"{document}: {NOT_AS_WRITTEN}"
        found = path.stat().st_size
        if found != fields["bytes"]:
            return f"{path}: expected {fields['bytes']} bytes, found {found}"
        if crc32_of_file(path) != int(fields["crc32"], 16):
            return f"{path}: {NOT_AS_WRITTEN}"
    except FileNotFoundError:
        return f"{document}: is missing"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    except (DamagedStore, KeyError):
        return f"{document}: {NOT_AS_WRITTEN}"
    view = views.get((fields["parents"]["view"], fields["parents"]["codec"]))
    return None if view is None else _difference(path, fields, view)


def _difference(path: Path, fields: Mapping[str, Any], view: LabelView) -> str | None:
    """Where an intact subset is not what its view holds now, of the epochs that this still has."""
    rows = np.frombuffer(base64.b64decode(fields.get("rows", "")), "<i8")
    values = _map(path, tuple(fields["shape"]))
    if values is None or not len(rows):
        return None
    for (epoch, checkpoint), values_kc in zip(fields["parents"]["epochs"], values, strict=True):
        if view.checkpoints.get(epoch) != checkpoint:
            continue
        try:
            logits_kc = view.read(epoch, rows)
        except EpochNotDumped:
            continue
        if logits_kc.tobytes() != values_kc.tobytes():
            return f"{path}: its labels of epoch {epoch} are not those of {view.folder}"
    return None
