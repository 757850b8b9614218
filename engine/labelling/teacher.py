"""An expert's checkpoints, applied to images: where labels come from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import beton_builder
from engine.labelling.views import ImageView
from engine.models import build_model
from engine.training.expert_run import ExpertRun
from engine.training.precision import choose_arithmetic
from engine.training.step import Network

INFERENCE_BATCH = 256
WEIGHTS_IN_MEMORY = 2**30


class Teacher:
    """Labels in fp32 of any checkpoint of one expert, on one view of a dataset's images."""

    def __init__(self, dataset: beton_builder.Dataset, run: ExpertRun, view: ImageView) -> None:
        self.run = run
        self.dataset = dataset
        self.view = view
        self.resolution = int(run.manifest["recipe"]["resolution"])
        model = build_model(
            run.manifest["recipe"]["model"],
            num_classes=dataset.num_classes,
            channels=dataset.channels,
            resolution=self.resolution,
            init_seed=0,
        )
        self.network = Network(
            model.eval(),
            choose_arithmetic("fp32"),
            dataset.mean,
            dataset.std,
            dataset.whitening(),
        )
        size = sum(p.numel() * p.element_size() for p in model.state_dict().values())
        self._keep = WEIGHTS_IN_MEMORY // max(1, size)
        self._weights: dict[int, dict[str, Tensor]] = {}

    def read(
        self, ids: npt.NDArray[np.int64]
    ) -> tuple[Tensor, npt.NDArray[np.int64], npt.NDArray[np.uint16] | None]:
        """Images, labels (n,) int64 and crop boxes of sample ids (n,); see `ImageView.images`."""
        images, boxes = self.view.images(self.dataset, ids, self.resolution)
        labels = np.asarray(self.dataset.split("train").labels, dtype=np.int64)[ids]
        return images, labels, boxes

    @torch.no_grad()
    def logits(self, epoch: int, images: Tensor) -> npt.NDArray[np.float32]:
        """fp32 logits after ``epoch`` epochs, of images as `read` returns them.

        (n, k) of uint8 images (n, c, h, w); (n, S, k) of S crops (n, S, c, h, w).
        """
        self.network.load_weights(self._weights_of(epoch))
        if images.ndim == 5:
            flat = self._apply(images.flatten(0, 1))
            return flat.reshape(*images.shape[:2], -1)
        logits = self._apply(images)
        if self.view.flip:
            logits = (logits + self._apply(images.flip(3))) * np.float32(0.5)
        return logits

    def _apply(self, images_nchw: Tensor) -> npt.NDArray[np.float32]:
        pieces = []
        for images in images_nchw.split(INFERENCE_BATCH):
            normalised = self.network.normalise(images)
            pieces.append(
                self.network.logits(normalised, compiled=len(images) == INFERENCE_BATCH).cpu()
            )
        return torch.cat(pieces).numpy()

    def _weights_of(self, epoch: int) -> dict[str, Tensor]:
        if epoch not in self._weights:
            if len(self._weights) >= self._keep:
                self._weights.clear()
            self._weights[epoch] = self.run.weights(epoch)
        return self._weights[epoch]
