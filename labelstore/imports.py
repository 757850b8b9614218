"""Labels made elsewhere, taken into a store: from a file, or from a teacher asked block by block.

In: an .npz or parquet file, or a function; and the identity of the dataset. Out: an epoch of a
view, like those that `engine dump-labels` writes. A file is checked in full before anything of it
is written. Memory is some thousand rows (of parquet a row group), except where a file's rows lie in
another order than the samples, or an .npz array is in Fortran order: these are read whole.

The view's identity says whose labels they are, what kind of source they came from and what its
values were. The checksum of the file is the checkpoint of the epoch, so that the labels of another
epoch of the same teacher, in another file, go into the same view.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codecs import codec_named
from .creation import create_store, find_store
from .errors import BadArgument, DamagedStore, ViewNotFound, WrongIdentity
from .import_sources import BLOCK_ROWS, FileLabels, Progress, Teacher, TeacherLabels, as_logits
from .layout import CHUNK_ROWS, Geometry
from .store import LabelStore
from .view import LabelView


def import_labels(
    path: str | Path,
    source: str | Path | Teacher,
    *,
    dataset_id: str,
    classes: Sequence[str],
    labels: NDArray[np.int64],
    expert: str,
    epoch: int = 0,
    view: str = "plain",
    values: str = "auto",
    column: str | None = None,
    index_column: str | None = None,
    checkpoint_id: str | None = None,
    rule: Mapping[str, Any] | None = None,
    noted: Mapping[str, Any] | None = None,
    codec: str = "dense",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes labels made elsewhere as `epoch` of (`expert`, `view`) into the store at `path`.

    source: an .npz file (arrays logits or probabilities, (N, C) numbers; optionally indices, (N,)
    integers), a parquet file or a folder of them (a column with a list of numbers for every row;
    optionally an integer column index), or a function that is called with int64 (b,) sample indices
    and answers with (b, C) numbers, as an array or a tensor.
    dataset_id, classes, labels: the dataset; labels are integers (N,), the true classes.
    values: what the numbers are, "logits" or "probabilities" (then stored as their logarithms, at
    least -60); "auto" goes by the name of the column, and takes a function's for logits.
    column, index_column: names of the arrays or columns, where they are others. Row i of a file
    without an index describes sample i.
    checkpoint_id: what identifies the teacher; needed of a function. A file's is its checksum
    (blake2b, 16 bytes) and its columns.
    rule: plain JSON values that say how all epochs of a function were made; they are part of the
    view's identity. noted: others worth keeping with this epoch, part of no identity.
    codec: how labels are stored, see `LabelStore.add_view`. progress: called as (what, rows done,
    rows in all). dry_run: a file is checked, nothing is written.

    An interrupted import resumes with the same call; a finished one says so.
    Returns {"status", "store", "expert", "view", "codec", "epoch", "samples", "source": {"kind",
    "values", …}, "mean_entropy", "mean_cross_entropy" (nats)}, of a dry run {"plan", …, "bytes"}.
    Raises BadSource (unreadable, not every sample once, no probabilities), BadLogits naming the
    sample, WrongDataset and WrongClasses where the file has other numbers of samples or classes or
    the store is of another dataset, WrongIdentity, WrongCheckpoint, BadArgument, StoreFull.
    """
    labels = _check_labels(labels, len(classes))
    codec_named(codec).array(len(classes))  # raises if it cannot hold as many
    opened: TeacherLabels | FileLabels
    if callable(source):
        opened = TeacherLabels(source, values, column or index_column, checkpoint_id)
    else:
        opened = FileLabels(source, values, column, index_column, checkpoint_id)
    checkpoints = {epoch: opened.checkpoint_id}
    there = find_store(path, dataset_id=dataset_id, classes=classes)
    identity = _identity(there, expert, view, opened, rule)
    finished = _is_finished(there, expert, view, identity, codec, checkpoints)
    progress = progress or (lambda what, done, total: None)
    if not finished:
        opened.check(len(labels), len(classes), progress)
    result = {"store": str(path), "expert": expert, "view": view, "codec": codec, "epoch": epoch}
    result |= {"samples": len(labels), "source": opened.about}
    if dry_run:
        size = _bytes(len(labels), len(classes), codec)
        missing = {"epochs_missing": [] if finished else [epoch], "bytes": 0 if finished else size}
        return {"plan": "import-labels", **result, **missing}
    store = create_store(path, dataset_id=dataset_id, classes=classes, num_samples=len(labels))
    target = store.add_view(expert, view, identity=identity, codec=codec)
    target.prepare([epoch], checkpoints, {epoch: {"source": {**opened.about, **(noted or {})}}})
    if not finished:
        _write(target, epoch, opened, labels, progress)
    return {
        "status": "finished already" if finished else "imported",
        **result,
        "mean_entropy": float(target.entropy(epoch).mean(dtype=np.float64)),
        "mean_cross_entropy": float(target.cross_entropy(epoch).mean(dtype=np.float64)),
    }


