"""What a verification has found so far: problems, each with the command that mends it.

Damage is always mended the same way: remove the file that the message names, then dump again, which
makes exactly what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .codecs import DENSE, codec_in_folder
from .errors import DamagedStore
from .layout import METADATA, group_document
from .sealed import parse, unseal

Progress = Callable[[str, int, int], None]


class Findings:
    """problems: for people. unfinished: epochs begun but not complete, by "EXPERT/VIEW". checked:
    files read. total: chunks to read."""

    def __init__(self, root: Path, progress: Progress | None) -> None:
        self.root = root
        self.problems: list[str] = []
        self.unfinished: dict[str, list[int]] = {}
        self.checked = self.total = 0
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
        self.damaged(path, "its bytes are not those that were written")
        return None

    def bytes_of(self, path: Path) -> bytes | None:
        """All of a file; None, and a problem, if it is missing."""
        self.checked += 1
        try:
            return path.read_bytes()
        except OSError:
            self.damaged(path, "it is missing")
            return None

    def damaged(
        self, path: Path, what: str, epoch: int | None = None, *, remove: Path | None = None
    ) -> None:
        """A problem of `path`, mended by removing it, or `remove`, and dumping again."""
        epochs = [] if epoch is None else [epoch]
        self.problems.append(
            f"{path}: {what}; make it again with `rm -f {remove or path}` and then "
            f"`{self.dump_command(path, epochs)}`"
        )

    def dump_command(self, path: Path, epochs: list[int]) -> str:
        """The command that writes `epochs` of the labels that `path` belongs to."""
        which = f"--epochs {','.join(map(str, epochs))}" if epochs else "--epochs …"
        _, view, folder = (*path.relative_to(self.root).parts, "", "", "")[:3]
        codec = codec_in_folder(folder)
        options = (f" --view {view}" if view not in ("", "plain", METADATA) else "") + (
            f" --codec {codec.name}" if codec and codec != DENSE else ""
        )
        return f"engine dump-labels --data DATA --expert RUN --out {self.root}{options} {which}"
