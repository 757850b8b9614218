"""Stored images as data URIs: small ones exactly, as PNG; large ones shrunk, as JPEG."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from beton_builder import Dataset
from engine.report.explorer.choice import Ids

LONGEST_SIDE = 96
"""Pixels; larger images are shrunk to it."""
JPEG_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`address`: a data URI. width, height: of the picture, in pixels. is_exact: it wasn't shrunk.

    What is exact is enlarged without smoothing, so that one sees the pixels that a network sees.
    """

    address: str
    width: int
    height: int
    is_exact: bool


def read_pictures(dataset: Dataset, ids: Ids, split: str = "train") -> list[Picture]:
    """The images of samples `ids`. Raises beton_builder's MissingSplit and DamagedSample."""
    with dataset.split(split) as beton:
        return [picture(beton.image(int(i)), channels=dataset.channels) for i in ids]


def picture(pixels_hwc: npt.NDArray[np.uint8], *, channels: int = 3) -> Picture:
    """An image, uint8 (h, w, 3); with one channel its first plane is shown."""
    image = Image.fromarray(pixels_hwc[..., 0] if channels == 1 else pixels_hwc)
    is_exact = max(image.size) <= LONGEST_SIDE
    encoded = io.BytesIO()
    if is_exact:
        image.save(encoded, "PNG", optimize=True)
    else:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        image.save(encoded, "JPEG", quality=JPEG_QUALITY, optimize=True)
    kind = "png" if is_exact else "jpeg"
    code = base64.b64encode(encoded.getvalue()).decode("ascii")
    address = f"data:image/{kind};base64,{code}"
    return Picture(address=address, width=image.width, height=image.height, is_exact=is_exact)
