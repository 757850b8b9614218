"""One stored image to one slot of a batch: decode, crop, resize, mirror.

In: a sample id and what to show of it. Out: uint8 pixels written straight into the batch's memory.
One :class:`ImageReader` per thread, with scratch memory of its own, so that nothing is allocated
per image and nothing is shared.

The resize is torch's antialiased bilinear filter on uint8: what torchvision's RandomResizedCrop
does to PIL images, within 1 level of Pillow's result (a test compares them). It takes 110 µs for
an average random crop to 224 px where libffcv's (OpenCV INTER_AREA) takes 460 µs.

Scaled decoding (``reduction`` 2, 4 or 8) is used for random crops only where the reduced crop is
still at least as large as the output; views that labels describe are always decoded in full.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from engine.loading.errors import DamagedImage
from engine.loading.jpeg import (
    JpegDecoder,
    PillowDecoder,
    TurboDecoder,
    UndecodableJpeg,
    read_frame,
)

if TYPE_CHECKING:
    from beton_builder import BetonFile

__all__ = ["RESAMPLING", "ImageReader", "choose_reduction", "use_one_openmp_thread"]

RESAMPLING = "bilinear, antialiased (torch)"
MODE_JPEG = 0
REDUCTIONS = (8, 4, 2)

Pixels = npt.NDArray[np.uint8]


def choose_reduction(box_height: int, box_width: int, out_height: int, out_width: int) -> int:
    """The largest of 1, 2, 4, 8 by which the box may shrink and still cover the output.

    Only powers of two: libjpeg-turbo has vector code for those, and 3/4 or 5/8 decode slower than
    the whole image (measured).
    """
    for reduction in REDUCTIONS:
        if box_height >= out_height * reduction and box_width >= out_width * reduction:
            return reduction
    return 1


class ImageReader:
    """Reads samples of one .beton file into batches; for one thread."""

    def __init__(
        self, beton: BetonFile, decoder: type[TurboDecoder] | type[PillowDecoder] | None
    ) -> None:
        self._beton = beton
        self._decoder: JpegDecoder | None = decoder() if decoder else None
        self._source = np.empty(0, np.uint8)
        self._resized = torch.empty(0, dtype=torch.uint8)

    def read_box(
        self, out: torch.Tensor, sample_id: int, box: Sequence[int], *, mirror: bool
    ) -> None:
        """Resize one box of a sample to fill ``out``; for random crops.

        ``out``: uint8 (H, W, C) contiguous, C 1 or 3; with C = 1 only plane 0 is kept. ``box``:
        (top, left, height, width) in stored pixels. ``mirror``: flip left and right. Scaled
        decoding shifts the box by up to half a reduced pixel. Raises DamagedImage.
        """
        top, left, height, width = box
        bottom, right = top + height, left + width
        reduction = 1
        if self._beton.modes[sample_id] == MODE_JPEG:
            reduction = choose_reduction(height, width, *out.shape[:2])
        if reduction > 1:
            top, left, bottom, right = (round(x / reduction) for x in (top, left, bottom, right))
        image = self._decode(sample_id, bottom * reduction, reduction)
        crop = image[top:bottom, left:right]
        if mirror or out.shape[2] == 1:
            pixels = self._resize(crop, self._whole(out.shape[0], out.shape[1]))
            pixels = pixels[..., : out.shape[2]]
            out.copy_(pixels.flip(1) if mirror else pixels)
        else:
            self._resize(crop, out)

    def read_centre(self, out: torch.Tensor, sample_id: int, grid: Sequence[int]) -> None:
        """Resize a sample and keep a crop of the result; for labels and evaluation.

        ``out``: as in :meth:`read_box`. ``grid``: (height, width) of the resized image, (top, left)
        of the crop in it. Only the rows and columns that the crop depends on are decoded and
        resized. Raises DamagedImage.
        """
        resized_h, resized_w, top, left = grid
        bottom, right = top + out.shape[0], left + out.shape[1]
        beton = self._beton
        scale_h = float(beton.heights[sample_id]) / resized_h
        scale_w = float(beton.widths[sample_id]) / resized_w
        rows, columns = _reach(bottom, scale_h), _reach(right, scale_w)
        image = self._decode(sample_id, rows, 1)[:rows, :columns]
        pixels = self._resize(image, self._whole(bottom, right), (1 / scale_h, 1 / scale_w))
        out.copy_(pixels[top:, left:, : out.shape[2]])

    def read_stored(self, out: torch.Tensor, sample_id: int) -> None:
        """Copy a sample that is of the size of ``out`` already. Raises DamagedImage."""
        image = self._decode(sample_id, out.shape[0], 1)
        np.copyto(out.numpy(), image[: out.shape[0], :, : out.shape[2]])

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()

    def _decode(self, sample_id: int, rows: int, reduction: int) -> Pixels:
        beton = self._beton
        height, width = int(beton.heights[sample_id]), int(beton.widths[sample_id])
        payload = beton.payload(sample_id)
        if beton.modes[sample_id] != MODE_JPEG:
            return payload.reshape(height, width, 3)
        assert self._decoder is not None
        try:
            frame = read_frame(payload)
            if (frame.height, frame.width) != (height, width):
                raise UndecodableJpeg(
                    f"its header says {frame.width}×{frame.height} pixels, "
                    f"the file's index {width}×{height}"
                )
            return self._decoder.decode(payload, frame, rows=rows, reduction=reduction)
        except UndecodableJpeg as error:
            raise DamagedImage(sample_id, beton.path, str(error)) from error

    def _whole(self, height: int, width: int) -> torch.Tensor:
        size = height * width * 3
        if self._resized.numel() < size:
            self._resized = torch.empty(size * 3 // 2, dtype=torch.uint8)
        return self._resized[:size].view(height, width, 3)

    def _resize(
        self, image: Pixels, out: torch.Tensor, scales: tuple[float | None, ...] = (None, None)
    ) -> torch.Tensor:
        """Resize (h, w, 3) to fill ``out``; ``scales``: output pixels per input pixel."""
        if self._source.size < image.size:
            self._source = np.empty(image.size * 3 // 2, np.uint8)
        source = self._source[: image.size].reshape(image.shape)
        np.copyto(source, image)
        # What torch.nn.functional.interpolate(antialias=True) calls; into existing memory it takes
        # 105 µs where the public function, which allocates, takes 175 µs.
        torch.ops.aten._upsample_bilinear2d_aa.out(
            torch.from_numpy(source).permute(2, 0, 1).unsqueeze(0),
            list(out.shape[:2]),
            False,
            *scales,
            out=out.permute(2, 0, 1).unsqueeze(0),
        )
        return out


def _reach(outputs: int, scale: float) -> int:
    """How many input pixels the first ``outputs`` pixels depend on: the filter's last support."""
    return math.ceil(outputs * scale + max(scale, 1.0)) + 1


def use_one_openmp_thread() -> None:
    """Keep torch's operations in this thread from starting a team of threads of their own.

    OpenMP's setting is per thread, so neither the main thread's nor ``torch.get_num_threads()``
    elsewhere changes. Without the OpenMP runtime among the loaded libraries nothing happens, and
    only speed suffers.
    """
    torch.get_num_threads()  # torch sets the thread up on first use and would overrule us later
    set_threads = getattr(ctypes.CDLL(None), "omp_set_num_threads", None)
    if set_threads is not None:
        set_threads(1)
