"""The FFCV `.beton` format (version 2), as numpy dtypes and pure functions.

Used by the writer, the reader and `verify`, so that the three cannot disagree. Layout of a file:

    header (24 B) | field descriptors (1041 B each) | one record per sample (24 B) | zeros up to a
    page | pages of sample data, each padded with zeros | allocation table up to the end of the file

All integers are little endian. Everything of one sample lies within one page. The fields are those
of stock FFCV 1.0.2 (`ffcv/types.py`, `ffcv/fields/`): `image` (RGBImageField), `label` (IntField).
The format has no magic number, no checksums and no class names: the manifest and the per-sample
records carry those.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

VERSION = 2
MIN_PAGE_SIZE = 1 << 21
DEFAULT_PAGE_SIZE = 1 << 23
MAX_PAGE_SIZE = 1 << 31  # the header holds the size as u4 and it must be a power of two

INT_FIELD = 1
RGB_IMAGE_FIELD = 2
MODE_JPEG = 0
MODE_RAW = 1
MAX_SIDE = (1 << 16) - 1  # width and height are u2

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
FIELD_DESCRIPTOR = np.dtype(
    [("type_id", "<u1"), ("name", "<u1", (16,)), ("arguments", "<u1", (1024,))]
)
IMAGE_RECORD = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
FIELD_RECORDS = {INT_FIELD: np.dtype("<i8"), RGB_IMAGE_FIELD: IMAGE_RECORD, 0: np.dtype("<f8")}
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

UInt64 = npt.NDArray[np.uint64]


class SampleColumns(NamedTuple):
    """What a file says of n samples besides where they are: (n,) each; sides in pixels."""

    labels: npt.NDArray[np.int64]
    modes: npt.NDArray[np.uint8]
    heights: npt.NDArray[np.uint16]
    widths: npt.NDArray[np.uint16]


def sample_dtype(fields: dict[str, int]) -> np.dtype:
    """Dtype of one sample's record for fields {name: type id}, aligned as stock FFCV aligns it."""
    return np.dtype([(name, FIELD_RECORDS[kind]) for name, kind in fields.items()], align=True)


FIELDS = {"image": RGB_IMAGE_FIELD, "label": INT_FIELD}
SAMPLE = sample_dtype(FIELDS)
RECORDS_START = HEADER.itemsize + len(FIELDS) * FIELD_DESCRIPTOR.itemsize


def align(offset: int, page_size: int) -> int:
    """The first page boundary at or after `offset` (bytes)."""
    return -(-offset // page_size) * page_size


def data_start(num_slots: int, page_size: int) -> int:
    """Where the first page begins in a file with room for `num_slots` sample records."""
    return align(RECORDS_START + num_slots * SAMPLE.itemsize, page_size)


def page_size_for(largest_sample: int) -> int:
    """The page size for a file whose largest sample has that many bytes: 8 MiB, or more by need.

    Raises ValueError beyond the format's limit of 2 GiB.
    """
    page_size = DEFAULT_PAGE_SIZE
    while page_size < largest_sample:
        page_size *= 2
    if page_size > MAX_PAGE_SIZE:
        raise ValueError(
            f"a sample of {largest_sample:,} bytes does not fit the format's largest page "
            f"of {MAX_PAGE_SIZE:,} bytes"
        )
    return page_size


def place(sizes: UInt64, cursor: int, page_size: int) -> Iterator[tuple[int, int, int]]:
    """Put samples one after another, opening a new page where one does not fit the current page.

    sizes: (n,) bytes, each <= page_size. cursor: the first free byte of the file.
    Yields (first, stop, pointer): samples first..stop-1 lie back to back from `pointer` on.
    """
    ends = np.cumsum(sizes, dtype=np.uint64)
    first, before = 0, 0
    while first < len(sizes):
        room = page_size - cursor % page_size
        stop = int(np.searchsorted(ends, np.uint64(before + room), side="right"))
        if stop == first:
            cursor += room
            continue
        yield first, stop, cursor
        cursor += int(ends[stop - 1]) - before
        before = int(ends[stop - 1])
        first = stop


def header_bytes(num_samples: int, page_size: int, alloc_table_ptr: int) -> bytes:
    """The 24-byte header; a pointer of 0 marks a file still being written."""
    header = np.zeros(1, HEADER)
    header["version"] = VERSION
    header["num_fields"] = len(FIELDS)
    header["page_size"] = page_size
    header["num_samples"] = num_samples
    header["alloc_table_ptr"] = alloc_table_ptr
    return header.tobytes()


def field_descriptor_bytes() -> bytes:
    """The descriptors of the fields `image` and `label`."""
    descriptors = np.zeros(len(FIELDS), FIELD_DESCRIPTOR)
    for descriptor, (name, kind) in zip(descriptors, FIELDS.items(), strict=True):
        descriptor["type_id"] = kind
        descriptor["name"][: len(name)] = np.frombuffer(name.encode("ascii"), np.uint8)
    return descriptors.tobytes()


def sample_records(columns: SampleColumns, pointers: UInt64) -> npt.NDArray[np.void]:
    """The record of each of n samples, (n,) of dtype SAMPLE; alignment gaps are zero."""
    records = np.zeros(len(pointers), SAMPLE)
    image = records["image"]
    image["mode"], image["height"], image["width"] = columns.modes, columns.heights, columns.widths
    image["data_ptr"] = pointers
    records["label"] = columns.labels
    return records


def allocation_table(pointers: UInt64, sizes: UInt64) -> bytes:
    """The allocation table for samples 0..n-1, one allocation each."""
    table = np.empty(len(pointers), ALLOCATION)
    table["sample_id"] = np.arange(len(pointers))
    table["ptr"] = pointers
    table["size"] = sizes
    return table.tobytes()