def _write(
    view: LabelView,
    epoch: int,
    source: TeacherLabels | FileLabels,
    labels: NDArray[np.int64],
    progress: Progress,
) -> None:
    num_samples, num_classes = view.geometry.num_samples, view.geometry.num_classes
    where = f"{view.folder}, epoch {epoch}"
    with view.writer([epoch], {epoch: source.checkpoint_id}, block_rows=BLOCK_ROWS) as writer:
        rows = source.rows()
        for start, stop, _ in writer.missing_blocks():
            logits = as_logits(rows.read(start, stop), source.values, num_classes, start, where)
            writer.write(epoch, start, logits, labels[start:stop])
            progress("import labels", stop, num_samples)


def _identity(
    store: LabelStore | None,
    expert: str,
    view: str,
    source: TeacherLabels | FileLabels,
    rule: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What all epochs of the view have in common, and other teachers and views don't."""
    unnamed = {"kind": source.kind, "values": source.values}
    with contextlib.suppress(WrongIdentity):
        if store and store.has_view(expert, view, identity={"source": unnamed}):
            return {"source": unnamed}  # of an earlier version, which left the names out
    named = {**unnamed, "teacher": expert, "view": view}
    return {"source": {**named, **({"rule": dict(rule)} if rule else {})}}


def _is_finished(
    store: LabelStore | None,
    expert: str,
    view: str,
    identity: Mapping[str, Any],
    codec: str,
    checkpoints: Mapping[int, str],
) -> bool:
    """Whether the store has this very epoch; raises where the view, or the epoch, is another's."""
    if not store or not store.has_view(expert, view, identity=identity):
        return False
    try:
        known = store.view(expert, view, codec)
    except (ViewNotFound, DamagedStore):  # what is left is made again
        return False
    begun = known.checkpoints
    others = [each for each in checkpoints if begun.get(each) not in (None, checkpoints[each])]
    known.prepare(others, checkpoints)  # raises, if there are any
    return set(checkpoints) <= set(known.epochs)


def _bytes(num_samples: int, num_classes: int, codec: str) -> int:
    """Bytes that an epoch takes on disk."""
    geometry = Geometry(
        num_samples=num_samples,
        num_classes=num_classes,
        chunk_rows=min(CHUNK_ROWS, num_samples),
        codec=codec_named(codec),
    )
    return geometry.num_chunks * geometry.chunk_bytes


def _check_labels(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise BadArgument(
            f"labels: expected the integer class of every sample, (N,), found {labels.dtype} "
            f"{labels.shape}"
        )
    outside = (labels < 0) | (labels >= num_classes)
    if outside.any():
        sample = int(np.argmax(outside))
        raise BadArgument(
            f"labels: expected classes 0 to {num_classes - 1}, found {labels[sample]} of sample "
            f"{sample}"
        )
    return labels.astype(np.int64, copy=False)
