"""Finds every flipped byte and every missing piece of a store, and says how to make it again.

In: the folder of a store. Out: a list of problems, each with the path and the next command. Reads
everything once: CRC-32 runs at 4 GiB/s, so the disk sets the time.

What covers what: chunk files by the checksums in their records; records and the `zarr.json` of
groups by the checksum inside them; the `zarr.json` of arrays by being rebuilt from its own sealed
attributes and the store's geometry and compared byte for byte; ids by being computed again. A chunk
without a record, a record without its chunk, and an epoch that was begun but is not complete are
problems too. Damage is always mended the same way: remove what the message names, then dump or
import again, which makes exactly what is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .codecs import DENSE, codec_in_folder
from .errors import LabelStoreError, StoreNotFound
from .findings import Findings, Progress
from .layout import (
    METADATA,
    STORE_KIND,
    VIEW_FIELDS,
    VIEW_KIND,
    require_format,
    store_attributes,
    view_attributes,
)
from .records import recorded_chunks, recorded_epochs
from .store import open_store
from .subsets import folder_beside, verify_subsets
from .verify_labels import LabelsCheck, rows_folder
from .view import LabelView


def verify_store(path: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Checks every byte of the store in folder `path`.

    Returns {"ok": bool, "checked": number of files read, "problems": [str], "damaged": number of
    them that are not just unfinished epochs, "unfinished": {"EXPERT/VIEW": [epochs that a dump has
    still to finish]}}; `ok` is False if there is any problem, unfinished epochs included.
    Materialised subsets beside the store are checked too and, where nothing in it is damaged,
    compared with it.
    progress: called as ("verify", chunks done, chunks to do).
    Raises StoreNotFound if there is no `zarr.json` at `path` and nothing that looks like labels,
    WrongFormat if another version of this program wrote them.
    """
    verdict = _Verification(Path(path), progress).run()
    subsets = folder_beside(Path(path))
    if subsets.is_dir():
        found = verify_subsets(subsets, [] if verdict["damaged"] else _all_views(Path(path)))
        verdict["checked"] += found["checked"]
        verdict["problems"] += found["problems"]
        verdict["damaged"] += len(found["problems"])
        verdict["ok"] = not verdict["problems"]
    return verdict


def _all_views(root: Path) -> list[LabelView]:
    """Of every expert, in every codec."""
    store = open_store(root)
    return [store.view(*names, codec) for names in store.views() for codec in store.codecs(*names)]


class _Verification:
    def __init__(self, root: Path, progress: Progress | None) -> None:
        self.root = root
        self.found = Findings(root, progress)

    def run(self) -> dict[str, Any]:
        folders = [*self._label_folders("*/*/logits"), *self._label_folders("*/*/*/codes")]
        rewritten = [folder for folder in folders if self._is_rewritten(folder)]
        if rewritten:
            self.found.num_damaged = len(rewritten)
            self.found.problems = [
                f"{folder}: other software wrote its arrays anew, and completion records do not "
                "travel with such copies; run `engine verify` on the store that it was made from"
                for folder in rewritten
            ]
            return self.found.verdict()
        if not folders and not (self.root / METADATA).is_file():
            raise StoreNotFound(f"{self.root}: expected a label store, found no {METADATA} there")
        self.found.total = sum(
            len(recorded_chunks(rows_folder(folder), epoch))
            for folder in folders
            for epoch in recorded_epochs(rows_folder(folder))
        )
        store = self._check_root()
        for expert in sorted(path for path in self.root.iterdir() if path.is_dir()):
            self.found.group(expert)
            for view in sorted(path for path in expert.iterdir() if path.is_dir()):
                attributes = self._check_view(view, store)
                for folder in folders:
                    if folder == view or folder.parent == view:
                        LabelsCheck(folder, self.found).run(store, attributes)
        return self.found.verdict()

    def _label_folders(self, pattern: str) -> list[Path]:
        return sorted(rows.parent for rows in self.root.glob(pattern) if rows.is_dir())

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
        attributes = self.found.group(self.root)
        if attributes is None:
            return None
        if attributes.get("kind") == STORE_KIND:
            require_format(attributes, self.root, self.root)
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
            self.found.damaged(self.root / METADATA, f"not the identity of a {STORE_KIND}")
            return None
        return attributes

    def _check_view(self, folder: Path, store: dict[str, Any] | None) -> dict[str, Any] | None:
        """Attributes of a view's group, if they can be trusted."""
        attributes = self.found.group(folder)
        if attributes is not None and attributes.get("kind") == VIEW_KIND:
            require_format(attributes, folder, self.root)
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
        self.found.damaged(folder / METADATA, f"not the identity of a {VIEW_KIND} of this store")
        return None
