"""Where everything lies in a store, and the Zarr metadata that says so.

::

    STORE/zarr.json                                  group; attributes = identity of the store
    STORE/EXPERT/zarr.json                           group
    STORE/EXPERT/VIEW/zarr.json                      group; attributes = identity of the view
    STORE/EXPERT/VIEW/logits/zarr.json               float16 (epoch, sample, class)
                            /c.13.4.0                rows of chunk 4 at epoch 13, raw, C order
                            /.complete/0013/00004.json   completion record of (epoch 13, chunk 4)
                            /.writing/00004/         unfinished chunk: partial files and journals
    STORE/EXPERT/VIEW/entropy, cross_entropy         float32 (epoch, sample), in nats

Chunks are (1, chunk_rows, num_classes), uncompressed and unsharded, so that a chunk file is valid
Zarr and a memory map at once; fill value NaN. The last chunk is padded with NaN to full length, as
Zarr demands. Position on the epoch axis is the epoch. Records and unfinished files lie *inside* the
array's folder because Zarr readers list the members of groups only, and would warn of folders they
do not know. Chunk names are flat (`c.13.4.0`, not `c/13/4/0`): the nested form costs a folder, and
its fsync, for every file. Everything that grows (the shape, the checkpoint of each epoch) is in the
array's `zarr.json`; the attributes of groups never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import BadArgument
from .sealed import canonical, digest, seal

FORMAT = 1
CHUNK_ROWS = 16_384
METADATA = "zarr.json"
RECORDS = ".complete"
WRITING = ".writing"
STORE_KIND, EXPERT_KIND, VIEW_KIND = "label-store", "label-expert", "label-view"
VIEW_FIELDS = ("kind", "id", "expert", "view", "format", "parents", "versions", "checksum")


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """One array of a view: `row_shape` is what follows the (epoch, sample) axes."""

    name: str
    dtype: str
    row_shape: tuple[int, ...]
    unit: str

    @property
    def row_bytes(self) -> int:
        size = {"float16": 2, "float32": 4}[self.dtype]
        for length in self.row_shape:
            size *= length
        return size

    def chunk_name(self, epoch: int, chunk: int) -> str:
        return ".".join(["c", str(epoch), str(chunk), *("0" for _ in self.row_shape)])


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How many samples and classes, and how rows are divided into chunk files."""

    num_samples: int
    num_classes: int
    chunk_rows: int

    @property
    def num_chunks(self) -> int:
        return -(-self.num_samples // self.chunk_rows)

    def rows_of(self, chunk: int) -> tuple[int, int]:
        """First and one-past-last sample of `chunk` (padding not counted)."""
        start = chunk * self.chunk_rows
        return start, min(start + self.chunk_rows, self.num_samples)

    @property
    def arrays(self) -> tuple[ArrayLayout, ...]:
        return (
            ArrayLayout(name="logits", dtype="float16", row_shape=(self.num_classes,), unit="1"),
            ArrayLayout(name="entropy", dtype="float32", row_shape=(), unit="nat"),
            ArrayLayout(name="cross_entropy", dtype="float32", row_shape=(), unit="nat"),
        )

    def array(self, name: str) -> ArrayLayout:
        return next(each for each in self.arrays if each.name == name)

    @property
    def chunk_bytes(self) -> int:
        """Bytes on disk of one chunk at one epoch, all arrays together."""
        return self.chunk_rows * sum(array.row_bytes for array in self.arrays)


def group_document(attributes: Mapping[str, Any]) -> bytes:
    """The `zarr.json` of a group with sealed `attributes`."""
    return canonical({"zarr_format": 3, "node_type": "group", "attributes": seal(attributes)})


def array_layout_document(array: ArrayLayout, geometry: Geometry, epochs: int) -> dict[str, Any]:
    """The `zarr.json` of an array of `epochs` epochs, without its attributes."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [epochs, geometry.num_samples, *array.row_shape],
        "data_type": array.dtype,
        "dimension_names": ["epoch", "sample", "class"][: 2 + len(array.row_shape)],
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [1, geometry.chunk_rows, *array.row_shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "fill_value": "NaN",
        "storage_transformers": [],
    }


def array_document(
    array: ArrayLayout,
    geometry: Geometry,
    checkpoints: Mapping[int, str],
    about: Mapping[int, Mapping[str, Any]],
) -> bytes:
    """The `zarr.json` of an array; its axis ends at the last epoch of `checkpoints`.

    about: what is known of the checkpoints besides, such as the expert's test accuracy.
    """
    attributes: dict[str, Any] = {"array": array.name, "unit": array.unit}
    if array.name == "logits":
        attributes["checkpoints"] = {str(epoch): checkpoints[epoch] for epoch in checkpoints}
        attributes["about"] = {str(epoch): dict(about[epoch]) for epoch in about}
    layout = array_layout_document(array, geometry, max(checkpoints, default=-1) + 1)
    return canonical({**layout, "attributes": seal(attributes)})


def store_attributes(
    dataset_id: str, classes: Sequence[str], num_samples: int, chunk_rows: int
) -> dict[str, Any]:
    """Identity of a store. Its id comes from the content rule alone: dataset and class order."""
    rule = {"kind": STORE_KIND, "dataset_id": dataset_id, "classes": list(classes)}
    return {
        **rule,
        "id": digest(rule),
        "format": FORMAT,
        "num_samples": num_samples,
        "num_classes": len(classes),
        "chunk_rows": chunk_rows,
        "parents": {"dataset": dataset_id},
        "versions": software_versions(),
    }


def view_attributes(
    store_id: str, expert: str, view: str, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Identity of a view. Its id comes from the store's id and `identity`, not from its name."""
    return {
        **identity,
        "kind": VIEW_KIND,
        "id": digest({"kind": VIEW_KIND, "store": store_id, "identity": dict(identity)}),
        "expert": expert,
        "view": view,
        "format": FORMAT,
        "parents": {"store": store_id, "run": identity.get("run_id")},
        "versions": software_versions(),
    }


def software_versions() -> dict[str, str]:
    """Versions of what wrote the store; packages that are absent are left out."""
    found = {}
    for package in ("softlabel-engine", "numpy", "zarr"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def check_name(name: str, what: str) -> str:
    """`name` if it can be a folder that every Zarr reader accepts; BadArgument otherwise."""
    if not name or name == METADATA or name[0] in "._" or {"/", "\\", "\0"} & set(name):
        raise BadArgument(
            f"{what} {name!r}: expected a folder name that does not start with '.' or '_' "
            "and holds no '/' or '\\'"
        )
    return name


def record_path(logits_folder: Path, epoch: int, chunk: int) -> Path:
    return logits_folder / RECORDS / f"{epoch:04d}" / f"{chunk:05d}.json"


def draft_folder(logits_folder: Path, chunk: int) -> Path:
    return logits_folder / WRITING / f"{chunk:05d}"


def lock_path(logits_folder: Path) -> Path:
    """Held while the epoch axis grows; created with the view and never removed."""
    return logits_folder / WRITING / "lock"


def epochs_text(epochs: Sequence[int]) -> str:
    """Epochs as the command line takes them, long runs shortened: "0-5,10" for reading only."""
    parts: list[str] = []
    ordered = sorted(set(epochs))
    start = 0
    for i, epoch in enumerate(ordered):
        if i + 1 == len(ordered) or ordered[i + 1] != epoch + 1:
            first = ordered[start]
            parts.append(str(first) if first == epoch else f"{first}-{epoch}")
            start = i + 1
    return ",".join(parts) or "none"
