"""Writes blocks of labels into a view: resumable, several ranks at once, memory of one block.

In: float32 logits and true labels, block by block. Out: whole chunks with completion records, the
same bytes for any number of ranks, any block size, and any history of kills.

::

    with view.writer([0, 1, 5], checkpoint_ids) as writer:
        for start, stop, epochs in writer.missing_blocks():
            images = load(start, stop)                       # decoded once …
            for epoch in epochs:                             # … for every epoch
                writer.write(epoch, start, apply(epoch, images), labels[start:stop])

Rank r owns chunks r, r + world, …; a chunk is locked while it is written, so that two commands
never write the same rows at once. Disk space for a chunk is reserved for all its epochs before its
first block. Blocks are encoded and checksummed by the caller's thread, written by a second, and
whole chunks are made durable by a third, so that the processor and the disk work at once; at most
`_IN_FLIGHT` blocks and `_TO_FINISH` chunks are under way. A chunk becomes visible when its last
block of an epoch is on disk, at the latest when the writer is closed. What fails behind is raised
by the next call.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .axis import note_errors
from .disk import try_lock
from .drafts import Block, Draft
from .encoding import EncodedBlock, encode, encode_again
from .errors import BadArgument, ChunkInUse
from .files import OwnLayout
from .layout import draft_folder

if TYPE_CHECKING:
    from .view import LabelView


_IN_FLIGHT = 2
_TO_FINISH = 4  # whole chunks on their way to the disk
_PADDING = (-1, -1)  # stands for a chunk's padding among the blocks under way


class LabelWriter:
    """Made by `LabelView.writer`; close it (or use `with`) to release the chunks it holds."""

    def __init__(
        self,
        view: LabelView,
        epochs: Sequence[int],
        checkpoint_ids: Mapping[int, str],
        *,
        rank: int,
        world: int,
        block_rows: int,
    ) -> None:
        if not 0 <= rank < world:
            raise BadArgument(f"rank: expected 0 to {world - 1} (world {world}), found {rank}")
        if block_rows < 1:
            raise BadArgument(f"block_rows: expected at least 1, found {block_rows}")
        self.view = view
        self.epochs = tuple(sorted({int(epoch) for epoch in epochs}))
        self.rank, self.world = rank, world
        self.block_rows = block_rows
        self._checkpoint_ids = {epoch: checkpoint_ids[epoch] for epoch in self.epochs}
        self._geometry = view.geometry
        self._rows_folder = view.folder / view.geometry.rows.name
        self._files = OwnLayout(view.folder, view.geometry)
        self._open_chunks: dict[int, _OpenChunk] = {}
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="label-writing")
        self._finishing = ThreadPoolExecutor(1, thread_name_prefix="label-finishing")
        self._in_flight: deque[tuple[Draft, Block, Future[Any]]] = deque()
        self._to_finish: deque[tuple[Draft, Future[None]]] = deque()
        self._handed_over: set[tuple[int, Block]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(Exception):  # the first error is the one to be told
            self.close()

    @property
    def own_chunks(self) -> range:
        """Chunks of this rank."""
        return range(self.rank, self._geometry.num_chunks, self.world)

    def missing_blocks(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """(start_row, stop_row, epochs still missing there) of this rank's chunks, in row order.

        Takes up what earlier runs left, chunk by chunk, as the iteration reaches it.
        Raises ChunkInUse if another process is writing a chunk, StoreFull if the disk cannot hold
        the next one (nothing of it is left behind then).
        """
        for chunk in self.own_chunks:
            opened = self._open(chunk)
            if opened is None:
                continue
            for start, stop in self._blocks(chunk):
                missing = tuple(
                    epoch
                    for epoch in opened.drafts
                    if not self._is_written(opened, epoch, (start, stop))
                )
                if missing:
                    yield start, stop, missing
        self._wait(for_all=True)

    def write(
        self,
        epoch: int,
        start_row: int,
        logits: NDArray[np.float32],
        labels: NDArray[np.int64],
        crops: NDArray[np.uint16] | None = None,
    ) -> None:
        """Writes one block of one epoch, with its statistics; the last block completes the chunk.

        logits: float32 (b, C), or (b, S, C) for S crops, finite and within ±65504; row 0 is sample
        `start_row`. labels: integer (b,), true classes. crops: uint16 (b, S, 5), see
        `LabelView.crop_boxes`. (start_row, start_row + b) must be a block of `missing_blocks`.
        Raises BadLogits naming epoch and sample (the block is then not written), BadArgument,
        StoreFull (what was written before stays; the same command resumes).
        """
        draft, rows = self._draft_of(epoch, start_row, len(logits))
        geometry = self._geometry
        block = encode(geometry, logits, labels, crops, epoch=epoch, start_row=start_row)
        self._hand_over(draft, rows, block)

    def write_stored(
        self,
        epoch: int,
        start_row: int,
        logits: NDArray[np.float16],
        entropy: NDArray[np.float32],
        cross_entropy: NDArray[np.float32],
        crops: NDArray[np.uint16] | None = None,
    ) -> None:
        """As `write`, from labels that were stored in another codec, with their statistics.

        logits: float16 (b, C) or (b, S, C). entropy, cross_entropy: float32 (b,) or (b, S).
        """
        draft, rows = self._draft_of(epoch, start_row, len(logits))
        block = encode_again(self._geometry, logits, entropy, cross_entropy, crops)
        self._hand_over(draft, rows, block)

    def close(self) -> None:
        """Waits for the disk and releases all chunks; what is not whole waits for a resume."""
        try:
            self._wait(for_all=True)
        finally:
            self._writing.shutdown(cancel_futures=True)
            self._finishing.shutdown(cancel_futures=True)
            for opened in self._open_chunks.values():
                opened.release()
            self._open_chunks.clear()

    def _draft_of(self, epoch: int, start_row: int, num_rows: int) -> tuple[Draft, Block]:
        """The draft that lacks this block; BadArgument if there is none."""
        rows = (start_row, start_row + num_rows)
        chunk = start_row // self._geometry.chunk_rows
        if chunk not in self.own_chunks or rows not in self._blocks(chunk):
            raise BadArgument(
                f"rows {rows[0]} to {rows[1]}: not a block of {self.block_rows} rows of rank "
                f"{self.rank} of {self.world}; write what missing_blocks() yields"
            )
        opened = self._open(chunk)
        if opened is None or self._is_written(opened, epoch, rows):
            raise BadArgument(
                f"rows {rows[0]} to {rows[1]} of epoch {epoch} are "
                + ("complete already" if epoch in self.epochs else "not what this writer is for")
                + "; write what missing_blocks() yields"
            )
        return opened.drafts[epoch], rows

    def _is_written(self, opened: _OpenChunk, epoch: int, rows: Block) -> bool:
        draft = opened.drafts.get(epoch)
        return draft is None or rows in draft.done or (epoch, rows) in self._handed_over

    def _hand_over(self, draft: Draft, rows: Block, block: EncodedBlock) -> None:
        """Gives a block to the thread that writes; waits if too many are under way."""
        self._handed_over.add((draft.epoch, rows))
        self._in_flight.append((draft, rows, self._writing.submit(self._store, draft, rows, block)))
        self._wait(for_all=False)

    def _store(self, draft: Draft, rows: Block, block: EncodedBlock) -> Future[None] | None:
        """Writes a block; if that makes its chunk whole, the chunk's way to the disk begins."""
        draft.write(rows, block)
        if draft.is_whole(self._blocks(draft.chunk)):
            return self._finishing.submit(self._finish, draft)
        return None

    def _pad(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            draft.pad()

    def _finish(self, draft: Draft) -> None:
        draft.finish()
        note_errors(self.view.folder, self._geometry, [draft.epoch])

    def _wait(self, *, for_all: bool) -> None:
        """Waits until few blocks, or none, are under way, and closes what has become whole."""
        while self._in_flight and (
            for_all or len(self._in_flight) > _IN_FLIGHT or self._in_flight[0][2].done()
        ):
            draft, rows, written = self._in_flight.popleft()
            try:
                finished = written.result()
            except BaseException:
                self._handed_over.discard((draft.epoch, rows))
                raise
            if finished is not None:
                self._to_finish.append((draft, finished))
        while self._to_finish and (
            for_all or len(self._to_finish) > _TO_FINISH or self._to_finish[0][1].done()
        ):
            draft, finished = self._to_finish.popleft()
            finished.result()
            self._close_finished(draft)

    def _close_finished(self, draft: Draft) -> None:
        opened = self._open_chunks[draft.chunk]
        del opened.drafts[draft.epoch]
        self._handed_over.difference_update((draft.epoch, rows) for rows in draft.done)
        if not opened.drafts:
            self._leave(draft.chunk, opened)

    def _blocks(self, chunk: int) -> list[Block]:
        start, stop = self._geometry.rows_of(chunk)
        return [
            (row, min(row + self.block_rows, stop)) for row in range(start, stop, self.block_rows)
        ]

    def _open(self, chunk: int) -> _OpenChunk | None:
        """The chunk, locked, with a draft of every missing epoch; None if nothing is missing."""
        if chunk in self._open_chunks:
            return self._open_chunks[chunk]
        folder = draft_folder(self._rows_folder, chunk)
        if not self._pending(chunk) and not folder.exists():
            return None
        opened = _OpenChunk(self._lock(chunk), {})
        self._open_chunks[chunk] = opened
        try:
            self._take_up(chunk, opened)
        except BaseException:
            self._open_chunks.pop(chunk, None)
            opened.release()
            raise
        return self._open_chunks.get(chunk)

    def _take_up(self, chunk: int, opened: _OpenChunk) -> None:
        pending = self._pending(chunk)  # again, now that no one else can finish it
        drafts = {epoch: self._draft(epoch, chunk) for epoch in self.epochs}
        for epoch in set(self.epochs) - set(pending):
            drafts[epoch].discard()  # killed between its record and this
        blocks = self._blocks(chunk)
        new = [epoch for epoch in pending if not drafts[epoch].resume(blocks)]
        created: list[Draft] = []
        try:
            for i, epoch in enumerate(new):
                drafts[epoch].create(needed=(len(new) - i) * self._geometry.chunk_bytes)
                created.append(drafts[epoch])
        except BaseException:
            for draft in created:  # reserved but empty: give the space back
                draft.discard()
            raise
        if created:
            padded = self._writing.submit(self._pad, created)
            self._in_flight.append((created[0], _PADDING, padded))
        opened.drafts = {epoch: drafts[epoch] for epoch in pending}
        for epoch, draft in list(opened.drafts.items()):
            if draft.is_whole(blocks):
                self._finish(draft)
                del opened.drafts[epoch]
        if not opened.drafts:
            self._leave(chunk, opened)

    def _leave(self, chunk: int, opened: _OpenChunk) -> None:
        """Removes the chunk's folder if no other epoch is unfinished in it, then unlocks it."""
        folder = draft_folder(self._rows_folder, chunk)
        lock = folder / "lock"
        if [each.name for each in folder.iterdir()] == ["lock"]:
            lock.unlink()
            with contextlib.suppress(OSError):  # another process may have come to look just now
                folder.rmdir()
        opened.release()
        self._open_chunks.pop(chunk, None)

    def _pending(self, chunk: int) -> list[int]:
        return [epoch for epoch in self.epochs if not self._files.is_whole(epoch, chunk)]

    def _draft(self, epoch: int, chunk: int) -> Draft:
        return Draft(
            folder=self.view.folder,
            folder_id=self.view.folder_id,
            geometry=self._geometry,
            epoch=epoch,
            chunk=chunk,
            checkpoint_id=self._checkpoint_ids[epoch],
        )

    def _lock(self, chunk: int) -> int:
        lock = draft_folder(self._rows_folder, chunk) / "lock"
        fd = try_lock(lock)
        if fd is None:
            start, stop = self._geometry.rows_of(chunk)
            raise ChunkInUse(
                f"{self.view.folder}: another process is writing samples {start} to {stop - 1}; "
                "wait for it or stop it, then run the same command again: it resumes"
            )
        return fd


class _OpenChunk:
    """A locked chunk and the drafts of the epochs that it still lacks."""

    def __init__(self, lock: int, drafts: dict[int, Draft]) -> None:
        self._lock: int | None = lock
        self.drafts = drafts

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
