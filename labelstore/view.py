"""One expert's labels under one transform of the images: what training reads.

In: epochs and sample indices. Out: logits, probabilities and statistics as numpy arrays. Rows are
found in memory-mapped files (see `mapped`). 1,000 random rows of a 100,000 × 1,000 epoch take 1.15
to 1.25 times what one `np.take` on one big memmap takes, 10,000 and more take the same.

Rows become visible chunk by chunk, when their completion record exists, so a reader beside a
running dump sees whole chunks or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .axis import Notes, errors_of_epoch, grow_epoch_axis, note_errors
from .codecs import DENSE, Codec
from .commands import writing_command
from .errors import BadArgument, DamagedStore, EpochNotDumped, ReadOnlyStore
from .files import OwnLayout
from .indices import Indices, Rows, check_rows
from .layout import VIEW_FIELDS, VIEW_KIND, Geometry, epochs_text, require_format
from .softmax import softmax, softmax_of_places
from .tree import Tree

if TYPE_CHECKING:
    from .writer import LabelWriter

DEFAULT_BLOCK_ROWS = 2_048


class LabelView:
    """Labels of one (expert, view). Open it through `LabelStore.view` or `LabelStore.add_view`.

    expert, name: its two names. id: hash of the store's id and `identity`, whatever the codec.
    identity: what was given to `add_view` (run_id, transform, precision, …). codec: its name.
    crops: S if every sample has the labels of S crops, 0 if it has one label.
    """

    def __init__(
        self, tree: Tree, geometry: Geometry, expert: str, name: str, codec: Codec = DENSE
    ) -> None:
        attributes = tree.attributes(expert, name)
        if attributes is None or attributes.get("kind") != VIEW_KIND:
            where = tree.root / expert / name
            raise DamagedStore(f"{where}: not a view of labels; run `engine verify` on the store")
        require_format(attributes, tree.root / expert / name, tree.root)
        self.expert = expert
        self.name = name
        self.codec = codec.name
        self.crops: int = attributes["crops"]
        self.id: str = attributes["id"]
        self.identity = {key: attributes[key] for key in attributes if key not in VIEW_FIELDS}
        self.geometry = replace(geometry, codec=codec, crops=self.crops)
        self._tree = tree
        self._parts = (expert, name, *([codec.folder] if codec.folder else []))
        own = attributes if codec.folder is None else tree.attributes(*self._parts)
        if own is None:
            raise DamagedStore(f"{self.folder}: is missing; run `engine verify` on the store")
        self.folder_id: str = own["id"]
        self._layout = tree.layout(self.geometry, *self._parts)

    def __repr__(self) -> str:
        return f"LabelView({str(self.folder)!r}, epochs {epochs_text(self.epochs)})"

    @property
    def folder(self) -> Path:
        """Where its arrays lie."""
        return self._tree.root.joinpath(*self._parts)

    @property
    def writable(self) -> bool:
        """Whether its arrays lie in files of our own layout."""
        return self._layout.writable

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs of which every sample is there, ascending; looked up on disk each time."""
        return self._layout.complete_epochs()

    @property
    def checkpoints(self) -> dict[int, str]:
        """Checkpoint id of every epoch that was begun, complete or not."""
        return self._notes().checkpoints

    def checkpoint_id(self, epoch: int) -> str:
        """Id of the checkpoint whose labels `epoch` holds; EpochNotDumped if it was never begun."""
        checkpoints = self.checkpoints
        if epoch not in checkpoints:
            raise self._not_dumped(epoch, None)
        return checkpoints[epoch]

    def about(self, epoch: int) -> dict[str, Any]:
        """What was noted of an epoch's checkpoint when its labels were begun; may be empty."""
        return dict(self._notes().about.get(epoch, {}))

    def codec_error(self, epoch: int) -> dict[str, Any]:
        """How far the stored labels of a complete epoch are from the logits they were made of.

        {"max_abs": of a logit, "kl_mean" and "kl_worst": nats a sample, "against": "float32" or,
        where another array was converted, "float16"}. Raises EpochNotDumped.
        """
        errors = self._notes().errors
        if epoch in errors:
            return dict(errors[epoch])
        if self.writable and epoch in self.epochs:  # its last record comes before its note
            return errors_of_epoch(self.folder / self.geometry.rows.name, self.geometry, epoch)
        raise self._not_dumped(epoch, None)

    def _notes(self) -> Notes:
        attributes = self._tree.attributes(*self._parts, self.geometry.rows.name) or {}
        return Notes.from_json(attributes)

    def read(self, epoch: int | Sequence[int], indices: Indices) -> NDArray[np.float16]:
        """Logits: float16 (k, C) of one epoch, (E, k, C) of a sequence of E epochs.

        Views of S crops give (k, S, C) and (E, k, S, C).
        indices: k sample indices in any order, with duplicates, or none. A `range` (step 1) or
        `slice` of one epoch of dense labels gives a read-only array, and inside one chunk a view
        of the mapped file with nothing copied; anything else gives a fresh, writable array.
        Raises BadIndices, EpochNotDumped (naming the epoch and the command), DamagedStore.
        """
        rows = check_rows(indices, self.geometry.num_samples)
        if isinstance(epoch, (int, np.integer)):
            return self._logits(int(epoch), rows)
        epochs = [int(each) for each in epoch]
        crops = (self.crops,) if self.crops else ()
        shape = (len(epochs), len(rows), *crops, self.geometry.num_classes)
        logits_ekc = np.empty(shape, np.float16)
        for each, logits_kc in zip(epochs, logits_ekc, strict=True):
            self._logits(each, rows, logits_kc)
        return logits_ekc

    def probabilities(
        self, epoch: int | Sequence[int], indices: Indices, *, temperature: float = 1.0
    ) -> NDArray[np.float32]:
        """softmax(logits / temperature): float32, shaped as `read`."""
        if isinstance(epoch, (int, np.integer)) and self.codec == DENSE.name and not self.crops:
            rows = check_rows(indices, self.geometry.num_samples)
            self._refuse_missing(int(epoch), rows)
            mapped = self._layout.mapped("logits", int(epoch), rows) if len(rows) else None
            if mapped is not None:
                return softmax_of_places(*mapped, temperature)
        return softmax(self.read(epoch, indices), temperature)

    def entropy(self, epoch: int, indices: Indices | None = None) -> NDArray[np.float32]:
        """Entropy of softmax(logits) in nats: float32 (k,); all samples by default."""
        return self._statistic("entropy", epoch, indices)

    def cross_entropy(self, epoch: int, indices: Indices | None = None) -> NDArray[np.float32]:
        """Cross-entropy with the true label in nats: float32 (k,); all samples by default."""
        return self._statistic("cross_entropy", epoch, indices)

    def crop_boxes(self, epoch: int, indices: Indices | None = None) -> NDArray[np.uint16]:
        """The crops that the labels describe: uint16 (k, S, 5); all samples by default.

        Top, left, height, width in pixels of the stored image, and 1 if the crop was mirrored.
        Raises BadArgument for a view without crops.
        """
        if not self.crops:
            raise BadArgument(f"{self.folder}: its labels describe whole images, not crops")
        return self._statistic("crops", epoch, indices)

    def _logits(
        self, epoch: int, rows: Rows, out: NDArray[np.float16] | None = None
    ) -> NDArray[np.float16]:
        codec = self.geometry.codec
        if codec == DENSE:
            return self._take("logits", epoch, rows, out)
        codes = self._take(self.geometry.rows.name, epoch, rows)
        flat = np.ascontiguousarray(codes).reshape(-1, codes.shape[-1])
        num_classes = self.geometry.num_classes
        logits = codec.decode(flat, num_classes).reshape(*codes.shape[:-1], num_classes)
        if out is None:
            return logits
        np.copyto(out, logits)
        return out

    def _statistic(self, name: str, epoch: int, indices: Indices | None) -> NDArray[Any]:
        rows = check_rows(slice(None) if indices is None else indices, self.geometry.num_samples)
        return self._take(name, int(epoch), rows)

    def _take(
        self, name: str, epoch: int, rows: Rows, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        if len(rows) == 0:
            array = self.geometry.array(name)
            return np.empty((0, *array.row_shape), array.dtype) if out is None else out
        self._refuse_missing(epoch, rows)
        return self._layout.take(name, epoch, rows, out)

    def _refuse_missing(self, epoch: int, rows: Rows) -> None:
        missing = self._layout.first_missing(epoch, rows) if len(rows) else None
        if missing is not None:
            raise self._not_dumped(epoch, missing)

    def _not_dumped(self, epoch: int, sample: int | None) -> EpochNotDumped:
        begun = f"epoch {epoch}"
        if sample is not None and epoch in self.checkpoints:
            begun = f"sample {sample} of {begun}"
        return EpochNotDumped(
            f"{self.folder}: {begun} was never written (complete epochs: "
            f"{epochs_text(self.epochs)}); write it with `{self.dump_command([epoch])}`"
        )

    def dump_command(self, epochs: Sequence[int]) -> str:
        """The command that writes `epochs` of this view."""
        source = self.identity.get("source")
        return writing_command(
            self._tree.root,
            ",".join(map(str, epochs)),
            expert=self.expert,
            view=self.name,
            codec=self.codec,
            source_kind=source.get("kind") if isinstance(source, dict) else None,
        )

    def plan(self, epochs: Sequence[int]) -> dict[str, Any]:
        """What writing `epochs` would still do, without doing it.

        {"epochs", "missing_epochs", "missing_rows" (over all epochs), "missing_bytes" (on disk)};
        counts whole chunks, so blocks of an unfinished chunk count as missing.
        """
        layout = self._writable_layout()
        counts = {epoch: layout.missing_chunks(epoch) for epoch in epochs}
        spans = [self.geometry.rows_of(chunk) for chunks in counts.values() for chunk in chunks]
        return {
            "epochs": list(epochs),
            "missing_epochs": [epoch for epoch, chunks in counts.items() if chunks],
            "missing_rows": sum(stop - start for start, stop in spans),
            "missing_bytes": len(spans) * self.geometry.chunk_bytes,
        }

    def prepare(
        self,
        epochs: Sequence[int],
        checkpoint_ids: Mapping[int, str],
        about: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        """Grows the epoch axis to hold `epochs` and notes their checkpoints; see `writer`.

        about: plain JSON values worth keeping with an epoch's labels, such as the expert's test
        accuracy; what was noted first stays.
        One process may call it before workers start; `writer` calls it too. Idempotent, and safe
        to call from several processes at once.
        Raises WrongCheckpoint, naming both ids, if an epoch was begun with another checkpoint.
        """
        self._writable_layout()
        known = self.checkpoints
        wanted = {int(epoch): _checkpoint_of(epoch, checkpoint_ids) for epoch in epochs}
        notes = {int(epoch): dict(each) for epoch, each in (about or {}).items()}
        lacking = any(each and not self.about(epoch) for epoch, each in notes.items())
        if lacking or any(known.get(epoch) != each for epoch, each in wanted.items()):
            grow_epoch_axis(self.folder, self.geometry, wanted, notes)
        unnoted = set(wanted) - set(self._notes().errors)
        note_errors(self.folder, self.geometry, unnoted)  # what a writer was killed before

    def writer(
        self,
        epochs: Sequence[int],
        checkpoint_ids: Mapping[int, str],
        *,
        rank: int = 0,
        world: int = 1,
        block_rows: int = DEFAULT_BLOCK_ROWS,
    ) -> LabelWriter:
        """A writer of what is missing of `epochs` in the chunks of `rank` (rank, rank + world, …).

        checkpoint_ids: id of the checkpoint of every epoch, noted in the store.
        block_rows: rows written at a time; the bytes on disk do not depend on it.
        Raises WrongCheckpoint, ReadOnlyStore, BadArgument.
        """
        from .writer import LabelWriter

        self.prepare(epochs, checkpoint_ids)
        return LabelWriter(
            self, epochs, checkpoint_ids, rank=rank, world=world, block_rows=block_rows
        )

    def _writable_layout(self) -> OwnLayout:
        if not isinstance(self._layout, OwnLayout):
            raise ReadOnlyStore(
                f"{self.folder}: its arrays have another layout than ours, so it can be read but "
                "not written; write to a store made with `engine dump-labels --out`"
            )
        return self._layout


def _checkpoint_of(epoch: int, checkpoint_ids: Mapping[int, str]) -> str:
    if not isinstance(epoch, (int, np.integer)) or epoch < 0:
        raise BadArgument(f"epochs: expected integers from 0 on, found {epoch!r}")
    if not checkpoint_ids.get(epoch):
        raise BadArgument(f"checkpoint_ids: expected an id for every epoch, found none for {epoch}")
    return checkpoint_ids[epoch]
