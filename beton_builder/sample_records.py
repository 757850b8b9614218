"""The record of every sample beside each `.beton` file: SPLIT.samples.parquet.

Columns: source (str: the sample's name within the source), sha256 (32 bytes, of the stored bytes;
for a copied JPEG that is the checksum of the source file), size (stored bytes), mode (0 JPEG,
1 raw), height, width (pixels), label. Row i describes sample i. With them, every byte of the
`.beton` file can be told: the payloads by their checksums, all the rest by writing it again.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from beton_builder.beton_format import SampleColumns

ROWS_PER_GROUP = 1 << 16
SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("size", pa.uint64(), nullable=False),
        pa.field("mode", pa.uint8(), nullable=False),
        pa.field("height", pa.uint16(), nullable=False),
        pa.field("width", pa.uint16(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),
    ]
)


class SampleRecords(NamedTuple):
    """Per-sample columns of a split, (n,) each; sha256 is (n, 32) uint8, source a list of names."""

    source: list[str]
    sha256: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.uint64]
    modes: npt.NDArray[np.uint8]
    heights: npt.NDArray[np.uint16]
    widths: npt.NDArray[np.uint16]
    labels: npt.NDArray[np.int64]

    @property
    def columns(self) -> SampleColumns:
        """The part of the records that the `.beton` file also holds."""
        return SampleColumns(self.labels, self.modes, self.heights, self.widths)


class RecordWriter:
    """Writes records as they come, one row group at a time, so that memory stays bounded."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._parquet = pq.ParquetWriter(self._file, SCHEMA, compression="zstd")
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError, pa.ArrowException):  # after a failure; finish() has closed it else
            self._parquet.close()
        self._file.close()

    def append(
        self,
        *,
        names: Sequence[str],
        checksums: Sequence[bytes],
        sizes: Sequence[int],
        columns: SampleColumns,
    ) -> None:
        """Add k samples, one entry per sample in every argument."""
        values = [names, checksums, sizes, columns.modes, columns.heights, columns.widths]
        arrays = [
            pa.array(column, field.type)
            for column, field in zip([*values, columns.labels], SCHEMA, strict=True)
        ]
        self._pending.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
        self._rows += len(names)
        while self._rows >= ROWS_PER_GROUP:
            self._flush(ROWS_PER_GROUP)

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._pending, SCHEMA)
        self._parquet.write_table(table[:rows], row_group_size=ROWS_PER_GROUP)
        rest = table[rows:]
        self._pending, self._rows = rest.to_batches(), len(rest)

    def finish(self) -> None:
        """Write what is left and sync the file."""
        if self._rows:
            self._flush(self._rows)
        self._parquet.close()
        self._file.flush()
        os.fsync(self._file.fileno())


def read_records(path: Path) -> SampleRecords:
    """All records of a split. Raises ValueError when the file is not one of ours."""
    table = pq.read_table(path, memory_map=True)
    if table.schema.remove_metadata() != SCHEMA:
        raise ValueError(f"{path} has columns {table.schema.names}, expected {SCHEMA.names}")
    raw = b"".join(table["sha256"].to_pylist())
    return SampleRecords(
        table["source"].to_pylist(),
        np.frombuffer(raw, np.uint8).reshape(-1, 32),
        *(table[name].to_numpy() for name in SCHEMA.names[2:]),
    )
