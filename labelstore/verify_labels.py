"""Checks one folder of labels: the arrays of a view in one codec, its records and chunk files.

In: the folder and what is known of the store and the view. Out: problems, added to the findings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .axis import Notes, array_document, joined_errors, read_notes
from .checksum import crc32_of_file
from .codecs import DENSE, Codec, codec_in_folder
from .errors import DamagedStore
from .findings import Findings, unreadable
from .layout import (
    CODE_KIND,
    METADATA,
    RECORDS,
    Geometry,
    code_attributes,
    draft_folder,
    epochs_text,
    record_path,
)
from .records import Record, read_record, recorded_chunks, recorded_epochs
from .sealed import NOT_AS_WRITTEN, parse


def rows_folder(folder: Path) -> Path:
    """Where the rows of a folder of labels lie."""
    logits = folder / "logits"
    return logits if logits.is_dir() else folder / "codes"


class LabelsCheck:
    """Of the labels in `folder`: a view's own folder, or that of one of its codecs."""

    def __init__(self, folder: Path, found: Findings) -> None:
        self.folder = folder
        self.rows = rows_folder(folder)
        self.found = found
        self._without_note: list[int] = []

    def run(self, store: dict[str, Any] | None, view: dict[str, Any] | None) -> None:
        """store, view: their attributes, where they can be trusted."""
        folder = self.folder
        folder_id = view["id"] if view else None
        codec: Codec | None = DENSE
        if self.rows.name == "codes":
            codec = codec_in_folder(folder.name)
            own = self.found.group(folder)
            folder_id = own.get("id") if own else None
            if own is not None and view is not None:
                expected = code_attributes(view["id"], codec) if codec else {}
                if own | {"versions": None} != expected | {"versions": None}:
                    self.found.damaged(folder / METADATA, f"not the identity of a {CODE_KIND} here")
                    folder_id = None
        geometry = self._geometry(store, view, codec)
        if geometry is None:
            return
        notes = self._check_arrays(geometry)
        for epoch in recorded_epochs(self.rows):
            self._check_epoch(geometry, epoch, folder_id, notes)
        self._check_extent(geometry, notes)

    def _geometry(
        self,
        store: dict[str, Any] | None,
        view: dict[str, Any] | None,
        codec: Codec | None,
    ) -> Geometry | None:
        """From the attributes or, if these are damaged, from the array's own metadata."""
        try:
            path = self.rows / METADATA
            if store is not None and view is not None:
                num_samples, num_classes = store["num_samples"], store["num_classes"]
                chunk_rows, crops = store["chunk_rows"], view["crops"]
            else:
                document = parse(path.read_bytes(), path)
                _, num_samples, *row_shape = document["shape"]
                chunk_rows = document["chunk_grid"]["configuration"]["chunk_shape"][1]
                crops = row_shape[0] if len(row_shape) == 2 else 0
                # How many classes a row of codes has only the store knows.
                num_classes = row_shape[-1] if store is None else store["num_classes"]
                if store is None and codec != DENSE:
                    return None
            return Geometry(
                num_samples=int(num_samples),
                num_classes=int(num_classes),
                chunk_rows=int(chunk_rows),
                codec=codec or DENSE,
                crops=int(crops),
            )
        except (DamagedStore, OSError, KeyError, TypeError, ValueError, IndexError):
            return None

    def _check_arrays(self, geometry: Geometry) -> Notes | None:
        """What is noted of the epochs; None if that cannot be trusted."""
        notes: Notes | None = None
        for array in geometry.arrays:
            path = self.folder / array.name / METADATA
            data = self.found.bytes_of(path, recorded_epochs(self.rows))
            if data is None:
                continue
            try:
                if array == geometry.rows:
                    notes = read_notes(path)
                if notes is None or data == array_document(array, geometry, notes):
                    continue
            except (DamagedStore, KeyError, TypeError, ValueError, AttributeError):
                notes = None
            self.found.damaged(path, NOT_AS_WRITTEN, recorded_epochs(self.rows))
        return notes

    def _check_epoch(
        self,
        geometry: Geometry,
        epoch: int,
        folder_id: str | None,
        notes: Notes | None,
    ) -> None:
        errors = []
        for chunk in sorted(recorded_chunks(self.rows, epoch)):
            path = record_path(self.rows, epoch, chunk)
            self.found.checked += 1
            try:
                record = read_record(path)
            except DamagedStore:
                self.found.damaged(path, NOT_AS_WRITTEN, [epoch])
            except OSError as error:
                self.found.damaged(path, unreadable(error), [epoch])
            else:
                self._check_chunk(geometry, path, record)
                errors.append(record.error)
                expected = (epoch, chunk, geometry.rows_of(chunk), folder_id or record.folder_id)
                if (record.epoch, record.chunk, record.rows, record.folder_id) != expected:
                    self.found.damaged(path, "it is the record of another chunk", [epoch])
                elif notes is not None and notes.checkpoints.get(epoch) != record.checkpoint_id:
                    self.found.damaged(
                        path,
                        f"it is of checkpoint {record.checkpoint_id}, but epoch {epoch} was begun "
                        f"with {notes.checkpoints.get(epoch)}",
                        [epoch],
                    )
            self.found.chunk_read()
        if notes is None or len(errors) < geometry.num_chunks:
            return
        if epoch not in notes.errors:
            self._without_note.append(epoch)
        elif notes.errors[epoch] != joined_errors(geometry, errors):
            self.found.damaged(
                self.rows / METADATA,
                f"it does not say of epoch {epoch} what the records say of the codec's errors",
                recorded_epochs(self.rows),
            )

    def _check_chunk(self, geometry: Geometry, path: Path, record: Record) -> None:
        for array in geometry.arrays:
            file = self.folder / array.name / array.chunk_name(record.epoch, record.chunk)
            size, crc = record.files.get(array.name, (None, None))
            if size is None:
                self.found.damaged(path, f"it says nothing of {array.name}", [record.epoch])
                continue
            self.found.checked += 1
            problem = _problem_of_chunk(file, size, crc)
            if problem is not None:
                self.found.damaged(
                    file,
                    problem,
                    [record.epoch],
                    remove=path,
                    read_by_subsets=array == geometry.rows,
                )

    def _check_extent(self, geometry: Geometry, notes: Notes | None) -> None:
        """Epochs that a dump has still to finish, and chunk files that no record vouches for."""
        recorded = {
            epoch: recorded_chunks(self.rows, epoch) for epoch in recorded_epochs(self.rows)
        }
        unfinished = [
            epoch
            for epoch in sorted({*(notes.checkpoints if notes else ()), *recorded})
            if len(recorded.get(epoch, ())) < geometry.num_chunks
        ]
        if unfinished or self._without_note:
            name = "/".join(self.folder.relative_to(self.found.root).parts)
            self.found.unfinished[name] = sorted({*unfinished, *self._without_note})
        if unfinished:
            lacking = sum(geometry.num_chunks - len(recorded.get(e, ())) for e in unfinished)
            self.found.problems.append(
                f"{self.folder}: epochs {epochs_text(unfinished)} are not complete ({lacking} "
                "chunks are missing); write the rest with "
                f"`{self.found.dump_command(self.folder, unfinished)}`"
            )
        if self._without_note:
            self.found.problems.append(
                f"{self.folder}: epochs {epochs_text(self._without_note)} have all their labels, "
                "but a dump was stopped before it noted the codec's errors, or is about to; note "
                f"them with `{self.found.dump_command(self.folder, self._without_note)}`"
            )
        for array in geometry.arrays:
            for file in sorted((self.folder / array.name).glob("c.*")):
                try:
                    epoch, chunk = (int(each) for each in file.name.split(".")[1:3])
                except ValueError:
                    continue
                draft = draft_folder(self.rows, chunk) / f"{epoch:04d}.journal"
                if chunk not in recorded.get(epoch, ()) and not draft.exists():
                    self.found.damaged(
                        file, f"no completion record in {RECORDS} speaks for it", [epoch]
                    )


def _problem_of_chunk(file: Path, size: int, crc: int | None) -> str | None:
    """What is wrong with a chunk file that had `size` bytes; None if nothing is."""
    try:
        found = file.stat().st_size
        if found != size:
            return f"expected {size} bytes, found {found}"
        return None if crc32_of_file(file) == crc else NOT_AS_WRITTEN
    except OSError as error:
        return unreadable(error)
