"""Which part of each image becomes the output, and whether it is mirrored.

In: sample ids and image sizes. Out: integers for the whole batch at once, about 0.2 ms for 256.

- :func:`random_resized_crop`, for training: boxes (top, left, height, width) in pixels of the
  stored image by torchvision's rule (area 8–100 %, ratio 3/4–4/3, ten attempts, then the largest
  centred box of an allowed ratio), and a mirror flag of probability ½. A pure function of
  (augment_seed, epoch, sample id): attempt k draws Philox block k = (area, log ratio, top, left),
  block 10 decides the mirror.
- :func:`centre_crop`, for evaluation and labels: torchvision's Resize(round(resolution · 256/224))
  of the shorter side and CenterCrop(resolution), as (height, width) of the resized image and
  (top, left) of the crop in it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engine.augment.philox import philox_uniform, stream_key

__all__ = ["centre_crop", "random_resized_crop"]

Boxes = npt.NDArray[np.int64]

AREA_RANGE = (0.08, 1.0)
RATIO_RANGE = (3 / 4, 4 / 3)
ATTEMPTS = 10
STREAM = "random_resized_crop"


def random_resized_crop(
    ids: npt.NDArray[np.int64],
    heights: npt.ArrayLike,
    widths: npt.ArrayLike,
    *,
    augment_seed: int,
    epoch: int,
) -> tuple[Boxes, npt.NDArray[np.bool_]]:
    """Boxes and mirror flags of a training epoch.

    ``ids``: (n,) int64; ``heights``, ``widths``: (n,) pixels. Returns boxes (n, 4) int64 and flags
    (n,) bool. Source: torchvision.transforms.RandomResizedCrop, docs/protocol.md §1.
    """
    key = stream_key(STREAM, augment_seed, epoch)
    height = np.asarray(heights, dtype=np.int64)
    width = np.asarray(widths, dtype=np.int64)
    boxes = _largest_centred_box(height, width)
    open_rows = np.arange(len(ids))
    for attempt in range(ATTEMPTS):
        area_u, ratio_u, top_u, left_u = philox_uniform(key, ids[open_rows], block=attempt).T
        h, w = height[open_rows], width[open_rows]
        area = h * w * (AREA_RANGE[0] + area_u * (AREA_RANGE[1] - AREA_RANGE[0]))
        low, high = math.log(RATIO_RANGE[0]), math.log(RATIO_RANGE[1])
        ratio = np.exp(low + ratio_u * (high - low))
        box_w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        box_h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = (box_w > 0) & (box_w <= w) & (box_h > 0) & (box_h <= h)
        top = (top_u * (h - box_h + 1)).astype(np.int64)
        left = (left_u * (w - box_w + 1)).astype(np.int64)
        boxes[open_rows[fits]] = np.stack([top, left, box_h, box_w], axis=1)[fits]
        open_rows = open_rows[~fits]
        if not open_rows.size:
            break
    return boxes, philox_uniform(key, ids, block=ATTEMPTS)[:, 0] < 0.5


def centre_crop(heights: npt.ArrayLike, widths: npt.ArrayLike, resolution: int) -> Boxes:
    """What evaluation and labels see, (n, 4) int64 for sizes (n,) in pixels.

    Columns: height and width of the resized image, top and left of the crop in it, in its pixels.
    """
    height = np.asarray(heights, dtype=np.int64)
    width = np.asarray(widths, dtype=np.int64)
    side = round(resolution * 256 / 224)
    shorter = np.minimum(height, width)
    # torchvision cuts the longer side down to whole pixels.
    resized = np.stack([side * height // shorter, side * width // shorter], axis=1)
    corner = np.rint((resized - resolution) / 2).astype(np.int64)
    return np.concatenate([resized, corner], axis=1)


def _largest_centred_box(height: Boxes, width: Boxes) -> Boxes:
    """torchvision's fallback: the whole image, its longer side cut to an allowed ratio."""
    ratio = width / height
    box_h = np.where(ratio < RATIO_RANGE[0], np.rint(width / RATIO_RANGE[0]), height)
    box_w = np.where(ratio > RATIO_RANGE[1], np.rint(height * RATIO_RANGE[1]), width)
    box_h, box_w = box_h.astype(np.int64), box_w.astype(np.int64)
    return np.stack([(height - box_h) // 2, (width - box_w) // 2, box_h, box_w], axis=1)
