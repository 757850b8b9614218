"""Finds every flipped byte and every missing piece of a store, and says how to make it again.

In: the folder of a store. Out: a list of problems, each with the path and the next command. Reads
everything once: CRC-32 runs at 4 GiB/s, so the disk sets the time.

What covers what: chunk files by the checksums in their records; records and the `zarr.json` of
groups by the checksum inside them; the `zarr.json` of arrays by being rebuilt from its own sealed
attributes and the store's geometry and compared byte for byte; ids by being computed again. A chunk
without a record, a record without its chunk, and an epoch that was begun but is not complete are
problems too. Damage is always mended the same way: remove the file that the message names, then
dump again, which makes exactly what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .axis import Notes, array_document, read_notes
from .checksum import crc32_of_file
from .codecs import DENSE, Codec, codec_in_folder
from .errors import DamagedStore, LabelStoreError, StoreNotFound
from .layout import (
    CODE_KIND,
    METADATA,
    RECORDS,
    STORE_KIND,
    VIEW_FIELDS,
    VIEW_KIND,
    Geometry,
    code_attributes,
    draft_folder,
    epochs_text,
    group_document,
    record_path,
    store_attributes,
    view_attributes,
)
from .records import CodecError, Record, read_record, recorded_chunks, recorded_epochs
from .sealed import parse, unseal
from .store import open_store
from .subsets import folder_beside, verify_subsets

Progress = Callable[[str, int, int], None]


def verify_store(path: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Checks every byte of the store in folder `path`.

    Returns {"ok": bool, "checked": number of files read, "problems": [str],
    "unfinished": {"EXPERT/VIEW": [epochs begun but not complete]}}; `ok` is False if there is any
    problem, unfinished epochs included. Materialised subsets beside the store are checked too.
    progress: called as ("verify", chunks done, chunks to do).
    Raises StoreNotFound if there is no `zarr.json` at `path` and nothing that looks like labels.
    """
    verdict = _Verification(Path(path), progress).run()
    subsets = folder_beside(Path(path))
    if subsets.is_dir():
        found = verify_subsets(subsets)
        verdict["checked"] += found["checked"]
        verdict["problems"] += found["problems"]
        verdict["ok"] = not verdict["problems"]
    return verdict


