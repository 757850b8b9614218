"""Which images of a sample the expert labels: the image itself, its mirror too, or random crops.

In: a view's name and sample ids. Out: uint8 images, and where in the sample they come from.

- ``plain``: the un-augmented image, as evaluation sees it.
- ``flip``: the image and its mirror image; the label is the mean of the two logits.
- ``crop:S``: S random resized crops of every sample, each with a label of its own. Crop s of a
  sample is what the streaming loader shows of it under view="crop" in epoch s at
  ``augment_seed=crop_seed``, so that a student meets the very pixels its label describes (FKD,
  SRe2L: labels per crop).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import beton_builder
from engine.errors import UsageError
from engine.loading import Streaming, load_resident
from engine.loading.crops import random_resized_crop

READ_BATCH = 256
MAX_CROPS = 64


@dataclass(frozen=True)
class ImageView:
    """crops: how many crops of a sample; 0 for the whole image. flip: average with the mirror."""

    flip: bool = False
    crops: int = 0
    crop_seed: int = 0

    @property
    def name(self) -> str:
        """The view's name in a label store."""
        if self.crops:
            return f"crop-{self.crops}"
        return "flip" if self.flip else "plain"

    def transform(self, resolution: int, decode_path: str) -> dict[str, Any]:
        """What defines the images, for the identity of the labels."""
        rule: dict[str, Any] = {"view": self.name, "resolution": resolution}
        rule["decode_path"] = decode_path
        if self.crops:
            rule |= {"crop": "random_resized_crop", "crop_seed": self.crop_seed}
        return rule

    def images(
        self, dataset: beton_builder.Dataset, ids: npt.NDArray[np.int64], resolution: int
    ) -> tuple[Tensor, npt.NDArray[np.uint16] | None]:
        """Images of the train split's samples ``ids`` (n,), each read and decoded once.

        Returns uint8 (n, c, h, w) and None, or for S crops (n, S, c, h, w) and their boxes, uint16
        (n, S, 5): top, left, height, width in stored pixels, and 1 where mirrored.
        """
        if not self.crops:
            return load_resident(dataset, "train", indices=ids, resolution=resolution).images, None
        beton = dataset.split("train")
        stream = Streaming(dataset, "train", resolution=resolution)
        boxes = np.empty((len(ids), self.crops, 5), np.uint16)
        crops = []
        for crop in range(self.crops):
            edges, mirrored = random_resized_crop(
                ids,
                beton.heights[ids],
                beton.widths[ids],
                augment_seed=self.crop_seed,
                epoch=crop,
            )
            boxes[:, crop, :4], boxes[:, crop, 4] = edges, mirrored
            with stream.batches(
                ids,
                batch_size=READ_BATCH,
                view="crop",
                shuffle=False,
                epoch=crop,
                augment_seed=self.crop_seed,
            ) as batches:
                crops.append(torch.cat([batch.images for batch in batches]))
        return torch.stack(crops, dim=1), boxes


def parse_view(text: str, crop_seed: int = 0) -> ImageView:
    """The view that ``plain``, ``flip`` or ``crop:S`` names.

    Raises:
        UsageError: it names another, or ``crop_seed`` is of crops that it doesn't have.
    """
    if crop_seed and text in ("plain", "flip"):
        raise UsageError(
            f"--crop-seed {crop_seed} draws crops, and --view {text} has none: leave it out, or "
            "label crops with --view crop:4"
        )
    if text == "plain":
        return ImageView()
    if text == "flip":
        return ImageView(flip=True)
    family, _, number = text.replace("-", ":", 1).partition(":")
    if family == "crop" and number.isascii() and number.isdigit() and 1 <= int(number) <= MAX_CROPS:
        return ImageView(crops=int(number), crop_seed=crop_seed)
    raise UsageError(
        f"view {text!r}: expected plain, flip or crop:S with S from 1 to {MAX_CROPS}, such as "
        "crop:4"
    )
