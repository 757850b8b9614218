"""The arrays of a folder of labels, and what grows in them: the epoch axis and its notes.

In: a folder and the checkpoints of its epochs. Out: the `zarr.json` of its arrays, replaced
atomically. The axis always ends at the last epoch that was begun. What is known of the epochs
(their checkpoints, what was said about these, the codec's measured errors) is in the attributes of
the first array, which is written last: until then nothing has changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .arrays import ArrayLayout
from .disk import locked, make_folder, write_whole
from .errors import DamagedStore, WrongCheckpoint
from .layout import METADATA, Geometry, lock_path, record_path
from .records import CodecError, Record, read_record, recorded_chunks, recorded_epochs
from .sealed import canonical, parse, seal, unseal


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a folder of labels knows of its epochs.

    checkpoints: id of the checkpoint of every epoch begun. about: what its maker noted of it, such
    as the expert's test accuracy. errors: of every complete epoch, what the codec does to its
    labels: max_abs, kl_mean, kl_worst and `against`, see `records.CodecError`.
    """

    checkpoints: dict[int, str] = field(default_factory=dict)
    about: dict[int, dict[str, Any]] = field(default_factory=dict)
    errors: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def num_epochs(self) -> int:
        return max(self.checkpoints, default=-1) + 1

    def to_json(self) -> dict[str, Any]:
        return {
            name: {str(epoch): each for epoch, each in getattr(self, name).items()}
            for name in _NOTED
        }

    @classmethod
    def from_json(cls, attributes: Mapping[str, Any]) -> Notes:
        """From the attributes of the labels' array; what they lack is empty."""
        return cls(
            **{
                name: {int(epoch): each for epoch, each in attributes.get(name, {}).items()}
                for name in _NOTED
            }
        )


_NOTED = ("checkpoints", "about", "errors")


def array_document(array: ArrayLayout, geometry: Geometry, notes: Notes) -> bytes:
    """The `zarr.json` of one array of a folder that knows `notes`."""
    attributes: dict[str, Any] = {"array": array.name, "unit": array.unit}
    if array == geometry.rows:
        attributes |= notes.to_json()
        attributes["codec"] = geometry.codec.name
        attributes["bytes_per_sample"] = array.row_bytes
    document = geometry.document(array, notes.num_epochs)
    return canonical({**document, "attributes": seal(attributes)})


def create_arrays(folder: Path, geometry: Geometry) -> None:
    """Writes the metadata of the arrays that have none yet.

    Where completion records are there already (someone removed a damaged `zarr.json`), what they
    know of the axis is taken from them: all but what was said about the checkpoints.
    """
    documents = [folder / array.name / METADATA for array in geometry.arrays]
    if all(path.exists() for path in documents):
        return
    rows = folder / geometry.rows.name
    make_folder(lock_path(rows).parent)
    with locked(lock_path(rows)):
        notes = read_notes(rows / METADATA) if documents[0].exists() else _recorded(rows, geometry)
        for array, path in reversed(list(zip(geometry.arrays, documents, strict=True))):
            if not path.exists():
                make_folder(path.parent)
                write_whole(path, array_document(array, geometry, notes))


def grow_epoch_axis(
    folder: Path,
    geometry: Geometry,
    wanted: Mapping[int, str],
    about: Mapping[int, Mapping[str, Any]],
) -> None:
    """Adds epochs with their checkpoints; WrongCheckpoint if one was begun with another.

    about: what is noted of an epoch's checkpoint; what was noted first stays.
    """
    rows = folder / geometry.rows.name
    with locked(lock_path(rows)):
        notes = read_notes(rows / METADATA)
        for epoch, checkpoint_id in wanted.items():
            known = notes.checkpoints.setdefault(epoch, checkpoint_id)
            if known != checkpoint_id:
                raise WrongCheckpoint(
                    f"{folder}: epoch {epoch} was begun with checkpoint {known}, but "
                    f"{checkpoint_id} was given; give the run that made these labels, or "
                    "another --out"
                )
        for epoch, each in about.items():
            notes.about.setdefault(epoch, dict(each))
        _replace_documents(folder, geometry, notes)


def note_errors(folder: Path, geometry: Geometry, epochs: Iterable[int]) -> None:
    """Notes the codec's errors of those of `epochs` that are complete."""
    rows = folder / geometry.rows.name
    complete = [
        epoch for epoch in epochs if len(recorded_chunks(rows, epoch)) == geometry.num_chunks
    ]
    if all(epoch in read_notes(rows / METADATA).errors for epoch in complete):
        return
    with locked(lock_path(rows)):
        notes = read_notes(rows / METADATA)
        for epoch in complete:
            notes.errors[epoch] = errors_of_epoch(rows, geometry, epoch)
        _replace_documents(folder, geometry, notes)


def errors_of_epoch(rows_folder: Path, geometry: Geometry, epoch: int) -> dict[str, Any]:
    """What the records of a complete epoch say of the codec's errors, over all its samples."""
    paths = [record_path(rows_folder, epoch, chunk) for chunk in range(geometry.num_chunks)]
    return joined_errors(geometry, (read_record(path).error for path in paths))


def joined_errors(geometry: Geometry, errors: Iterable[CodecError]) -> dict[str, Any]:
    """What is noted of an epoch, from what the records of all its chunks say."""
    return CodecError.joined(errors).summary(geometry.num_samples * max(1, geometry.crops))


def read_notes(rows_document: Path) -> Notes:
    """What the `zarr.json` of the labels' array says of the epochs."""
    attributes = parse(rows_document.read_bytes(), rows_document).get("attributes")
    fields = unseal(attributes if isinstance(attributes, dict) else {}, rows_document)
    return Notes.from_json(fields)


def _replace_documents(folder: Path, geometry: Geometry, notes: Notes) -> None:
    for array in reversed(geometry.arrays):
        path = folder / array.name / METADATA
        document = array_document(array, geometry, notes)
        if path.read_bytes() != document:
            write_whole(path, document)


def _recorded(rows_folder: Path, geometry: Geometry) -> Notes:
    """What the completion records know; of damaged ones nothing."""
    notes = Notes()
    for epoch in recorded_epochs(rows_folder):
        records: list[Record] = []
        for chunk in sorted(recorded_chunks(rows_folder, epoch)):
            with contextlib.suppress(DamagedStore):
                records.append(read_record(record_path(rows_folder, epoch, chunk)))
        if records:
            notes.checkpoints[epoch] = records[0].checkpoint_id
        if len(records) == geometry.num_chunks:
            notes.errors[epoch] = joined_errors(geometry, (each.error for each in records))
    return notes
