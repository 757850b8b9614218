"""JPEG and PNG bytes to the pixels that a student would see of them in a built dataset.

In: files, or bytes out of a parquet file or a tar archive. Out: uint8 (n, c, r, r). The very code
reads them that stores images in a dataset (`beton_builder.images`) and loads them from there
(`engine.loading`), so an exported image comes back with equal pixels, JPEGs included.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beton_builder.images import JPEG_MAGIC, PNG_MAGIC, StorageRules, store
from beton_builder.jpeg import ImageProblem, read_header
from engine.errors import ArtefactError, DamageError, MismatchError
from engine.loading.crops import centre_crop
from engine.loading.jpeg import choose_decoder
from engine.loading.pixels import MODE_JPEG, ImageReader

MODE_RAW = 1


class EncodedImages:
    """Images that are decoded one at a time; to :class:`ImageReader` they are a dataset's file.

    names: what errors call them. modes: (n,), JPEG or raw (a PNG is handed over as its pixels);
    heights, widths: (n,) pixels.
    """

    def __init__(self, sources: Sequence[Path | bytes], names: Sequence[str], path: Path) -> None:
        self.path = path
        self.names = names
        self._sources = sources
        sizes = [self._size(number) for number in range(len(sources))]
        self.modes = np.array([mode for mode, _, _ in sizes], np.uint8)
        self.heights = np.array([height for _, height, _ in sizes], np.uint16)
        self.widths = np.array([width for _, _, width in sizes], np.uint16)

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def sides(self) -> set[tuple[int, int]]:
        """Every (height, width) that occurs."""
        return set(zip(self.heights.tolist(), self.widths.tolist(), strict=True))

    def payload(self, i: int) -> npt.NDArray[np.uint8]:
        """What a dataset would store of image i: JPEG bytes, or pixels."""
        try:
            return np.frombuffer(store(self._bytes(i), StorageRules()).payload, np.uint8)
        except ImageProblem as problem:
            raise self._unusable(i, problem) from problem

    def pixels(self, resolution: int, channels: int) -> Tensor:
        """uint8 (n, c, r, r): as stored where that is their size, else the evaluation's crop."""
        reader = ImageReader(cast(Any, self), choose_decoder())
        shape = (len(self), resolution, resolution, channels)
        images_nhwc = torch.empty(shape, dtype=torch.uint8)
        grids = centre_crop(self.heights, self.widths, resolution).tolist()
        for number, out in enumerate(images_nhwc):
            if (self.heights[number], self.widths[number]) == (resolution, resolution):
                reader.read_stored(out, number)
            else:
                reader.read_centre(out, number, grids[number])
            if channels == 1:
                self._require_grey(number)
        reader.close()
        return images_nhwc.permute(0, 3, 1, 2)

    def _require_grey(self, number: int) -> None:
        if not store(self._bytes(number), StorageRules()).grey:
            raise MismatchError(
                f"{self.path}: {self.names[number]} has colour, and the dataset's images are "
                "greyscale; convert it, or give the --data that it belongs to"
            )

    def _bytes(self, number: int) -> bytes:
        source = self._sources[number]
        if isinstance(source, bytes):
            return source
        try:
            return source.read_bytes()
        except OSError as error:
            raise ArtefactError(f"{source} can't be read: {error.strerror}") from error

    def _size(self, number: int) -> tuple[int, int, int]:
        data = self._bytes(number)
        try:
            if data[:3] == JPEG_MAGIC:
                header = read_header(data)
                return MODE_JPEG, header.height, header.width
            if data[:8] == PNG_MAGIC and len(data) >= 24:
                width, height = struct.unpack_from(">II", data, 16)
                if not 0 < max(height, width) < 1 << 16:
                    raise ImageProblem(f"is a PNG of unusable size {width}x{height} pixels")
                return MODE_RAW, height, width
            raise ImageProblem(f"is neither JPEG nor PNG: it begins with {data[:8]!r}")
        except ImageProblem as problem:
            raise self._unusable(number, problem) from problem

    def _unusable(self, number: int, problem: ImageProblem) -> DamageError:
        return DamageError(f"{self.path}: image {self.names[number]} {problem}")
