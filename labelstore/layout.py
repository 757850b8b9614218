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
    STORE/EXPERT/VIEW/topk-10/zarr.json              group; the same labels in another codec
                             /codes                  uint8 (epoch, sample, byte), see `codecs`
                             /entropy, cross_entropy

A view of S crops has a `crop` axis after `sample` in all arrays, and `crops`, uint16 (epoch,
sample, crop, 5): top, left, height, width in pixels of the stored image, and 1 if mirrored.

Chunks are (1, chunk_rows, num_classes), uncompressed and unsharded, so that a chunk file is valid
Zarr and a memory map at once; fill value NaN. The last chunk is padded with it to full length, as
Zarr demands. Position on the epoch axis is the epoch. Records and unfinished files lie *inside* the
array's folder because Zarr readers list the members of groups only, and would warn of folders they
do not know. Every codec has a folder of its own, with its own statistics, so that each can be
written, resumed, verified and deleted without the others. Chunk names are flat (`c.13.4.0`, not
`c/13/4/0`): the nested form costs a folder, and its fsync, for every file. Everything that grows
(the shape, the checkpoint of each epoch) is in the array's `zarr.json`; the attributes of groups
never change.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .arrays import ArrayLayout
from .codecs import DENSE, Codec
from .errors import BadArgument, WrongFormat
from .sealed import canonical, digest, seal

FORMAT = 2
CHUNK_ROWS = 16_384
METADATA = "zarr.json"
RECORDS = ".complete"
WRITING = ".writing"
STORE_KIND, EXPERT_KIND, VIEW_KIND = "label-store", "label-expert", "label-view"
CODE_KIND = "label-code"
VIEW_FIELDS = ("kind", "id", "expert", "view", "crops", "format", "parents", "versions", "checksum")


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What the folder of a view (or of one of its codecs) holds, and how it is cut into files.

    crops: labels of every sample, one for each of its crops; 0 for one label of the whole image.
    """

    num_samples: int
    num_classes: int
    chunk_rows: int
    codec: Codec = DENSE
    crops: int = 0

    @property
    def num_chunks(self) -> int:
        return -(-self.num_samples // self.chunk_rows)

    def rows_of(self, chunk: int) -> tuple[int, int]:
        """First and one-past-last sample of `chunk` (padding not counted)."""
        start = chunk * self.chunk_rows
        return start, min(start + self.chunk_rows, self.num_samples)

    @functools.cached_property
    def rows(self) -> ArrayLayout:
        """The array that holds the labels themselves; records and drafts lie in its folder."""
        return self.codec.array(self.num_classes).repeated(self.crops)

    @functools.cached_property
    def arrays(self) -> tuple[ArrayLayout, ...]:
        """All arrays, that of the labels first."""
        statistics = (
            ArrayLayout(name=name, dtype="float32", row_shape=(), row_axes=(), unit="nat")
            for name in ("entropy", "cross_entropy")
        )
        crops = ArrayLayout(
            name="crops", dtype="uint16", row_shape=(5,), row_axes=("edge",), unit="pixel"
        )
        return (
            self.rows,
            *(array.repeated(self.crops) for array in statistics),
            *([crops.repeated(self.crops)] if self.crops else []),
        )

    def array(self, name: str) -> ArrayLayout:
        return next(each for each in self.arrays if each.name == name)

    @property
    def chunk_bytes(self) -> int:
        """Bytes on disk of one chunk at one epoch, all arrays together."""
        return self.chunk_rows * sum(array.row_bytes for array in self.arrays)

    def document(self, array: ArrayLayout, epochs: int) -> dict[str, Any]:
        """The `zarr.json` of one of `arrays`, `epochs` long, without its attributes."""
        return array.document(
            epochs=epochs, num_samples=self.num_samples, chunk_rows=self.chunk_rows
        )


def group_document(attributes: Mapping[str, Any]) -> bytes:
    """The `zarr.json` of a group with sealed `attributes`."""
    return canonical({"zarr_format": 3, "node_type": "group", "attributes": seal(attributes)})


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
    store_id: str, expert: str, view: str, crops: int, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Identity of a view. Its id comes from the store's id and `identity`, not from its name."""
    rule = {"kind": VIEW_KIND, "store": store_id, "identity": dict(identity), "crops": crops}
    return {
        **identity,
        "kind": VIEW_KIND,
        "id": digest(rule),
        "expert": expert,
        "view": view,
        "crops": crops,
        "format": FORMAT,
        "parents": {"store": store_id, "run": identity.get("run_id")},
        "versions": software_versions(),
    }


def code_attributes(view_id: str, codec: Codec) -> dict[str, Any]:
    """Identity of a view's labels in one codec that has a folder of its own."""
    rule = {"kind": CODE_KIND, "codec": codec.name, "parents": {"view": view_id}}
    return {**rule, "id": digest(rule), "format": FORMAT, "versions": software_versions()}


def require_format(attributes: Mapping[str, Any], where: Path, store: Path) -> None:
    """Raises WrongFormat unless the group at `where`, in `store`, is laid out as described here."""
    found = attributes.get("format")
    if found == FORMAT:
        return
    if isinstance(found, int) and found > FORMAT:
        remedy = "a newer version of this program wrote it: install that version"
    else:
        remedy = (
            "an older version of this program wrote it: dump its labels anew with `engine "
            "dump-labels --data DATA --expert RUN --out NEW_STORE --all-epochs`, and remove "
            f"{store}"
        )
    raise WrongFormat(
        f"{where}: expected labels of format {FORMAT}, found format {found}; {remedy}"
    )


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


def record_path(rows_folder: Path, epoch: int, chunk: int) -> Path:
    return rows_folder / RECORDS / f"{epoch:04d}" / f"{chunk:05d}.json"


def draft_folder(rows_folder: Path, chunk: int) -> Path:
    return rows_folder / WRITING / f"{chunk:05d}"


def lock_path(rows_folder: Path) -> Path:
    """Held while the epoch axis grows; created with the arrays and never removed."""
    return rows_folder / WRITING / "lock"


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
