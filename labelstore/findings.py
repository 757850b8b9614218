"""What a verification has found so far: problems, each with the command that mends it.

Damage is always mended the same way: remove what the message names, then dump or import again,
which makes exactly what is missing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .codecs import DENSE, codec_in_folder
from .commands import writing_command
from .errors import DamagedStore
from .layout import METADATA, RECORDS, epochs_text, group_document
from .records import recorded_epochs
from .sealed import NOT_AS_WRITTEN, parse, unseal
from .subsets import folder_beside

Progress = Callable[[str, int, int], None]


class Findings:
    """problems: for people. unfinished: epochs that a dump has still to finish, by "EXPERT/VIEW".
    num_damaged: problems that are more than that. checked: files read. total: chunks to read."""

    def __init__(self, root: Path, progress: Progress | None) -> None:
        self.root = root
        self.problems: list[str] = []
        self.unfinished: dict[str, list[int]] = {}
        self.checked = self.total = self.num_damaged = 0
        self._progress = progress
        self._chunks = 0

    def chunk_read(self) -> None:
        """Tells the progress of one chunk more."""
        self._chunks += 1
        if self._progress is not None:
            self._progress("verify", self._chunks, max(self.total, self._chunks))

    def verdict(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "checked": self.checked,
            "problems": self.problems,
            "damaged": self.num_damaged,
            "unfinished": self.unfinished,
        }

    def group(self, folder: Path) -> dict[str, Any] | None:
        """Attributes of a group whose `zarr.json` is as it was written; None if it is not."""
        path = folder / METADATA
        data = self.bytes_of(path)
        if data is None:
            return None
        try:
            attributes = unseal(parse(data, path).get("attributes") or {}, path)
            if group_document(attributes) == data:
                return attributes
        except (DamagedStore, AttributeError):
            pass
        self.damaged(path, NOT_AS_WRITTEN)
        return None

    def bytes_of(self, path: Path, epochs: Sequence[int] = ()) -> bytes | None:
        """All of a file; None, and a problem as of `damaged`, if it cannot be read."""
        self.checked += 1
        try:
            return path.read_bytes()
        except OSError as error:
            self.damaged(path, unreadable(error), epochs)
            return None

    def damaged(
        self,
        path: Path,
        what: str,
        epochs: Sequence[int] = (),
        *,
        remove: Path | None = None,
        read_by_subsets: bool = False,
    ) -> None:
        """A problem of `path`, mended by removing it, or `remove`, and writing again.

        epochs: to write again; by default all below the folder of `path`, as what was noted of
        them may go with it. read_by_subsets: materialised subsets may hold what is damaged.
        """
        self.num_damaged += 1
        epochs = epochs or _epochs_below(path.parent)
        subsets = folder_beside(self.root)
        also = f" and `rm -rf {subsets}`" if read_by_subsets and subsets.is_dir() else ""
        self.problems.append(
            f"{path}: {what}; make it again with `rm -f {remove or path}`{also} and then "
            f"`{self.dump_command(path, epochs)}`"
        )

    def dump_command(self, path: Path, epochs: Sequence[int]) -> str:
        """The command that writes `epochs` of the labels that `path` belongs to."""
        labels = self._some_labels(path.parent) if path.name == METADATA else path
        expert, view, folder = (*labels.relative_to(self.root).parts, "", "", "")[:3]
        return writing_command(
            self.root,
            epochs_text(epochs) if epochs else "…",
            expert=expert,
            view=view or "plain",
            codec=(codec_in_folder(folder) or DENSE).name,
            source_kind=_source_kind(self.root / expert / view) if view else None,
        )

    def _some_labels(self, folder: Path) -> Path:
        """Those below `folder` that are to be written first: dense ones, if there are any."""
        rows = [*sorted(self.root.glob("*/*/logits")), *sorted(self.root.glob("*/*/*/codes"))]
        return next((each for each in rows if each.is_relative_to(folder)), folder)


def unreadable(error: OSError) -> str:
    """What is wrong with a file that could not be opened or read."""
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    return f"it cannot be read ({error.strerror})"


def _source_kind(view: Path) -> str | None:
    """What kind of source the labels of a view were imported from; None if they were dumped.

    Its identity says so, and so do the notes of its epochs: at least one is not the damaged one.
    """
    documents = (METADATA, f"logits/{METADATA}", f"*/codes/{METADATA}")
    for path in (each for pattern in documents for each in sorted(view.glob(pattern))):
        with contextlib.suppress(OSError):
            found = re.search(rb'"source": \{[^{}]*"kind": "(\w+)"', path.read_bytes())
            if found:
                return found[1].decode()
    return None


def _epochs_below(folder: Path) -> list[int]:
    """Epochs that have records in any array below `folder`, ascending."""
    return sorted(
        {epoch for each in folder.rglob(RECORDS) for epoch in recorded_epochs(each.parent)}
    )
