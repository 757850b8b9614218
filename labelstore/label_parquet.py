"""Labels in parquet files: a list of numbers for every row, as Hugging Face writes them.

In: a file or a folder. Out: `ParquetLabels`. Rows are streamed: memory is one row group.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadSource

PIECE_ROWS = 2_048


class ParquetLabels:
    """A .parquet file, or all of a folder in the order of their names."""

    kind = "parquet"

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        train = [file for file in files if file.name.startswith("train")]
        self.files = tuple(train or files)
        if not files:
            raise BadSource(f"{path}: expected .parquet files in this folder, found none")
        schemas, self._num_rows = [], 0
        for file in self.files:
            with _readable(file), pq.ParquetFile(file) as opened:
                schemas.append(opened.schema_arrow)
                self._num_rows += opened.metadata.num_rows
        self._schema = schemas[0]
        for file, schema in zip(self.files, schemas, strict=True):
            if schema.names != self._schema.names:
                raise BadSource(
                    f"{file}: its columns {schema.names} are not those of {self.files[0].name}, "
                    f"{self._schema.names}"
                )
        self.columns: tuple[str, ...] = tuple(self._schema.names)

    def shape(self, column: str) -> tuple[int, int]:
        import pyarrow as pa

        kind = self._schema.field(column).type
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not (listed or pa.types.is_fixed_size_list(kind)) or not (
            pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        ):
            raise BadSource(
                f"{self.path}: expected a list of numbers for every sample in column {column!r}, "
                f"found {kind}"
            )
        if pa.types.is_fixed_size_list(kind):
            return self._num_rows, kind.list_size
        first = next(self._batches(column), None)
        num_classes = 0 if first is None or not first[0].is_valid else len(first[0])
        return self._num_rows, num_classes

    def integers(self, column: str) -> NDArray[np.int64]:
        import pyarrow as pa

        kind = self._schema.field(column).type
        if not pa.types.is_integer(kind):
            raise BadSource(f"{self.path}: expected integers in column {column!r}, found {kind}")
        batches = list(self._batches(column))
        if any(batch.null_count for batch in batches):
            raise BadSource(f"{self.path}: column {column!r} has rows without an index")
        arrays = [batch.to_numpy().astype(np.int64) for batch in batches]
        return np.concatenate(arrays) if arrays else np.empty(0, np.int64)

    def pieces(self, column: str) -> Iterator[NDArray[Any]]:
        import pyarrow.compute as pc

        num_classes, row = self.shape(column)[1], 0
        for batch in self._batches(column):
            lengths = pc.fill_null(pc.list_value_length(batch), -1).to_numpy()
            other = lengths != num_classes
            if other.any():
                place = int(np.argmax(other))
                found = "nothing" if lengths[place] < 0 else f"{lengths[place]}"
                raise BadSource(
                    f"{self.path}: row {row + place}: expected {num_classes} values in column "
                    f"{column!r} as in the rows before, found {found}"
                )
            # A missing number becomes NaN, which is refused where it is looked at.
            yield batch.flatten().to_numpy(zero_copy_only=False).reshape(-1, num_classes)
            row += len(batch)

    def _batches(self, column: str) -> Iterator[Any]:
        import pyarrow.parquet as pq

        for path in self.files:
            with _readable(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(PIECE_ROWS, columns=[column]):
                    yield batch.column(0)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what pyarrow raises of a damaged file into BadSource."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise BadSource(f"{path}: expected a readable .parquet file, found: {error}") from None
