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

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .axis import read_about, read_checkpoints
from .drafts import crc32_of_file
from .errors import DamagedStore, LabelStoreError, StoreNotFound
from .layout import (
    METADATA,
    RECORDS,
    STORE_KIND,
    VIEW_FIELDS,
    VIEW_KIND,
    Geometry,
    array_document,
    draft_folder,
    epochs_text,
    group_document,
    record_path,
    store_attributes,
    view_attributes,
)
from .records import Record, read_record, recorded_chunks, recorded_epochs
from .sealed import parse, unseal
from .store import open_store
from .tree import LocalTree

Progress = Callable[[str, int, int], None]


def verify_store(path: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Checks every byte of the store in folder `path`.

    Returns {"ok": bool, "checked": number of files read, "problems": [str],
    "unfinished": {"EXPERT/VIEW": [epochs begun but not complete]}}; `ok` is False if there is any
    problem, unfinished epochs included. progress: called as ("verify", chunks done, chunks to do).
    Raises StoreNotFound if there is no `zarr.json` at `path` and nothing that looks like labels.
    """
    return _Verification(Path(path), progress).run()


class _Verification:
    def __init__(self, root: Path, progress: Progress | None) -> None:
        self.root = root
        self.progress = progress
        self.problems: list[str] = []
        self.unfinished: dict[str, list[int]] = {}
        self.checked = self.done = self.total = 0

    def run(self) -> dict[str, Any]:
        views = sorted(self.root.glob("*/*/logits"))
        rewritten = [logits.parent for logits in views if self._is_rewritten(logits.parent)]
        if rewritten:
            self.problems = [
                f"{view}: other software wrote its arrays anew, and completion records do not "
                "travel with such copies; run `engine verify` on the store that it was made from"
                for view in rewritten
            ]
            return self._verdict()
        if not views and not (self.root / METADATA).is_file():
            raise StoreNotFound(f"{self.root}: expected a label store, found no {METADATA} there")
        self.total = sum(
            len(recorded_chunks(logits, epoch))
            for logits in views
            for epoch in recorded_epochs(logits)
        )
        store = self._check_root()
        for expert in sorted({logits.parent.parent for logits in views} | set(self._strays())):
            self._check_group(expert)
        for logits in views:
            self._check_view(logits.parent, store)
        return self._verdict()

    def _verdict(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "checked": self.checked,
            "problems": self.problems,
            "unfinished": self.unfinished,
        }

    def _is_rewritten(self, view: Path) -> bool:
        """Whether the view can be read, but only as Zarr, not as files of ours."""
        try:
            store = open_store(self.root)
            tree = LocalTree(self.root)
            layout = tree.layout(store.geometry, view.parent.name, view.name)
        except (LabelStoreError, OSError, ValueError, KeyError, TypeError):
            return False
        return not layout.writable

    def _strays(self) -> Iterator[Path]:
        return (path for path in self.root.iterdir() if path.is_dir())

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

    def _check_view(self, folder: Path, store: dict[str, Any] | None) -> None:
        attributes = self._check_group(folder)
        if attributes is not None and store is not None:
            identity = {key: attributes[key] for key in attributes if key not in VIEW_FIELDS}
            expected = view_attributes(store["id"], folder.parent.name, folder.name, identity)
            expected["versions"] = attributes.get("versions")
            if attributes != expected:
                self._damaged(folder / METADATA, f"not the identity of a {VIEW_KIND} of this store")
                attributes = None
        geometry = self._geometry(folder, store)
        if geometry is None:
            return
        checkpoints = self._check_arrays(folder, geometry)
        view_id = attributes["id"] if attributes else None
        for epoch in recorded_epochs(folder / "logits"):
            self._check_epoch(folder, geometry, epoch, view_id, checkpoints)
        self._check_extent(folder, geometry, checkpoints or {})

    def _geometry(self, folder: Path, store: dict[str, Any] | None) -> Geometry | None:
        """From the store's attributes or, if these are damaged, from the array's own metadata."""
        try:
            if store is not None:
                num_samples, num_classes = store["num_samples"], store["num_classes"]
                chunk_rows = store["chunk_rows"]
            else:
                path = folder / "logits" / METADATA
                document = parse(path.read_bytes(), path)
                _, num_samples, num_classes = document["shape"]
                chunk_rows = document["chunk_grid"]["configuration"]["chunk_shape"][1]
            return Geometry(
                num_samples=int(num_samples),
                num_classes=int(num_classes),
                chunk_rows=int(chunk_rows),
            )
        except (DamagedStore, OSError, KeyError, TypeError, ValueError, IndexError):
            return None

    def _check_arrays(self, folder: Path, geometry: Geometry) -> dict[int, str] | None:
        """Checkpoints of the epochs begun; None if `logits/zarr.json` cannot be trusted."""
        checkpoints: dict[int, str] | None = None
        about: dict[int, dict[str, Any]] = {}
        for array in geometry.arrays:
            path = folder / array.name / METADATA
            data = self._bytes(path)
            if data is None:
                continue
            try:
                if array.name == "logits":
                    checkpoints, about = read_checkpoints(path), read_about(path)
                if checkpoints is None:
                    continue
                if data == array_document(array, geometry, checkpoints, about):
                    continue
            except (DamagedStore, KeyError, TypeError, ValueError, AttributeError):
                checkpoints = None
            self._damaged(path, "its bytes are not those that were written")
        return checkpoints

    def _check_epoch(
        self,
        folder: Path,
        geometry: Geometry,
        epoch: int,
        view_id: str | None,
        checkpoints: dict[int, str] | None,
    ) -> None:
        for chunk in sorted(recorded_chunks(folder / "logits", epoch)):
            path = record_path(folder / "logits", epoch, chunk)
            self.checked += 1
            try:
                record = read_record(path)
            except DamagedStore:
                self._damaged(path, "its bytes are not those that were written", epoch)
            else:
                self._check_chunk(folder, geometry, path, record)
                expected = (epoch, chunk, geometry.rows_of(chunk), view_id or record.view_id)
                if (record.epoch, record.chunk, record.rows, record.view_id) != expected:
                    self._damaged(path, "it is the record of another chunk", epoch)
                elif checkpoints is not None and checkpoints.get(epoch) != record.checkpoint_id:
                    self._damaged(
                        path,
                        f"it is of checkpoint {record.checkpoint_id}, but epoch {epoch} was begun "
                        f"with {checkpoints.get(epoch)}",
                        epoch,
                    )
            self.done += 1
            if self.progress is not None:
                self.progress("verify", self.done, max(self.total, self.done))

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

    def _check_extent(self, folder: Path, geometry: Geometry, checkpoints: dict[int, str]) -> None:
        """Epochs begun but not complete, and chunk files that no record vouches for."""
        logits = folder / "logits"
        recorded = {epoch: recorded_chunks(logits, epoch) for epoch in recorded_epochs(logits)}
        unfinished = [
            epoch
            for epoch in sorted({*checkpoints, *recorded})
            if len(recorded.get(epoch, ())) < geometry.num_chunks
        ]
        if unfinished:
            self.unfinished[f"{folder.parent.name}/{folder.name}"] = unfinished
            lacking = sum(geometry.num_chunks - len(recorded.get(e, ())) for e in unfinished)
            self.problems.append(
                f"{folder}: epochs {epochs_text(unfinished)} are not complete ({lacking} chunks "
                f"are missing); write the rest with `{self._dump(unfinished)}`"
            )
        for array in geometry.arrays:
            for file in sorted((folder / array.name).glob("c.*")):
                try:
                    epoch, chunk = (int(each) for each in file.name.split(".")[1:3])
                except ValueError:
                    continue
                draft = draft_folder(logits, chunk) / f"{epoch:04d}.journal"
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
            f"`{self._dump(epochs)}`"
        )

    def _dump(self, epochs: list[int]) -> str:
        which = f"--epochs {','.join(map(str, epochs))}" if epochs else "--epochs …"
        return f"engine dump-labels --data DATA --expert RUN --out {self.root} {which}"
