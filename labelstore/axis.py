"""The arrays of a view, and how their epoch axis grows.

In: a view's folder and the checkpoints of its epochs. Out: the `zarr.json` of its arrays, replaced
atomically. The axis always ends at the last epoch that was begun, and `logits/zarr.json`
names the checkpoint of every epoch begun. It is written last: until then nothing has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .disk import locked, make_folder, write_whole
from .errors import DamagedStore, WrongCheckpoint
from .layout import METADATA, RECORDS, Geometry, array_document, lock_path
from .records import read_record, recorded_epochs
from .sealed import parse, unseal


def create_arrays(view_folder: Path, geometry: Geometry) -> None:
    """Writes the metadata of the arrays that have none yet.

    Where completion records are there already (someone removed a damaged `zarr.json`), what the
    axis held is taken from them.
    """
    documents = [view_folder / array.name / METADATA for array in geometry.arrays]
    if all(path.exists() for path in documents):
        return
    make_folder(lock_path(view_folder / "logits").parent)
    with locked(lock_path(view_folder / "logits")):
        logits = view_folder / "logits" / METADATA
        found = read_checkpoints(logits) if logits.exists() else _recorded(view_folder / "logits")
        about = read_about(logits) if logits.exists() else {}
        for array, path in reversed(list(zip(geometry.arrays, documents, strict=True))):
            if not path.exists():
                make_folder(path.parent)
                write_whole(path, array_document(array, geometry, found, about))


def grow_epoch_axis(
    view_folder: Path,
    geometry: Geometry,
    wanted: Mapping[int, str],
    about: Mapping[int, Mapping[str, Any]],
) -> None:
    """Adds epochs with their checkpoints; WrongCheckpoint if one was begun with another.

    about: what is noted of an epoch's checkpoint; what was noted first stays.
    """
    with locked(lock_path(view_folder / "logits")):
        checkpoints = read_checkpoints(view_folder / "logits" / METADATA)
        for epoch, checkpoint_id in wanted.items():
            known = checkpoints.setdefault(epoch, checkpoint_id)
            if known != checkpoint_id:
                raise WrongCheckpoint(
                    f"{view_folder}: epoch {epoch} was begun with checkpoint {known}, but "
                    f"{checkpoint_id} was given; give the run that made these labels, or "
                    "another --out"
                )
        notes = {**about, **read_about(view_folder / "logits" / METADATA)}
        for array in reversed(geometry.arrays):
            path = view_folder / array.name / METADATA
            document = array_document(array, geometry, checkpoints, notes)
            if path.read_bytes() != document:
                write_whole(path, document)


def read_checkpoints(logits_document: Path) -> dict[int, str]:
    """Checkpoint id of every epoch begun, from the `zarr.json` of `logits`."""
    return _by_epoch(logits_document, "checkpoints")


def read_about(logits_document: Path) -> dict[int, dict[str, Any]]:
    """What was noted of the checkpoints, from the `zarr.json` of `logits`."""
    return _by_epoch(logits_document, "about")


def _by_epoch(logits_document: Path, name: str) -> dict[int, Any]:
    attributes = parse(logits_document.read_bytes(), logits_document).get("attributes")
    fields = unseal(attributes if isinstance(attributes, dict) else {}, logits_document)
    return {int(epoch): each for epoch, each in fields[name].items()}


def _recorded(logits_folder: Path) -> dict[int, str]:
    checkpoints = {}
    for epoch in recorded_epochs(logits_folder):
        for path in sorted((logits_folder / RECORDS / f"{epoch:04d}").glob("*.json")):
            try:
                checkpoints[epoch] = read_record(path).checkpoint_id
                break
            except DamagedStore:
                continue
    return checkpoints
