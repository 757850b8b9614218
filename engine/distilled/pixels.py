"""Arrays of images: which axis is which, and what their numbers mean.

In: any numeric array. Out: uint8 or float32 (n, c, h, w) and the scale of its values. Guessed only
where the values leave no doubt; the guess is a :class:`Finding`. Shapes as in `distilled_set`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.distilled.distilled_set import SCALES, Finding
from engine.errors import ArtefactError, UsageError

Array = npt.NDArray[Any]

LARGEST_NORMALISED = 20.0
"""Beyond this, no image that was normalised by mean and std has a value; learned ones reach 10."""

SLACK = 1e-5  # of values that were computed to lie in 0..1


def as_nchw(array: Array, *, channels: int | None, where: str) -> Array:
    """The array with axes (image, channel, row, column).

    Takes (n, c, h, w), (n, h, w, c), (n, h, w) of greyscale, and rows of c·h·w values of square
    images. ``channels``: those of the dataset, if known.

    Raises:
        ArtefactError: it can be none of these.
    """
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4:
        first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
        if first and last and channels is not None:
            first = array.shape[1] == channels
        if first:
            return array
        if last:
            return array.transpose(0, 3, 1, 2)
    if array.ndim == 2:
        for planes in (3, 1) if channels is None else (channels,):
            side = math.isqrt(array.shape[1] // planes)
            if side and planes * side * side == array.shape[1]:
                return array.reshape(len(array), planes, side, side)
    raise ArtefactError(
        f"{where}: expected images of shape (n, channels, height, width), (n, height, width, "
        f"channels) or rows of as many values, with 1 or 3 channels; found {tuple(array.shape)}"
    )


def understand_values(array: Array, asked: str, where: str) -> tuple[Array, str, Finding | None]:
    """Pixel values as the type that keeps them exactly, their scale, and why it was chosen.

    Args:
        array: images.
        asked: one of `SCALES`, or ``auto`` to go by the values.
        where: for errors.

    Raises:
        UsageError: unknown scale, or values that contradict it.
        ArtefactError: NaN or infinite values, or ones whose meaning is open.
    """
    if asked not in ("auto", *SCALES):
        raise UsageError(f"images {asked!r}: expected auto, {', '.join(SCALES)}")
    if array.dtype.kind not in "fiub":
        raise ArtefactError(f"{where}: expected images as numbers, found {array.dtype}")
    if array.size == 0:
        raise ArtefactError(f"{where}: there is no image in it (shape {tuple(array.shape)})")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ArtefactError(f"{where}: image {first} has NaN or infinite values")
    low, high = float(array.min()), float(array.max())
    values = f"{array.dtype} from {low:.4g} to {high:.4g}"
    whole = array.dtype.kind != "f" or bool((array == np.rint(array)).all())
    possible = {
        "bytes": low >= 0 and high <= 255,
        "unit": low >= -SLACK and high <= 1 + SLACK and array.dtype.kind == "f",
        "normalised": array.dtype.kind == "f" and max(-low, high) <= LARGEST_NORMALISED,
    }
    if asked != "auto":
        if not possible[asked]:
            raise UsageError(f"{where}: values are {values}, which images {asked!r} can't be")
        return *_converted(array, asked, whole), None
    if array.dtype == np.uint8:
        return array, "bytes", None
    guess = _guess(low, high, possible, whole)
    if guess is None:
        raise ArtefactError(
            f"{where}: image values are {values}, which could mean several things\n"
            "say what they are: --images bytes (0 to 255), unit (0 to 1), or normalised (network "
            "inputs, by the dataset's mean and std); anything else, such as -1 to 1, has to be "
            "converted first"
        )
    because = f"values are {values}"
    if guess == "normalised":
        because += "; taken to be normalised as this dataset is (ZCA, say, only where it is too)"
    return *_converted(array, guess, whole), Finding(
        about="images", taken_as=guess, because=because
    )


def _guess(low: float, high: float, possible: dict[str, bool], whole: bool) -> str | None:
    if possible["unit"] and low >= -SLACK:
        return "unit"
    if possible["bytes"] and whole:
        return "bytes"
    # Within -1..1 they may as well be what a generator's tanh gave out.
    if possible["normalised"] and low < -SLACK and max(-low, high) > 1 + SLACK:
        return "normalised"
    return None


def _converted(array: Array, scale: str, whole: bool) -> tuple[Array, str]:
    """uint8 where that loses nothing, else float32; fractions of 255 become fractions of 1."""
    if scale == "bytes" and whole:
        return array.astype(np.uint8), "bytes"
    if scale == "bytes":
        return (array / 255).astype(np.float32), "unit"
    return array.astype(np.float32), scale
