"""One student: a small network trained on a subset of images with given labels.

The trainer lives as long as its process: the network, its compiled forms and the evaluation images
stay, and a trial only replaces weights, subset and labels.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.augment import Mix, apply_mix, draw_mixes, draw_operations, draw_parameters
from engine.errors import TrainingDiverged
from engine.loading import epoch_order
from engine.models import build_model
from engine.training.checkpoint import weights_of
from engine.training.optimise import make_optimiser, set_learning_rate
from engine.training.precision import Arithmetic
from engine.training.recipe import Seeds, StudentRecipe
from engine.training.step import Network, TrainingStep, compiles_partial_batch, seeded_dropout

if TYPE_CHECKING:
    from beton_builder.whitening import Whitening


@dataclass(frozen=True, kw_only=True)
class Subset:
    """A student's training set.

    images_nchw: uint8 (n, c, h, w), or float32 if normalised already. targets_nk: float32 (n, k)
    probabilities. ids: int64 (n,), positions in the dataset's train split.
    """

    images_nchw: Tensor
    targets_nk: Tensor
    ids: npt.NDArray[np.int64]


def student_init(seed: int) -> int:
    """The seed of a student's initial weights: never an expert's.

    Equal seeds must not mean equal initial weights, since a student that starts where its expert
    started is an easier pupil. 32 bits, all that torch's generator reads.
    """
    return zlib.crc32(f"student-init {seed}".encode())


Evaluation = Callable[[Network], dict[str, float | None]]


class StudentTrainer:
    """Trains students of one architecture on one dataset's shape, one after the other."""

    def __init__(
        self,
        model: str,
        *,
        num_classes: int,
        channels: int,
        resolution: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        arithmetic: Arithmetic,
        whitening: Whitening | None = None,
    ) -> None:
        self.shape: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "resolution": resolution,
        }
        self.model = model
        initial = build_model(model, init_seed=0, **self.shape)
        self.network = Network(initial, arithmetic, mean, std, whitening)

    def train(
        self,
        subset: Subset,
        recipe: StudentRecipe,
        seeds: Seeds,
        evaluate: Evaluation,
        *,
        progress: Callable[[int, int], None] | None = None,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> dict[str, Any]:
        """Train one student from its seeded initial weights.

        Args:
            subset: images, target probabilities and sample ids.
            recipe: the student's configuration; its model is this trainer's.
            seeds: of initial weights, order and augmentation.
            evaluate: network → {"test": accuracy or None, "validation": accuracy or None}.
            progress: called with (images seen, images in all).
            on_step: called with (step, loss) after every step.

        Returns:
            ``evaluations`` (one entry an evaluation epoch), ``train_loss`` (mean of the last
            epoch), ``seconds`` and ``images_per_second`` of the steps.

        Raises:
            TrainingDiverged: the loss is no longer finite.
        """
        initial = build_model(self.model, init_seed=student_init(seeds.init_seed), **self.shape)
        self.network.load_weights(weights_of(initial))
        self.network.model.train()
        schedule = recipe.schedule.resolved(recipe.epochs)
        optimiser = make_optimiser(self.network.model.parameters(), recipe.optimiser, recipe.lr)
        step = TrainingStep(self.network, optimiser)
        clock = _Clock(self.network)
        evaluation_epochs = set(recipe.evaluation_epochs())
        evaluations: list[dict[str, Any]] = []
        loss_sum = torch.zeros((), device=self.network.device)
        device = self.network.device
        images, targets = subset.images_nchw.to(device), subset.targets_nk.to(device)
        if self.network.normalise.whitens and not images.is_floating_point():
            images = self.network.normalise(images)  # once, not in every step
        num_samples, steps = len(subset.ids), 0
        for epoch in range(recipe.epochs):
            set_learning_rate(optimiser, schedule.learning_rate(recipe.lr, epoch))
            loss_sum.zero_()
            with seeded_dropout(seeds.augment_seed, epoch):
                for batch in _epoch_batches(subset, recipe, seeds, epoch, device):
                    batch_images, batch_targets = images[batch.positions], targets[batch.positions]
                    if batch.mix is not None:
                        batch_images, batch_targets = apply_mix(
                            batch.mix, batch_images, batch_targets
                        )
                    loss, _ = step(
                        batch_images,
                        batch_targets,
                        operation=batch.operation,
                        uniform_b4=batch.uniform_b4,
                        compiled=batch.compiled,
                    )
                    loss_sum += loss * len(batch.positions)
                    steps += 1
                    if on_step:
                        on_step(steps, loss)
            if progress:
                progress((epoch + 1) * num_samples, recipe.epochs * num_samples)
            if epoch + 1 in evaluation_epochs:
                mean_loss = float(loss_sum) / num_samples  # a GPU has taken its steps only then
                clock.stop("steps")
                if not math.isfinite(mean_loss):
                    raise TrainingDiverged(
                        f"the loss was {mean_loss} in epoch {epoch + 1}; lower the learning rate "
                        f"(it is {recipe.lr:g})"
                    )
                evaluations.append({"epoch": epoch + 1, **evaluate(self.network)})
                clock.stop("evaluation")
        seconds = clock.seconds
        return {
            "evaluations": evaluations,
            "train_loss": mean_loss,
            "seconds": seconds,
            "images_per_second": recipe.epochs * num_samples / max(seconds["steps"], 1e-9),
        }


@dataclass(frozen=True, kw_only=True)
class _Batch:
    positions: Tensor
    operation: str | None
    uniform_b4: Tensor | None
    mix: Mix | None
    compiled: bool


def _epoch_batches(
    subset: Subset, recipe: StudentRecipe, seeds: Seeds, epoch: int, device: str
) -> list[_Batch]:
    """An epoch's batches with everything random about them drawn ahead and uploaded in bulk.

    On a GPU a transfer in every step would be one at which the host waits for the step before.
    """
    ids = subset.ids
    order = epoch_order(np.arange(len(ids)), seeds.order_seed, epoch)
    positions_n = torch.from_numpy(order).to(device, non_blocking=True)
    starts = range(0, len(ids), recipe.batch_size)
    augmented, mixed = recipe.augmentation == "dsa", recipe.augmentation == "cutmix"
    if augmented:
        operations = draw_operations(seeds.augment_seed, epoch, len(starts))
        drawn = draw_parameters(seeds.augment_seed, epoch, ids[order])
        uniform_n4 = torch.from_numpy(drawn).to(device, non_blocking=True)
    if mixed:
        sizes = [min(recipe.batch_size, len(ids) - start) for start in starts]
        height, width = subset.images_nchw.shape[2:]
        mixes = draw_mixes(seeds.augment_seed, epoch, sizes, height, width)
    partial = compiles_partial_batch(len(ids), recipe.batch_size, recipe.epochs)
    batches = []
    for number, start in enumerate(starts):
        stop = min(start + recipe.batch_size, len(ids))
        batches.append(
            _Batch(
                positions=positions_n[start:stop],
                operation=operations[number] if augmented else None,
                uniform_b4=uniform_n4[start:stop] if augmented else None,
                mix=mixes[number] if mixed else None,
                compiled=partial or stop - start == recipe.batch_size,
            )
        )
    return batches


class _Clock:
    """Splits a trial's time into steps, evaluation and the compilations inside them."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.seconds = {"compile": 0.0, "steps": 0.0, "evaluation": 0.0}
        self._since = time.perf_counter()
        self._compiled = network.compile_seconds

    def stop(self, part: str) -> None:
        """Count the time since the last stop to ``part``, less what went into compiling."""
        now, compiled = time.perf_counter(), self.network.compile_seconds
        spent, compiling = now - self._since, compiled - self._compiled
        self.seconds[part] += spent - compiling
        self.seconds["compile"] += compiling
        self._since, self._compiled = now, compiled
