"""What one rank does to train an expert: from its last checkpoint to the next, epoch by epoch.

Every global batch is the same for any number of ranks, and everything random is keyed on
(seed, epoch, batch or sample), so a resumed run continues as if never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

import beton_builder
from engine.augment import draw_operations, draw_parameters
from engine.errors import RankError, TrainingDiverged
from engine.loading import Resident, Streaming, open_images
from engine.models import build_model
from engine.training.checkpoint import optimiser_tensors, restore_optimiser
from engine.training.evaluate import EVALUATION_BATCH, count_correct
from engine.training.expert_run import ExpertRun, open_run
from engine.training.launch import Progress
from engine.training.optimise import make_optimiser, set_learning_rate
from engine.training.precision import Arithmetic, choose_arithmetic
from engine.training.recipe import ExpertRecipe
from engine.training.step import Network, TrainingStep, compiles_partial_batch, seeded_dropout

if TYPE_CHECKING:
    from accelerate import Accelerator


def training_indices(
    dataset: beton_builder.Dataset, recipe: Mapping[str, Any]
) -> npt.NDArray[np.int64]:
    """Sample ids to train on, (n,) int64: all, or all but validation's where they are held out."""
    every = np.arange(dataset.split("train").num_samples, dtype=np.int64)
    return np.setdiff1d(every, dataset.validation_indices) if recipe["hold_out"] else every


