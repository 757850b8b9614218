"""What an epoch hands out, whichever tier it comes from.

:class:`Batch` is three tensors; :class:`BatchIterator` is an iterator over them that is also a
context manager. Leaving a ``for`` loop early releases everything once the iterator is no longer
referred to; ``with`` or ``close()`` releases it at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from engine.loading.errors import InvalidRequest, ResolutionNeeded

__all__ = ["Batch", "BatchIterator", "Geometry", "choose_geometry", "require_ids"]

VIEWS = ("train", "crop", "plain")


class Batch(NamedTuple):
    """``images``: uint8 (b, C, H, W), channels last in memory (the layout of the file, and the
    faster one for convolutions); ``labels``: int64 (b,); ``ids``: int64 (b,), positions in the
    dataset's split. Memory of its own: a later batch never overwrites it."""

    images: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor


class BatchIterator(ABC, Iterator[Batch]):
    """One epoch's batches. ``len`` is their number, counted from the first one of this iterator."""

    def __iter__(self) -> BatchIterator:
        return self

    def __enter__(self) -> BatchIterator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def close(self) -> None:
        """Release threads and memory; further iteration stops."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain values for logs and manifests: tier and why, view, sizes, decoder, workers."""


class Geometry(NamedTuple):
    """``kind``: "stored" (as in the file), "random_resized_crop" or "centre_crop"; and the output
    size in pixels."""

    kind: str
    height: int
    width: int


def choose_geometry(
    heights: npt.NDArray[np.uint16],
    widths: npt.NDArray[np.uint16],
    *,
    view: str,
    resolution: int | None,
) -> Geometry:
    """What is done to the images of a split (sizes (n,) in pixels), the same in both tiers.

    Images of one size at that very size are passed on as stored, in training too: the augmentation
    of small images works on whole batches (engine.augment). All others need a ``resolution`` and
    get a random resized crop and mirror (view "train") or the centre crop (view "plain"). View
    "crop" is the random resized crop for images of any size.

    Raises InvalidRequest for another view or resolution, ResolutionNeeded.
    """
    if view not in VIEWS:
        raise InvalidRequest(f"view: expected one of {', '.join(VIEWS)}, got {view!r}")
    if resolution is not None and resolution < 1:
        raise InvalidRequest(f"resolution: expected at least 1 pixel, got {resolution}")
    if not len(heights):
        return Geometry("stored", resolution or 0, resolution or 0)
    tallest, widest = int(heights.max()), int(widths.max())
    shortest, narrowest = int(heights.min()), int(widths.min())
    one_size = (tallest, widest) == (shortest, narrowest)
    if one_size and (resolution is None or resolution == tallest == widest):
        return Geometry("random_resized_crop" if view == "crop" else "stored", tallest, widest)
    if resolution is None:
        raise ResolutionNeeded(
            f"these images measure {narrowest}×{shortest} to {widest}×{tallest} pixels, and a "
            "batch needs one size. Next: give a resolution, such as 224 or 64"
        )
    kind = "centre_crop" if view == "plain" else "random_resized_crop"
    return Geometry(kind, resolution, resolution)


def require_ids(ids: npt.NDArray[np.int64], num_samples: int, split: str) -> None:
    """Raise InvalidRequest unless every id is a sample of the split."""
    if ids.size and not (int(ids.min()) >= 0 and int(ids.max()) < num_samples):
        raise InvalidRequest(
            f"indices: expected 0 to {num_samples - 1} (the {split} split has {num_samples} "
            f"samples), got {int(ids.min())} to {int(ids.max())}"
        )
