"""Other ways to keep labels on the disk, each read in its best form: 1,000 random rows of an epoch.

In: one epoch's float16 logits. Out: by peer, by form, a function from sorted rows to their logits.
Every form was chosen for random rows: no compression, which gains nothing on logits and costs a
decoding, and no form that a quicker one of the same peer replaces (measured on 100,000 × 1,000:
zarr with inner chunks of 16 rows 170 ms, HDF5 with chunks of 16 rows 95 ms, tensorstore without
memory mapping 6 ms, Parquet with lists of half floats 500 ms).

Axes: n samples, k rows asked for, c classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import PeerMissing

__all__ = ["Read", "check_installed", "forms", "open_with_zarr", "zarr_reader"]

Rows = NDArray[np.int64]
Read = Callable[[Rows], NDArray[Any]]

LIBRARIES = ("zarr", "tensorstore", "zarrs", "h5py", "pyarrow")
# Rows of a chunk, rows of a shard or None.
ZARR_LAYOUTS: dict[str, tuple[int, int | None]] = {
    "chunks of 16,384 rows": (16_384, None),
    "chunks of 4,096 rows": (4_096, None),
    "shards of 16,384 rows with chunks of 1,024": (1_024, 16_384),
}
CACHE_BYTES = 2**30


def check_installed() -> None:
    """Raise PeerMissing, naming them, unless all peers can be imported."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise PeerMissing(
            f"peers of this suite are not installed: {', '.join(missing)}. Next: `scripts/setup`, "
            f"or `pip install {' '.join(missing)}`"
        )


def forms(folder: Path, logits_nc: NDArray[np.float16]) -> dict[str, dict[str, Read]]:
    """Write the logits in every peer's forms into ``folder`` and open them: peer → form → reader.

    ``tensorstore_cached`` keeps the whole epoch in the memory of the process that reads.
    """
    arrays = dict(_zarr_arrays(folder, logits_nc))
    largest = next(iter(arrays.values()))
    return {
        "zarr": {form: zarr_reader(open_with_zarr(path)) for form, path in arrays.items()},
        "zarrs": {
            form: zarr_reader(open_with_zarr(path, pipeline="zarrs.ZarrsCodecPipeline"))
            for form, path in arrays.items()
        },
        "tensorstore": {
            f"memory-mapped, {form}": _tensorstore_reader(path, cache_bytes=0)
            for form, path in arrays.items()
        },
        "tensorstore_cached": {
            "cache of 1 GiB": _tensorstore_reader(largest, cache_bytes=CACHE_BYTES)
        },
        "h5py": {
            "contiguous": _hdf5_reader(folder / "contiguous.h5", logits_nc, chunk_rows=None),
            "chunks of 16,384 rows": _hdf5_reader(
                folder / "chunked.h5", logits_nc, chunk_rows=16_384
            ),
        },
        "parquet": {
            f"row groups of {rows:,}": _parquet_reader(
                folder / f"rows_{rows}.parquet", logits_nc, group_rows=rows
            )
            for rows in (1_024, 16_384)
        },
    }


def open_with_zarr(path: Path, *, pipeline: str | None = None) -> Any:
    """An array as zarr-python opens it, by default with zarr-python's own codec pipeline."""
    import zarr

    if pipeline is None:
        return zarr.open_array(path, mode="r")
    import zarrs  # noqa: F401  (registers the pipeline)

    with zarr.config.set({"codec_pipeline.path": pipeline}):
        return zarr.open_array(path, mode="r")


def zarr_reader(array: Any, epoch: int = 0) -> Read:
    """The quicker of zarr's two selections: a range of one epoch, not the epoch as a number."""

    def read(rows: Rows) -> NDArray[np.float16]:
        found: NDArray[np.float16] = array.oindex[epoch : epoch + 1, rows][0]
        return found

    return read


def _zarr_arrays(folder: Path, logits_nc: NDArray[np.float16]) -> Iterator[tuple[str, Path]]:
    import zarr

    num_samples, num_classes = logits_nc.shape
    for number, (form, (chunk_rows, shard_rows)) in enumerate(ZARR_LAYOUTS.items()):
        path = folder / f"layout_{number}.zarr"
        array = zarr.create_array(
            path,
            shape=(1, num_samples, num_classes),
            dtype="float16",
            chunks=(1, chunk_rows, num_classes),
            shards=None if shard_rows is None else (1, shard_rows, num_classes),
            compressors=None,
        )
        array[0] = logits_nc
        yield form, path


def _tensorstore_reader(path: Path, *, cache_bytes: int) -> Read:
    import tensorstore

    array = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "context": {
                "file_io_mode": {"mode": "memmap"},
                "cache_pool": {"total_bytes_limit": cache_bytes},
            },
            "recheck_cached_data": "open",
        },
        read=True,
    ).result()

    def read(rows: Rows) -> NDArray[np.float16]:
        found: NDArray[np.float16] = array[0].oindex[rows].read().result()
        return found

    return read


def _hdf5_reader(path: Path, logits_nc: NDArray[np.float16], *, chunk_rows: int | None) -> Read:
    import h5py

    chunks = None if chunk_rows is None else (min(chunk_rows, len(logits_nc)), logits_nc.shape[1])
    with h5py.File(path, "w") as file:
        file.create_dataset("logits", data=logits_nc, chunks=chunks)
    dataset = h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)["logits"]

    def read(rows: Rows) -> NDArray[np.float16]:
        found: NDArray[np.float16] = dataset[rows]
        return found

    return read


def _parquet_reader(path: Path, logits_nc: NDArray[np.float16], *, group_rows: int) -> Read:
    """One column of fixed-size binary; the row groups that hold the rows are read, then taken."""
    import pyarrow
    import pyarrow.parquet

    num_samples, num_classes = logits_nc.shape
    column = pyarrow.FixedSizeBinaryArray.from_buffers(
        pyarrow.binary(2 * num_classes), num_samples, [None, pyarrow.py_buffer(logits_nc)]
    )
    pyarrow.parquet.write_table(
        pyarrow.table({"logits": column}),
        path,
        row_group_size=group_rows,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )
    file = pyarrow.parquet.ParquetFile(path, memory_map=True)

    def read(rows: Rows) -> NDArray[np.float16]:
        groups, place_of_group = np.unique(rows // group_rows, return_inverse=True)
        table = file.read_row_groups(groups.tolist())
        places = place_of_group * group_rows + rows % group_rows
        found = table["logits"].take(pyarrow.array(places)).combine_chunks()
        data = np.frombuffer(found.buffers()[1], np.float16)
        return data.reshape(-1, num_classes)[found.offset : found.offset + len(rows)]

    return read
