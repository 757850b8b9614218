"""The shape of one array of labels on disk, and the Zarr metadata that says it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# What a row holds that was never written. No written row holds it: logits and statistics are
# finite, codes begin with a float16 that is not NaN, and no crop is 65,535 pixels high.
_FILL: dict[str, str | int] = {"float16": "NaN", "float32": "NaN", "uint8": 0xFF, "uint16": 0xFFFF}


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """One array of a view: `row_shape` and `row_axes` are what follows (epoch, sample)."""

    name: str
    dtype: str
    row_shape: tuple[int, ...]
    row_axes: tuple[str, ...]
    unit: str

    @property
    def row_bytes(self) -> int:
        size = np.dtype(self.dtype).itemsize
        for length in self.row_shape:
            size *= length
        return size

    @property
    def fill(self) -> float:
        """Value of elements that were never written."""
        return float(_FILL[self.dtype])

    def repeated(self, times: int) -> ArrayLayout:
        """The same array with `times` rows for every sample; unchanged if `times` is 0."""
        if not times:
            return self
        return replace(self, row_shape=(times, *self.row_shape), row_axes=("crop", *self.row_axes))

    def chunk_name(self, epoch: int, chunk: int) -> str:
        return ".".join(["c", str(epoch), str(chunk), *("0" for _ in self.row_shape)])

    def document(self, *, epochs: int, num_samples: int, chunk_rows: int) -> dict[str, Any]:
        """The array's `zarr.json` without its attributes."""
        endian = {"configuration": {"endian": "little"}} if self.dtype != "uint8" else {}
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [epochs, num_samples, *self.row_shape],
            "data_type": self.dtype,
            "dimension_names": ["epoch", "sample", *self.row_axes],
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [1, chunk_rows, *self.row_shape]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "codecs": [{"name": "bytes", **endian}],
            "fill_value": _FILL[self.dtype],
            "storage_transformers": [],
        }
