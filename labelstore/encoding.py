"""What a block of logits becomes on disk: rows in the store's codec, and statistics of every row.

In: float32 logits and the true labels. Out: the rows of every array of the folder, and how far the
codec's labels are from those given. The statistics (entropy of the softmax, cross-entropy with the
true label; float32, nats, temperature 1) come from the float32 logits, not from what is stored. No
row's result depends on its neighbours, so blocks of any size give the same bytes. The loops are in
`kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .checksum import crc32
from .codecs import DENSE
from .errors import BadArgument, BadLogits
from .layout import Geometry
from .records import CodecError

_FLOAT16_OVERFLOWS_AT = np.float32(65_520.0)  # halfway from the largest float16 to the next power


@dataclass(frozen=True)
class EncodedBlock:
    """arrays: by array name, the block's rows as they go to disk, C order. crc32: of their bytes.
    error: of all its rows; None for padding."""

    arrays: dict[str, NDArray[Any]]
    crc32: dict[str, int]
    error: CodecError | None

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]], error: CodecError | None) -> EncodedBlock:
        sums = {name: crc32(_bytes_of(array)) for name, array in arrays.items()}
        return cls(arrays, sums, error)

    def bytes_of(self, name: str) -> memoryview:
        return _bytes_of(self.arrays[name])


def padding(geometry: Geometry, num_rows: int) -> EncodedBlock:
    """Rows behind the last sample: fill values, as readers find where nothing was written."""
    return EncodedBlock.of(
        {
            array.name: np.full((num_rows, *array.row_shape), array.fill, array.dtype)
            for array in geometry.arrays
        },
        None,
    )


def encode(
    geometry: Geometry,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    crops: NDArray[np.uint16] | None = None,
    *,
    epoch: int,
    start_row: int,
) -> EncodedBlock:
    """A block of b samples, ready for disk.

    logits: float32 (b, C), or (b, S, C) where the view has S crops; row 0 is sample `start_row`,
    which with `epoch` is for messages only. labels: integer (b,), the true class of every sample.
    crops: uint16 (b, S, 5) where the view has crops.
    Raises BadLogits for NaN, infinite or too large logits and for labels out of range, naming the
    epoch and the first such sample; BadArgument for another shape or dtype.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    _check_shapes(geometry, logits, labels, crops)
    _check_labels(labels, geometry.num_classes, epoch=epoch, start_row=start_row)
    each = max(1, geometry.crops)
    logits_rc = np.ascontiguousarray(logits).reshape(-1, geometry.num_classes)
    labels_r = np.repeat(labels.astype(np.int64, copy=False), each)
    entropy_r, cross_entropy_r, max_abs_r = np.empty((3, len(labels_r)), np.float32)
    kl_r = np.empty(len(labels_r), np.float64)
    if geometry.codec == DENSE:
        rows = np.empty(logits_rc.shape, np.float16)
        bits_rc = rows.view(np.uint16)
        bad = kernels.encode_dense(
            logits_rc, labels_r, bits_rc, entropy_r, cross_entropy_r, max_abs_r, kl_r
        )
        _refuse_bad_row(bad, logits_rc, each, epoch=epoch, start_row=start_row)
    else:
        bad = kernels.statistics_only(logits_rc, labels_r, entropy_r, cross_entropy_r)
        _refuse_bad_row(bad, logits_rc, each, epoch=epoch, start_row=start_row)
        rows = geometry.codec.encode(logits_rc)
        decoded = geometry.codec.decode(rows, geometry.num_classes)
        kernels.measure_errors(logits_rc, decoded.view(np.uint16), max_abs_r, kl_r)
    error = CodecError.of_rows(max_abs_r, kl_r, against="float32")
    return _block(geometry, rows, entropy_r, cross_entropy_r, crops, error)


def encode_again(
    geometry: Geometry,
    logits16: NDArray[np.float16],
    entropy: NDArray[np.float32],
    cross_entropy: NDArray[np.float32],
    crops: NDArray[np.uint16] | None = None,
) -> EncodedBlock:
    """A block of stored labels for the codec of `geometry`; their statistics stay as they were.

    The error is against the float16 logits given: the float32 ones are gone.
    """
    logits_rc = logits16.reshape(-1, geometry.num_classes).astype(np.float32)
    rows = geometry.codec.encode(logits_rc)
    decoded = geometry.codec.decode(rows, geometry.num_classes)
    max_abs_r = np.empty(len(logits_rc), np.float32)
    kl_r = np.empty(len(logits_rc), np.float64)
    kernels.measure_errors(logits_rc, decoded.view(np.uint16), max_abs_r, kl_r)
    error = CodecError.of_rows(max_abs_r, kl_r, against="float16")
    return _block(geometry, rows, entropy, cross_entropy, crops, error)


def _block(
    geometry: Geometry,
    rows: NDArray[Any],
    entropy: NDArray[np.float32],
    cross_entropy: NDArray[np.float32],
    crops: NDArray[np.uint16] | None,
    error: CodecError,
) -> EncodedBlock:
    arrays = {
        geometry.rows.name: rows,
        "entropy": entropy,
        "cross_entropy": cross_entropy,
        "crops": crops,
    }
    return EncodedBlock.of(
        {
            layout.name: np.ascontiguousarray(arrays[layout.name]).reshape(-1, *layout.row_shape)
            for layout in geometry.arrays
        },
        error,
    )


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _check_shapes(
    geometry: Geometry,
    logits: NDArray[Any],
    labels: NDArray[Any],
    crops: NDArray[Any] | None,
) -> None:
    axes = "rows, crops, classes" if geometry.crops else "rows, classes"
    row_shape = (*([geometry.crops] if geometry.crops else []), geometry.num_classes)
    if logits.dtype != np.float32 or logits.shape[1:] != row_shape or logits.ndim < 2:
        expected = ", ".join(map(str, row_shape))
        raise BadArgument(
            f"logits: expected float32 ({axes}) = (…, {expected}), "
            f"found {logits.dtype} {logits.shape}"
        )
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise BadArgument(
            f"labels: expected integers ({len(logits)},), found {labels.dtype} {labels.shape}"
        )
    wanted = (len(logits), geometry.crops, 5) if geometry.crops else None
    found = None if crops is None else crops.shape
    if found != wanted or (crops is not None and crops.dtype != np.uint16):
        raise BadArgument(
            f"crops: expected {f'uint16 {wanted}' if wanted else None}, found {found}"
        )


def _check_labels(
    labels: NDArray[np.int64], num_classes: int, *, epoch: int, start_row: int
) -> None:
    """BadLogits naming the first sample whose label is not a class."""
    outside = (labels < 0) | (labels >= num_classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise BadLogits(
            f"label of sample {start_row + row} (epoch {epoch}): expected 0 to {num_classes - 1}, "
            f"found {int(labels[row])}"
        )


def _refuse_bad_row(
    row: int, logits_rc: NDArray[np.float32], each: int, *, epoch: int, start_row: int
) -> None:
    """BadLogits for `row`, the first that float16 cannot hold; nothing if it is negative."""
    if row < 0:
        return
    with np.errstate(invalid="ignore"):
        column = int(np.argmin(np.abs(logits_rc[row]) < _FLOAT16_OVERFLOWS_AT))
    value = float(logits_rc[row, column])
    what = "beyond the range of float16 (±65504)" if np.isfinite(value) else "not a finite number"
    raise BadLogits(
        f"logits of epoch {epoch}, sample {start_row + row // each}, class {column}: found "
        f"{value:g}, {what}; nothing of this block was written. Check the checkpoint of epoch "
        f"{epoch}"
    )
