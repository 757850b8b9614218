"""One outer step of learning labels: what is trained, on which batches, and measured by what.

In: a dataset, the images whose labels are learned and a recipe. Out: for the number of an outer
step and the logits as they are, the outer loss and its gradient. Everything random is keyed on
(seed, outer step), so a step is the same whenever and after whatever it is taken.

Eager fp32 throughout: the compiler differentiates once, and here it takes two times.

n samples, k classes, b batch.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beton_builder
from engine.augment import apply_operation, draw_operations, draw_parameters
from engine.experiments.learned_labels.recipe import LearnedRecipe
from engine.experiments.learned_labels.unroll import InnerBatch, Sgd, Weights, label_gradient
from engine.experiments.selection import select_random
from engine.loading import epoch_order, load_resident, open_images
from engine.models import build_model
from engine.models.convnet import MeanPool
from engine.training.precision import choose_arithmetic
from engine.training.step import Normaliser


@dataclass(frozen=True, kw_only=True)
class OuterStep:
    """loss: of the trained student on real images, any that students may see, those whose labels
    are learned among them. gradient_nk: by the logits. start: how many steps of its training came
    before the differentiated ones."""

    loss: float
    gradient_nk: Tensor
    start: int


def student_candidates(
    dataset: beton_builder.Dataset,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Labels of the train split, (n,), and the ids students may see: all but validation's, (m,)."""
    labels = np.asarray(dataset.split("train").labels, dtype=np.int64)
    return labels, np.setdiff1d(np.arange(len(labels)), dataset.validation_indices)


def chosen_images(
    dataset: beton_builder.Dataset, recipe: LearnedRecipe
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sample ids (n,) that get learned labels, and their true classes (n,).

    They are those of a sweep's ``random`` selection with the same IPC and subset seed.
    """
    labels, candidates = student_candidates(dataset)
    ids = select_random(labels, candidates, recipe.ipc, recipe.subset_seed, dataset.classes)
    return ids, labels[ids]


def _with_eager_pooling(model: nn.Module) -> nn.Module:
    """The same network with torch's own average pooling.

    `MeanPool` is written for the compiler; eagerly, a differentiated step of ConvNetD3-w32 takes
    1.3 times as long with it (0.26 against 0.20 s of one core, 100 images of 32 × 32).
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, MeanPool):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, nn.AvgPool2d(2))
    return model


class LabelLearning:
    """What all outer steps share: the images, the network's shape and the recipe."""

    def __init__(
        self, dataset: beton_builder.Dataset, recipe: LearnedRecipe, ids: npt.NDArray[np.int64]
    ) -> None:
        self.recipe = recipe
        self.arithmetic = choose_arithmetic("fp32", compiled=False)
        self.device = self.arithmetic.device
        self.shape = {
            "num_classes": dataset.num_classes,
            "channels": dataset.channels,
            "resolution": recipe.resolution or 0,
        }
        self.model = _with_eager_pooling(build_model(recipe.model, init_seed=0, **self.shape))
        self.model.to(self.device)
        self.ids = ids
        self.subset = load_resident(dataset, "train", indices=ids, resolution=recipe.resolution)
        normalise = Normaliser(dataset.mean, dataset.std, self.device, dataset.whitening())
        self.images = normalise(self.subset.images).contiguous()
        self.normalise = normalise
        self.candidates = student_candidates(dataset)[1]
        # Random rows of it every step: in memory where it fits, as a mapped file where not.
        self.training = open_images(
            dataset, "train", view="plain", indices=self.candidates, resolution=recipe.resolution
        )
        inner = recipe.inner
        self.sgd = Sgd(lr=inner.lr, momentum=inner.momentum, weight_decay=inner.weight_decay)
        self.batches_per_epoch = -(-len(ids) // inner.batch_size)

    def outer_step(self, logits_nk: Tensor, seed: int, step: int) -> OuterStep:
        """The outer loss and its gradient by the logits, of outer step ``step``."""
        stream = zlib.crc32(f"learn-labels {seed} {step}".encode())
        rng = np.random.default_rng([seed, step])
        inner = self.recipe.inner
        start = int(rng.integers(inner.horizon - inner.window + 1))
        chosen = rng.choice(
            self.candidates, min(self.recipe.outer.batch_size, len(self.candidates)), replace=False
        )
        leaves = logits_nk.detach().to(self.device).requires_grad_()
        targets_nk = leaves.softmax(1)
        loss, by_targets = label_gradient(
            self.model,
            self._initial_weights(seed, step),
            targets_nk,
            lambda number: self._batch(stream, number),
            start=start,
            window=inner.window,
            sgd=self.sgd,
            outer_loss=lambda weights: self._outer_loss(weights, chosen),
        )
        targets_nk.backward(by_targets)
        assert leaves.grad is not None
        return OuterStep(loss=float(loss), gradient_nk=leaves.grad.cpu(), start=start)

    def _initial_weights(self, seed: int, step: int) -> Weights:
        init_seed = zlib.crc32(f"learn-labels init {seed} {step}".encode())
        fresh = build_model(self.recipe.model, init_seed=init_seed, **self.shape)
        return {name: value.detach().to(self.device) for name, value in fresh.named_parameters()}

    def _batch(self, stream: int, number: int) -> InnerBatch:
        """Batch ``number`` of a student's training, as `engine.training.student` would draw it."""
        inner = self.recipe.inner
        epoch, within = divmod(number, self.batches_per_epoch)
        order = epoch_order(np.arange(len(self.ids)), stream, epoch)
        positions = order[within * inner.batch_size : (within + 1) * inner.batch_size]
        rows = torch.from_numpy(positions).to(self.device)
        images = self.images[rows]
        if inner.augmentation == "dsa":
            operation = draw_operations(stream, epoch, self.batches_per_epoch)[within]
            uniform_b4 = torch.from_numpy(draw_parameters(stream, epoch, self.ids[positions]))
            images = apply_operation(operation, images, uniform_b4.to(self.device))
        return InnerBatch(images_bchw=images, rows_b=rows)

    def _outer_loss(self, weights: Weights, chosen: npt.NDArray[np.int64]) -> Tensor:
        with self.training.batches(
            chosen, batch_size=len(chosen), view="plain", shuffle=False
        ) as batches:
            batch = next(batches)
        images = self.normalise(batch.images)
        logits = torch.func.functional_call(self.model, weights, (images,))
        return F.cross_entropy(logits, batch.labels.to(self.device))