def train_on_rank(
    data: str, out: str, epochs: int, processes: int, *, progress: Progress
) -> dict[str, Any]:
    """Train the run at ``out`` to ``epochs`` epochs, as one of ``processes`` ranks."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    if processes > 1 and accelerator.num_processes != processes:
        raise RankError(
            f"asked for {processes} ranks, but Accelerate sees {accelerator.num_processes}"
        )
    training = _ExpertTraining(data, out, epochs, accelerator)
    training.start()
    while training.epoch < epochs:
        training.train_epoch(progress)
    return {"epoch": training.epoch}


class _ExpertTraining:
    """An expert's training on one rank: the state between two epochs, and the way to the next."""

    def __init__(self, data: str, out: str, epochs: int, accelerator: Accelerator) -> None:
        self.dataset = beton_builder.open_dataset(data)
        self.run: ExpertRun = open_run(out)
        self.accelerator = accelerator
        self.epochs = epochs
        recipe = self.run.manifest["recipe"]
        self.recipe = ExpertRecipe.model_validate(recipe | {"epochs": epochs})
        self.seed = int(self.run.manifest["seed"])
        self.indices = training_indices(self.dataset, recipe)
        resolution = self.recipe.resolution
        assert resolution is not None
        self.images = open_images(
            self.dataset, "train", resolution=resolution, view=image_view(self.recipe)
        )
        self.evaluation_images = self._open_evaluation_images(resolution)
        self.arithmetic = self._choose_arithmetic()
        model = build_model(
            self.recipe.model,
            num_classes=self.dataset.num_classes,
            channels=self.dataset.channels,
            resolution=resolution,
            init_seed=self.seed,
        )
        self.network = Network(
            model,
            self.arithmetic,
            self.dataset.mean,
            self.dataset.std,
            self.dataset.whitening(),
        )
        self.optimiser = make_optimiser(
            self.network.model.parameters(), self.recipe.optimiser, self.recipe.lr
        )
        self.network.train_through(accelerator.prepare(self.network.forward))
        self.epoch = 0

    def _open_evaluation_images(
        self, resolution: int
    ) -> dict[str, tuple[Resident | Streaming, npt.NDArray[np.int64]]]:
        """Images to evaluate on and their sample ids, by the name of the accuracy."""
        found = {}
        held_out = self.dataset.validation_indices
        if self.recipe.hold_out and len(held_out):
            images = open_images(
                self.dataset, "train", indices=held_out, resolution=resolution, view="plain"
            )
            found["validation_accuracy"] = images, held_out
        if self.dataset.has_split("test"):
            every = np.arange(self.dataset.split("test").num_samples, dtype=np.int64)
            images = open_images(self.dataset, "test", resolution=resolution, view="plain")
            found["test_accuracy"] = images, every
        return found

    def _choose_arithmetic(self) -> Arithmetic:
        """The precision the run began in, or rank 0's choice: one for all epochs and ranks."""
        done = self.run.epochs()
        asked = self.recipe.precision
        if done:
            asked = self.run.record(done[-1])["environment"]["precision"]
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            # Always: rank 0 may have written epoch 0 by the time another rank looks for it.
            asked = broadcast_object_list([choose_arithmetic(asked).precision])[0]
        return choose_arithmetic(asked)

    def start(self) -> None:
        """Continue after the last complete epoch, or write epoch 0: the initial weights."""
        done = self.run.epochs()
        if done:
            self.epoch = done[-1]
            self.network.load_weights(self.run.weights(self.epoch))
            restore_optimiser(self.optimiser, self.run.state(self.epoch))
        else:
            self._write({})
        self.accelerator.wait_for_everyone()

    def train_epoch(self, progress: Progress) -> None:
        """One epoch of training, evaluation, and its checkpoint."""
        rate = self.recipe.schedule.learning_rate(self.recipe.lr, self.epoch)
        set_learning_rate(self.optimiser, rate)
        step = TrainingStep(self.network, self.optimiser, self.accelerator)
        started, compiling = time.perf_counter(), self.network.compile_seconds
        total = len(self.indices)

        def at(seen: int) -> None:
            progress("train expert", self.epoch * total + seen, self.epochs * total)

        sums = train_one_epoch(
            step,
            self.images,
            self.indices,
            self.recipe,
            seed=self.seed,
            epoch=self.epoch,
            num_classes=self.dataset.num_classes,
            progress=at,
        )
        compiling = self.network.compile_seconds - compiling
        seconds = time.perf_counter() - started - compiling
        sums = self._summed(sums)
        self.epoch += 1
        mean_loss = float(sums[0]) / total
        if not math.isfinite(mean_loss):
            raise TrainingDiverged(
                f"the loss was {mean_loss} in epoch {self.epoch}; lower the learning rate "
                f"(it is {rate:g}). The epochs before it are kept in {self.run.path}."
            )
        self._write(
            {
                "learning_rate": rate,
                "train_loss": mean_loss,
                "train_accuracy": float(sums[1]) / total,
                "test_accuracy": None,
                **self._accuracies(),
                "seconds": seconds,
                "compile_seconds": compiling,
                "images_per_second": total / seconds,
            }
        )

    def _accuracies(self) -> dict[str, float]:
        if self.accelerator.num_processes > 1:
            # Batch norm's statistics differ between ranks until DDP's next training step.
            for buffer in self.network.model.buffers():
                torch.distributed.broadcast(buffer, 0)
        accuracies = {}
        for name, (images, ids) in self.evaluation_images.items():
            with images.batches(
                ids,
                batch_size=EVALUATION_BATCH,
                view="plain",
                shuffle=False,
                rank=self.accelerator.process_index,
                world=self.accelerator.num_processes,
            ) as batches:
                correct = count_correct(self.network, batches)
            accuracies[name] = float(self._summed(correct.double())) / len(ids)
        return accuracies

    def _summed(self, values: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return values
        summed: Tensor = self.accelerator.reduce(values, reduction="sum")
        return summed

    def _write(self, metrics: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            self.run.write_epoch(
                self.epoch,
                self.network.model.state_dict(),
                optimiser_tensors(self.optimiser),
                metrics,
                self.arithmetic.describe() | {"ranks": self.accelerator.num_processes},
            )


def train_one_epoch(
    step: TrainingStep,
    images: Resident | Streaming,
    indices: npt.NDArray[np.int64],
    recipe: ExpertRecipe,
    *,
    seed: int,
    epoch: int,
    num_classes: int,
    progress: Callable[[int], None],
) -> Tensor:
    """Take every step of one epoch on this rank's share of each batch.

    Args:
        step: network and optimiser.
        images: the opened train split.
        indices: (n,) int64 sample ids to train on.
        recipe: batch size and augmentation.
        seed, epoch: key of everything random.
        num_classes: length of the one-hot targets.
        progress: called with the number of images that all ranks have seen.

    Returns:
        float64 (2,): sum of losses and number of correct predictions over this rank's images.
    """
    device = step.network.device
    batch_size, total = recipe.batch_size, len(indices)
    rank, world = step.rank, step.world
    augmented = recipe.augmentation == "dsa"
    operations = draw_operations(seed, epoch, -(-total // batch_size)) if augmented else []
    partial = compiles_partial_batch(total, batch_size)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    step.network.model.train()
    with (
        seeded_dropout(seed, epoch),
        images.batches(
            indices,
            batch_size=batch_size,
            view=image_view(recipe),
            seed=seed,
            epoch=epoch,
            augment_seed=seed,
            rank=rank,
            world=world,
        ) as batches,
    ):
        for number, batch in enumerate(batches):
            global_size = min(batch_size, total - number * batch_size)
            uniform = None
            if augmented:
                drawn = draw_parameters(seed, epoch, batch.ids.cpu().numpy())
                uniform = torch.from_numpy(drawn).to(device, non_blocking=True)
            labels = batch.labels.to(device, non_blocking=True)
            loss, logits = step(
                batch.images,
                F.one_hot(labels, num_classes).float(),
                operation=operations[number] if augmented else None,
                uniform_b4=uniform,
                weight=len(labels) * world / global_size,
                compiled=partial or global_size == batch_size,
            )
            sums[0] += loss * len(labels)
            sums[1] += (logits.argmax(1) == labels).sum()
            progress(number * batch_size + global_size)
    return sums


def image_view(recipe: ExpertRecipe) -> str:
    """Which view of the images the loader gives: random crops, or whole images."""
    return "train" if recipe.augmentation == "random-resized-crop" else "plain"