class _Verification:
    def __init__(self, root: Path, progress: Progress | None) -> None:
        self.root = root
        self.progress = progress
        self.problems: list[str] = []
        self.unfinished: dict[str, list[int]] = {}
        self.checked = self.done = self.total = 0

    def run(self) -> dict[str, Any]:
        folders = [*self._label_folders("*/*/logits"), *self._label_folders("*/*/*/codes")]
        rewritten = [folder for folder in folders if self._is_rewritten(folder)]
        if rewritten:
            self.problems = [
                f"{folder}: other software wrote its arrays anew, and completion records do not "
                "travel with such copies; run `engine verify` on the store that it was made from"
                for folder in rewritten
            ]
            return self._verdict()
        if not folders and not (self.root / METADATA).is_file():
            raise StoreNotFound(f"{self.root}: expected a label store, found no {METADATA} there")
        self.total = sum(
            len(recorded_chunks(_rows_folder(folder), epoch))
            for folder in folders
            for epoch in recorded_epochs(_rows_folder(folder))
        )
        store = self._check_root()
        for expert in sorted(path for path in self.root.iterdir() if path.is_dir()):
            self._check_group(expert)
            for view in sorted(path for path in expert.iterdir() if path.is_dir()):
                attributes = self._check_view(view, store)
                for folder in folders:
                    if folder == view or folder.parent == view:
                        self._check_labels(folder, store, attributes)
        return self._verdict()

    def _label_folders(self, pattern: str) -> list[Path]:
        return sorted(rows.parent for rows in self.root.glob(pattern) if rows.is_dir())

    def _verdict(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "checked": self.checked,
            "problems": self.problems,
            "unfinished": self.unfinished,
        }

    def _is_rewritten(self, folder: Path) -> bool:
        """Whether the labels can be read, but only as Zarr, not as files of ours."""
        expert, view, *code = folder.relative_to(self.root).parts
        codec = codec_in_folder(code[0]) if code else DENSE
        try:
            store = open_store(self.root)
            return codec is not None and not store.view(expert, view, codec.name).writable
        except (LabelStoreError, OSError, ValueError, KeyError, TypeError):
            return False

    def _check_root(self) -> dict[str, Any] | None:
        """The store's attributes, if they can be trusted."""
        attributes = self._check_group(self.root)
        if attributes is None:
            return None
        try:
            expected = store_attributes(
                attributes["dataset_id"],
                attributes["classes"],
                attributes["num_samples"],
                attributes["chunk_rows"],
            )
            expected["versions"] = attributes["versions"]
        except (KeyError, TypeError):
            expected = {}
        if attributes != expected:
            self._damaged(self.root / METADATA, f"not the identity of a {STORE_KIND}")
            return None
        return attributes

    def _check_group(self, folder: Path) -> dict[str, Any] | None:
        """Attributes of a group whose `zarr.json` is as it was written; None if it is not."""
        path = folder / METADATA
        data = self._bytes(path)
        if data is None:
            return None
        try:
            attributes = unseal(parse(data, path).get("attributes") or {}, path)
            if group_document(attributes) == data:
                return attributes
        except (DamagedStore, AttributeError):
            pass
        self._damaged(path, "its bytes are not those that were written")
        return None

    def _check_view(self, folder: Path, store: dict[str, Any] | None) -> dict[str, Any] | None:
        """Attributes of a view's group, if they can be trusted."""
        attributes = self._check_group(folder)
        if attributes is None or store is None:
            return attributes
        identity = {key: attributes[key] for key in attributes if key not in VIEW_FIELDS}
        try:
            names, crops = (folder.parent.name, folder.name), attributes["crops"]
            expected = view_attributes(store["id"], *names, crops, identity)
            expected["versions"] = attributes.get("versions")
        except (KeyError, TypeError):
            expected = {}
        if attributes == expected:
            return attributes
        self._damaged(folder / METADATA, f"not the identity of a {VIEW_KIND} of this store")
        return None

    def _check_labels(
        self, folder: Path, store: dict[str, Any] | None, view: dict[str, Any] | None
    ) -> None:
        """A folder of labels in one codec: `view` has its own, or its parent's, attributes."""
        folder_id = view["id"] if view else None
        codec: Codec | None = DENSE
        if _rows_folder(folder).name == "codes":
            codec = codec_in_folder(folder.name)
            own = self._check_group(folder)
            folder_id = own.get("id") if own else None
            if own is not None and view is not None:
                expected = code_attributes(view["id"], codec) if codec else {}
                if own | {"versions": None} != expected | {"versions": None}:
                    self._damaged(folder / METADATA, f"not the identity of a {CODE_KIND} here")
                    folder_id = None
        geometry = self._geometry(folder, store, view, codec)
        if geometry is None:
            return
        notes = self._check_arrays(folder, geometry)
        for epoch in recorded_epochs(_rows_folder(folder)):
            self._check_epoch(folder, geometry, epoch, folder_id, notes)
        self._check_extent(folder, geometry, notes)

    def _geometry(
        self,
        folder: Path,
        store: dict[str, Any] | None,
        view: dict[str, Any] | None,
        codec: Codec | None,
    ) -> Geometry | None:
        """From the attributes or, if these are damaged, from the array's own metadata."""
        try:
            path = _rows_folder(folder) / METADATA
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

    def _check_arrays(self, folder: Path, geometry: Geometry) -> Notes | None:
        """What is noted of the epochs; None if that cannot be trusted."""
        notes: Notes | None = None
        for array in geometry.arrays:
            path = folder / array.name / METADATA
            data = self._bytes(path)
            if data is None:
                continue
            try:
                if array == geometry.rows:
                    notes = read_notes(path)
                if notes is None or data == array_document(array, geometry, notes):
                    continue
            except (DamagedStore, KeyError, TypeError, ValueError, AttributeError):
                notes = None
            self._damaged(path, "its bytes are not those that were written")
        return notes

    def _check_epoch(
        self,
        folder: Path,
        geometry: Geometry,
        epoch: int,
        folder_id: str | None,
        notes: Notes | None,
    ) -> None:
        rows = _rows_folder(folder)
        errors = []
        for chunk in sorted(recorded_chunks(rows, epoch)):
            path = record_path(rows, epoch, chunk)
            self.checked += 1
            try:
                record = read_record(path)
            except DamagedStore:
                self._damaged(path, "its bytes are not those that were written", epoch)
            else:
                self._check_chunk(folder, geometry, path, record)
                errors.append(record.error)
                expected = (epoch, chunk, geometry.rows_of(chunk), folder_id or record.folder_id)
                if (record.epoch, record.chunk, record.rows, record.folder_id) != expected:
                    self._damaged(path, "it is the record of another chunk", epoch)
                elif notes is not None and notes.checkpoints.get(epoch) != record.checkpoint_id:
                    self._damaged(
                        path,
                        f"it is of checkpoint {record.checkpoint_id}, but epoch {epoch} was begun "
                        f"with {notes.checkpoints.get(epoch)}",
                        epoch,
                    )
            self.done += 1
            if self.progress is not None:
                self.progress("verify", self.done, max(self.total, self.done))
        if notes is None or len(errors) < geometry.num_chunks:
            return
        joined = CodecError.joined(errors).summary(geometry.num_samples * max(1, geometry.crops))
        if notes.errors.get(epoch) != joined:
            self._damaged(
                rows / METADATA,
                f"it does not say of epoch {epoch} what the records say of the codec's errors",
                epoch,
            )

    def _check_chunk(self, folder: Path, geometry: Geometry, path: Path, record: Record) -> None:
        for array in geometry.arrays:
            file = folder / array.name / array.chunk_name(record.epoch, record.chunk)
            size, crc = record.files.get(array.name, (None, None))
            if size is None:
                self._damaged(path, f"it says nothing of {array.name}", record.epoch)
                continue
            self.checked += 1
            found = file.stat().st_size if file.is_file() else None
            if found is None:
                self._damaged(file, "it is missing", record.epoch, remove=path)
            elif found != size:
                self._damaged(
                    file, f"expected {size} bytes, found {found}", record.epoch, remove=path
                )
            elif crc32_of_file(file) != crc:
                self._damaged(
                    file, "its bytes are not those that were written", record.epoch, remove=path
                )

    def _check_extent(self, folder: Path, geometry: Geometry, notes: Notes | None) -> None:
        """Epochs begun but not complete, and chunk files that no record vouches for."""
        rows = _rows_folder(folder)
        recorded = {epoch: recorded_chunks(rows, epoch) for epoch in recorded_epochs(rows)}
        unfinished = [
            epoch
            for epoch in sorted({*(notes.checkpoints if notes else ()), *recorded})
            if len(recorded.get(epoch, ())) < geometry.num_chunks
        ]
        if unfinished:
            self.unfinished["/".join(folder.relative_to(self.root).parts)] = unfinished
            lacking = sum(geometry.num_chunks - len(recorded.get(e, ())) for e in unfinished)
            self.problems.append(
                f"{folder}: epochs {epochs_text(unfinished)} are not complete ({lacking} chunks "
                f"are missing); write the rest with `{self._dump(folder, unfinished)}`"
            )
        for array in geometry.arrays:
            for file in sorted((folder / array.name).glob("c.*")):
                try:
                    epoch, chunk = (int(each) for each in file.name.split(".")[1:3])
                except ValueError:
                    continue
                draft = draft_folder(rows, chunk) / f"{epoch:04d}.journal"
                if chunk not in recorded.get(epoch, ()) and not draft.exists():
                    self._damaged(file, f"no completion record in {RECORDS} speaks for it", epoch)

    def _bytes(self, path: Path) -> bytes | None:
        self.checked += 1
        try:
            return path.read_bytes()
        except OSError:
            self._damaged(path, "it is missing")
            return None

    def _damaged(
        self, path: Path, what: str, epoch: int | None = None, *, remove: Path | None = None
    ) -> None:
        epochs = [] if epoch is None else [epoch]
        self.problems.append(
            f"{path}: {what}; make it again with `rm -f {remove or path}` and then "
            f"`{self._dump(path, epochs)}`"
        )

    def _dump(self, path: Path, epochs: list[int]) -> str:
        """The command that writes `epochs` of the labels that `path` belongs to."""
        which = f"--epochs {','.join(map(str, epochs))}" if epochs else "--epochs …"
        _, view, folder = (*path.relative_to(self.root).parts, "", "", "")[:3]
        codec = codec_in_folder(folder)
        options = (f" --view {view}" if view not in ("", "plain", METADATA) else "") + (
            f" --codec {codec.name}" if codec and codec != DENSE else ""
        )
        return f"engine dump-labels --data DATA --expert RUN --out {self.root}{options} {which}"


def _rows_folder(folder: Path) -> Path:
    """Where the rows of a folder of labels lie."""
    logits = folder / "logits"
    return logits if logits.is_dir() else folder / "codes"
