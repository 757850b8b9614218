"""Where imported labels come from: a file or a function, both read in sample order.

In: a path or a function. Out: blocks of float32 logits, checked; what identifies the source; and
what is noted of it in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadArgument, BadLogits, BadSource, WrongClasses, WrongDataset
from .label_files import (
    SampleRows,
    check_coverage,
    checksum,
    choose_column,
    choose_index_column,
    open_label_file,
)

Teacher = Callable[[NDArray[np.int64]], Any]
Progress = Callable[[str, int, int], None]

VALUES = ("auto", "logits", "probabilities")
LEAST_LOG_PROBABILITY = -60.0  # of probability 0: less than 1e-26, which float16 holds to 0.02
MAX_SUM_ERROR = 1e-2
BLOCK_ROWS = 2_048
_FLOAT16_OVERFLOWS_AT = 65_520.0


class TeacherLabels:
    """A function from sample indices to numbers."""

    kind = "teacher"

    def __init__(
        self, teacher: Teacher, values: str, column: str | None, checkpoint_id: str | None
    ) -> None:
        if column is not None:
            raise BadArgument("column, index_column: a teacher that is a function has none")
        if not checkpoint_id:
            raise BadArgument(
                "checkpoint_id: expected what identifies the teacher (a hash of its weights, say), "
                "so that an import is never resumed with another one; found none"
            )
        self.values = "logits" if _check_values(values) == "auto" else values
        self.checkpoint_id = checkpoint_id
        self.about = {"kind": self.kind, "values": self.values}
        self._teacher = teacher

    def check(self, num_samples: int, num_classes: int, progress: Progress) -> None:
        """Nothing is known of a teacher before it is asked."""

    def rows(self) -> TeacherLabels:
        return self

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """What it answers of samples start to stop - 1; BadSource if that is not a row for each."""
        answer = self._teacher(np.arange(start, stop))
        if hasattr(answer, "detach"):  # a torch tensor, perhaps on another device or in bfloat16
            answer = answer.detach().cpu().float()
        numbers = np.asarray(answer)
        if numbers.shape[:1] != (stop - start,):
            raise BadSource(
                f"teacher {self.checkpoint_id}: asked for {stop - start} samples from {start} on, "
                f"it answered with {numbers.dtype} {numbers.shape}"
            )
        return numbers


class FileLabels:
    """A file with a row of numbers for every sample."""

    def __init__(
        self,
        path: str | Path,
        values: str,
        column: str | None,
        index_column: str | None,
        checkpoint_id: str | None,
    ) -> None:
        if checkpoint_id is not None:
            raise BadArgument("checkpoint_id: a file's is its checksum; leave it out")
        self.path = Path(path)
        self._file = open_label_file(self.path)
        self.kind = self._file.kind
        self._column, self.values = choose_column(self._file, _check_values(values), column)
        self._index_column = choose_index_column(self._file, index_column)
        digest = checksum(self._file.files)
        columns = [self._column, *([self._index_column] if self._index_column else [])]
        self.checkpoint_id = "/".join([digest, *columns])
        self.about = {
            "kind": self.kind,
            "values": self.values,
            "file": self.path.name,
            "checksum": digest,
            "column": self._column,
            "index_column": self._index_column,
        }
        self._indices: NDArray[np.int64] | None = None

    def check(self, num_samples: int, num_classes: int, progress: Progress) -> None:
        """Reads all of the file; raises what `import_labels` says."""
        rows, found_classes = self._file.shape(self._column)
        if found_classes != num_classes:
            raise WrongClasses(
                f"{self.path}: expected {num_classes} classes, as the dataset has, found "
                f"{found_classes} values a row in {self._column!r}"
            )
        if self._index_column is not None:
            self._indices = self._file.integers(self._index_column)
            check_coverage(self.path, self._indices, num_samples)
        elif rows != num_samples:
            raise WrongDataset(
                f"{self.path}: expected a row for each of the {num_samples} samples of the "
                f"dataset, found {rows}; rows in another order need an index column "
                "(--index-column NAME)"
            )
        reader = self.rows()
        for start in range(0, num_samples, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, num_samples)
            as_logits(reader.read(start, stop), self.values, num_classes, start, str(self.path))
            progress("check labels", stop, num_samples)

    def rows(self) -> SampleRows:
        return SampleRows(self._file, self._column, self._indices)


def as_logits(
    numbers: NDArray[Any], values: str, num_classes: int, first_sample: int, where: str
) -> NDArray[np.float32]:
    """float32 logits (b, C) of a block of `values`; row 0 is sample `first_sample`.

    Probabilities become their logarithms, at least -60. Raises BadSource for another shape and for
    rows that are no probabilities, BadLogits for logits that float16 cannot hold; both name the
    first such sample.
    """
    if numbers.ndim != 2 or numbers.shape[1] != num_classes or numbers.dtype.kind not in "fiu":
        raise BadSource(
            f"{where}: expected numbers (rows, {num_classes}), found {numbers.dtype} "
            f"{numbers.shape} from sample {first_sample} on"
        )
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(numbers, np.float32)
    if values == "logits":
        good = np.abs(rows) < _FLOAT16_OVERFLOWS_AT  # not of NaN
        if not good.all():
            row, label = np.argwhere(~good)[0]
            raise BadLogits(
                f"{where}: the logit of sample {first_sample + row}, class {label} is "
                f"{numbers[row, label]:g}; expected finite numbers within ±65504"
            )
        return rows
    total = rows.sum(axis=1, dtype=np.float64)
    good_rows = (rows >= 0).all(axis=1) & (np.abs(total - 1) <= MAX_SUM_ERROR)
    if not good_rows.all():
        row = int(np.argmin(good_rows))
        raise BadSource(
            f"{where}: the values of sample {first_sample + row} lie between {rows[row].min():g} "
            f"and {rows[row].max():g} and sum to {total[row]:g}; probabilities are not negative "
            "and sum to 1. If these are logits, say so with values (--values logits)"
        )
    return np.log(np.maximum(rows, np.float32(np.exp(LEAST_LOG_PROBABILITY))))


def _check_values(values: str) -> str:
    if values not in VALUES:
        raise BadArgument(f"values: expected one of {', '.join(VALUES)}, found {values!r}")
    return values
