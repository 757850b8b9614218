"""Files that hold labels made elsewhere: .npz, and parquet as Hugging Face writes it.

In: a path. Out: a `LabelFile`, which says what it holds without reading the rows, and gives the
rows block by block in file order; its checksum; and which of its columns are meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import BadSource

LOGITS_NAMES = ("logits",)
PROBABILITIES_NAMES = ("probabilities", "probs", "soft_label", "soft_labels")
INDEX_NAMES = ("indices", "index")


class LabelFile(Protocol):
    """kind: "npz" or "parquet". files: what is read, in order. columns: names of what it holds."""

    kind: str
    files: tuple[Path, ...]
    columns: tuple[str, ...]

    def shape(self, column: str) -> tuple[int, int]:
        """Rows and classes; BadSource if the column cannot be labels."""

    def integers(self, column: str) -> NDArray[np.int64]:
        """An index column (N,); BadSource if it is none."""

    def pieces(self, column: str) -> Iterator[NDArray[Any]]:
        """Blocks of rows (b, C) in file order; BadSource naming a row that has another length."""


def open_label_file(path: str | Path) -> LabelFile:
    """The labels in `path`: an .npz file, a .parquet file, or a folder with .parquet files.

    Of a folder with files of several splits (train-00000-of-00002.parquet, …) those of train.
    """
    path = Path(path)
    if path.is_dir() or (path.suffix == ".parquet" and path.exists()):
        from .label_parquet import ParquetLabels

        return ParquetLabels(path)
    if path.suffix == ".npz" and path.exists():
        from .label_npz import NpzLabels

        return NpzLabels(path)
    found = "a file of another kind" if path.exists() else "nothing there"
    raise BadSource(
        f"{path}: expected labels in an .npz file, a .parquet file or a folder of these, found "
        f"{found}"
    )


def checksum(files: Sequence[Path]) -> str:
    """blake2b (16 bytes, hex) of a file, as `b2sum -l 128` prints it; of several, of theirs."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)))
    if len(digests) == 1:
        return digests[0].hexdigest()
    joined = b"".join(each.digest() for each in digests)
    return hashlib.blake2b(joined, digest_size=16).hexdigest()


def choose_column(file: LabelFile, values: str, column: str | None) -> tuple[str, str]:
    """(column, "logits" or "probabilities"): what was asked for, or what the names say."""
    there = f"it has {', '.join(file.columns) or 'no columns'}"
    known = {"logits": LOGITS_NAMES, "probabilities": PROBABILITIES_NAMES}
    wanted = [kind for kind in known if values in ("auto", kind)]
    if column is None:
        for kind in wanted:
            for name in known[kind]:
                if name in file.columns:
                    return name, kind
        names = ", ".join(name for kind in wanted for name in known[kind])
        raise BadSource(
            f"{file.files[0]}: expected one of {names}, but {there}; say which holds the labels "
            "with column (--column NAME)"
        )
    if column not in file.columns:
        raise BadSource(f"{file.files[0]}: there is no column {column!r}; {there}")
    for kind in wanted:
        if len(wanted) == 1 or column in known[kind]:
            return column, kind
    raise BadSource(
        f"{file.files[0]}: column {column!r} does not say what it holds; say it with values "
        "(--values logits or --values probabilities)"
    )


def choose_index_column(file: LabelFile, column: str | None) -> str | None:
    """The column with the sample index of every row, if there is one."""
    if column is not None and column not in file.columns:
        raise BadSource(
            f"{file.files[0]}: there is no index column {column!r}; it has "
            f"{', '.join(file.columns)}"
        )
    return column or next((name for name in INDEX_NAMES if name in file.columns), None)


class SampleRows:
    """The rows of a file in sample order, read forward: streamed where the file has that order.

    indices: int64 (N,), the sample of every row of the file, or None if row i is sample i. Every
    sample from 0 to N - 1 must be there once.
    """

    def __init__(self, file: LabelFile, column: str, indices: NDArray[np.int64] | None) -> None:
        if indices is None or bool((indices[1:] > indices[:-1]).all()):
            self._pieces = file.pieces(column)
        else:
            self._pieces = iter([_sorted(file, column, indices)])
        self._held: NDArray[Any] = np.empty((0, file.shape(column)[1]))
        self._start = 0  # sample of the first row held

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows (stop - start, C) of these samples; start is never less than in an earlier call."""
        parts = []
        while start < stop:
            end = self._start + len(self._held)
            if start < end:
                parts.append(self._held[start - self._start : stop - self._start])
                start += len(parts[-1])
            else:
                self._start, self._held = end, next(self._pieces)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def check_coverage(where: Path, indices: NDArray[np.int64], num_samples: int) -> None:
    """BadSource naming the first sample outside the dataset, described twice or not at all."""
    outside = (indices < 0) | (indices >= num_samples)
    if outside.any():
        row = int(np.argmax(outside))
        raise BadSource(
            f"{where}: row {row} describes sample {indices[row]}, but the dataset has samples 0 "
            f"to {num_samples - 1}"
        )
    times = np.bincount(indices, minlength=num_samples)
    if (times > 1).any():
        sample = int(np.argmax(times > 1))
        rows = ", ".join(map(str, np.flatnonzero(indices == sample)[:3]))
        raise BadSource(
            f"{where}: sample {sample} is described {times[sample]} times (rows {rows}); every "
            "sample must be there once"
        )
    if (times == 0).any():
        raise BadSource(
            f"{where}: sample {int(np.argmin(times))} is not described ({int((times == 0).sum())} "
            f"of {num_samples} are missing); every sample must be there once"
        )


def _sorted(file: LabelFile, column: str, indices: NDArray[np.int64]) -> NDArray[Any]:
    """All rows of the file, in the order of their samples."""
    pieces = file.pieces(column)
    first = next(pieces)
    rows = np.empty((len(indices), first.shape[1]), first.dtype)
    place = 0
    for piece in (first, *pieces):
        rows[indices[place : place + len(piece)]] = piece
        place += len(piece)
    return rows
