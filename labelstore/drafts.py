"""An unfinished chunk of one epoch: partial files, and the journal of the blocks that are in them.

In: blocks of encoded rows, in any order. Out: a whole chunk, renamed into place, and its record.

A block is written in place into preallocated files, then one line is added to the journal: its rows
and the CRC-32 of what was *meant* to be written. Nothing is fsynced until the chunk is whole. On
resuming, every block that the journal claims is read back and compared, and what does not match
(after a power cut, say) is done again: so the journal can never claim what the disk does not hold,
at the cost of no fsync per block but a read of at most one unfinished chunk per epoch on resuming.
The whole chunk is fsynced once, before it is renamed, and its checksum is joined from those of its
blocks: what was computed in memory, not what was read back, is what `verify` compares with.

Journal: lines of `JSON SPACE crc32-of-that-JSON`; the first names what is being written.
A torn last line is dropped. Padding behind the last sample is the first block of its chunk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .arrays import ArrayLayout
from .checksum import crc32, crc32_of_file, join_crc32
from .disk import (
    naming_full_disk,
    preallocate,
    start_writing_back,
    sync_file,
    sync_folder,
    write_at,
    write_whole,
)
from .encoding import EncodedBlock, padding
from .layout import Geometry, draft_folder
from .records import CodecError, Record, write_record

Block = tuple[int, int]  # first and one-past-last row, counted over the whole store


@dataclass(frozen=True)
class Entry:
    """What the journal says of one block: CRC-32 by array name; no error where it is padding."""

    crc32: dict[str, int]
    error: CodecError | None


@dataclass(kw_only=True)
class Draft:
    """One (epoch, chunk) being written. The caller holds the lock of the chunk.

    folder: where the arrays lie; folder_id: its id, for the completion record.
    """

    folder: Path
    folder_id: str
    geometry: Geometry
    epoch: int
    chunk: int
    checkpoint_id: str
    done: dict[Block, Entry] = field(default_factory=dict)

    @property
    def rows_folder(self) -> Path:
        return self.folder / self.geometry.rows.name

    @property
    def draft_folder(self) -> Path:
        return draft_folder(self.rows_folder, self.chunk)

    @property
    def journal(self) -> Path:
        return self.draft_folder / f"{self.epoch:04d}.journal"

    def partial_path(self, array: ArrayLayout) -> Path:
        return self.draft_folder / f"{self.epoch:04d}.{array.name}.partial"

    def final_path(self, array: ArrayLayout) -> Path:
        return self.folder / array.name / array.chunk_name(self.epoch, self.chunk)

    @property
    def chunk_span(self) -> Block:
        """Rows of the chunk, padding included."""
        start = self.chunk * self.geometry.chunk_rows
        return start, start + self.geometry.chunk_rows

    @property
    def padding(self) -> Block | None:
        """Rows behind the last sample; None where the chunk is full."""
        last, end = self.geometry.rows_of(self.chunk)[1], self.chunk_span[1]
        return (last, end) if last < end else None

    def resume(self, blocks: Sequence[Block]) -> bool:
        """Takes up what an earlier process left; False if there is nothing to go on from.

        Claims of the journal that do not hold, or that are none of `blocks`, are dropped from it.
        """
        lines = _read_journal(self.journal)
        if not lines or lines[0] != self._header():
            return False
        wanted = {*blocks, self.padding}
        self.done = {}
        for line in lines[1:]:
            rows, entry = _parse_entry(line)
            if rows in wanted and self._holds(rows, entry.crc32):
                self.done[rows] = entry
        some_renamed = not all(self.partial_path(each).exists() for each in self.geometry.arrays)
        if (self.padding and self.padding not in self.done) or (
            some_renamed and not self.is_whole(blocks)
        ):
            self.done = {}
            return False
        write_whole(self.journal, b"".join(map(_line, [self._header(), *self._entries()])))
        return True

    def create(self, *, needed: int) -> None:
        """Reserves space for the chunk and starts its journal; StoreFull leaves nothing behind."""
        self.discard()
        try:
            for array in self.geometry.arrays:
                size = self.geometry.chunk_rows * array.row_bytes
                preallocate(self.partial_path(array), size, needed=needed)
            header = _line(self._header())
            with naming_full_disk(self.journal, len(header)):
                self.journal.write_bytes(header)
        except BaseException:
            self.discard()
            raise

    def pad(self) -> None:
        """Fills the rows behind the last sample, if there are any."""
        if self.padding:
            self.write(self.padding, padding(self.geometry, self.padding[1] - self.padding[0]))

    def write(self, rows: Block, block: EncodedBlock) -> None:
        """Puts one block in place, and the disk to work on it."""
        for array in self.geometry.arrays:
            data = block.bytes_of(array.name)
            path = self.partial_path(array)
            with naming_full_disk(path, len(data)):
                fd = os.open(path, os.O_WRONLY)
                try:
                    offset = (rows[0] - self.chunk_span[0]) * array.row_bytes
                    write_at(fd, data, offset)
                    start_writing_back(fd, offset, len(data))
                finally:
                    os.close(fd)
        entry = Entry(block.crc32, block.error)
        self._append(_line(_entry_line(rows, entry)))
        self.done[rows] = entry

    def is_whole(self, blocks: Sequence[Block]) -> bool:
        """Whether all of `blocks`, which make up the chunk, and its padding are written."""
        padded = self.padding is None or self.padding in self.done
        return padded and all(block in self.done for block in blocks)

    def finish(self) -> None:
        """Makes the chunk visible: fsync, rename, record; then removes the draft's files.

        `done` stays: whoever asks meanwhile must not be offered its blocks again.
        """
        files = {}
        for array in self.geometry.arrays:
            partial, final = self.partial_path(array), self.final_path(array)
            if partial.exists():
                sync_file(partial)
                partial.replace(final)
            else:
                sync_file(final)  # renamed by a process that was killed before it wrote the record
            sync_folder(final.parent)
            files[array.name] = (
                self.geometry.chunk_rows * array.row_bytes,
                self._joined_crc32(array),
            )
        write_record(
            self.rows_folder,
            Record(
                folder_id=self.folder_id,
                epoch=self.epoch,
                chunk=self.chunk,
                rows=self.geometry.rows_of(self.chunk),
                checkpoint_id=self.checkpoint_id,
                files=files,
                error=CodecError.joined(each.error for each in self.done.values() if each.error),
            ),
        )
        self._remove_files()

    def discard(self) -> None:
        """Forgets what is written, and removes it."""
        self._remove_files()
        self.done = {}

    def _remove_files(self) -> None:
        """Journal and partial files; the journal first, as it speaks for the files."""
        self.journal.unlink(missing_ok=True)
        self.journal.with_name(self.journal.name + ".tmp").unlink(missing_ok=True)
        for array in self.geometry.arrays:
            self.partial_path(array).unlink(missing_ok=True)

    def _header(self) -> dict[str, Any]:
        return {
            "folder_id": self.folder_id,
            "epoch": self.epoch,
            "chunk": self.chunk,
            "checkpoint_id": self.checkpoint_id,
        }

    def _entries(self) -> list[dict[str, Any]]:
        return [_entry_line(rows, entry) for rows, entry in self.done.items()]

    def _append(self, line: bytes) -> None:
        with naming_full_disk(self.journal, len(line)):
            fd = os.open(self.journal, os.O_WRONLY)
            end = os.fstat(fd).st_size
            try:
                write_at(fd, line, end)
            except OSError:
                os.ftruncate(fd, end)
                raise
            finally:
                os.close(fd)

    def _holds(self, rows: Block, crcs: Mapping[str, int]) -> bool:
        """Whether the files hold these rows as the journal claims."""
        for array in self.geometry.arrays:
            offset = (rows[0] - self.chunk_span[0]) * array.row_bytes
            size = (rows[1] - rows[0]) * array.row_bytes
            partial = self.partial_path(array)
            path = partial if partial.exists() else self.final_path(array)
            if crc32_of_file(path, offset, size) != crcs.get(array.name):
                return False
        return True

    def _joined_crc32(self, array: ArrayLayout) -> int:
        crc = 0
        for start, stop in sorted(self.done):
            crc = join_crc32(
                crc, self.done[start, stop].crc32[array.name], (stop - start) * array.row_bytes
            )
        return crc


def _entry_line(rows: Block, entry: Entry) -> dict[str, Any]:
    return {
        "rows": list(rows),
        "crc32": {name: f"{crc:08x}" for name, crc in entry.crc32.items()},
        "error": asdict(entry.error) if entry.error else None,
    }


def _parse_entry(line: Mapping[str, Any]) -> tuple[Block, Entry]:
    crc32 = {name: int(crc, 16) for name, crc in line["crc32"].items()}
    error = CodecError(**line["error"]) if line["error"] else None
    return (line["rows"][0], line["rows"][1]), Entry(crc32, error)


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
    return text + b" %08x\n" % crc32(text)


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """Lines of a journal up to the first that is torn."""
    lines: list[dict[str, Any]] = []
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return lines
    for line in raw.splitlines(keepends=True):
        text, _, crc = line.rpartition(b" ")
        if crc != b"%08x\n" % crc32(text):
            break
        lines.append(json.loads(text))
    return lines
