"""One student the plain way, in a process of its own: ``python -m benchmarks.plain_student JSON``.

What a script does that trains one student and ends: it reads the images, runs the teacher on its
subset, trains with a DataLoader over a TensorDataset, DSA as eager operations on the batch, in
fp32, and evaluates on the test images. The protocol is a student's here (`StudentRecipe`):
SGD with momentum and weight decay, a step schedule, cross-entropy against probabilities, the
partial last batch kept. Nothing is written; one line of JSON says what came out and where time
went. In its favour: images come as one uint8 array, decoded long before, and there is no validation
split to evaluate on.

Arrays: n images, k classes, h and w pixels, c channels.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.step_contestant import BATCH, MEAN, STD, plain_network
from engine.augment import OPERATIONS, apply_operation

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
DECAYS, DECAY = 4, 0.3


@dataclass(frozen=True, kw_only=True)
class PlainStudent:
    """What to train. ``images``: a folder with what `save_images` writes."""

    images: str
    checkpoint: str
    ipc: int
    seed: int
    epochs: int
    evaluations: int


def main(job: PlainStudent) -> dict[str, Any]:
    """Train one student; returns what `train` does."""
    torch.manual_seed(job.seed)
    folder = Path(job.images)
    train_nhwc, train_labels = (np.load(folder / f"train_{what}.npy") for what in ARRAYS)
    test_nhwc, test_labels = (np.load(folder / f"test_{what}.npy") for what in ARRAYS)
    ids = choose_subset(train_labels, job.ipc, np.random.default_rng(job.seed))
    images = normalised(train_nhwc[ids])
    teacher = plain_network()
    load_weights(teacher, load_file(job.checkpoint))
    subset = TensorDataset(images, label(teacher, images))
    test = TensorDataset(normalised(test_nhwc), torch.from_numpy(test_labels))
    student = plain_network()
    return train(
        student,
        subset,
        epochs=job.epochs,
        evaluations=job.evaluations,
        evaluate=lambda: accuracy(student, test),
    )


ARRAYS = ("images", "labels")


def save_images(
    folder: Path,
    split: str,
    images_nhwc: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
) -> None:
    """Put a split where `main` reads it: images uint8 (n, h, w, c), labels int64 (n,)."""
    np.save(folder / f"{split}_images.npy", images_nhwc)
    np.save(folder / f"{split}_labels.npy", labels)


def choose_subset(
    labels: npt.NDArray[np.int64], ipc: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Positions of ``ipc`` random images of every class: int64 (ipc × k,)."""
    members = (random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels))
    return np.concatenate([positions[:ipc] for positions in members])


def normalised(images_nhwc: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (n, h, w, c) → float32 (n, c, h, w)."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (MEAN, STD))
    images = torch.from_numpy(images_nhwc).permute(0, 3, 1, 2)
    return ((images / 255 - mean) / std).contiguous()


def load_weights(network: nn.Sequential, weights: dict[str, Tensor]) -> None:
    """Load an engine's ConvNet, whose last layer has a name of its own, into a plain network."""
    last = str(len(network) - 1)
    renamed = {
        name.removeprefix("features.").replace("classifier", last): tensor
        for name, tensor in weights.items()
    }
    network.load_state_dict(renamed)


@torch.no_grad()
def label(teacher: nn.Module, images_nchw: Tensor) -> Tensor:
    """The teacher's probabilities of normalised images: float32 (n, k)."""
    return torch.cat([teacher(batch).softmax(1) for batch in images_nchw.split(BATCH)])


@torch.no_grad()
def accuracy(network: nn.Module, images: TensorDataset) -> float:
    """Share of the images whose largest logit is at their label."""
    correct = 0
    for batch, labels in DataLoader(images, batch_size=BATCH):
        correct += int((network(batch).argmax(1) == labels).sum())
    return correct / len(images)


def augment(batch_bchw: Tensor) -> Tensor:
    """DSA: one operation for the batch, its parameters by sample."""
    names = list(OPERATIONS)
    operation = names[int(torch.randint(len(names), ()))]
    return apply_operation(operation, batch_bchw, torch.rand(len(batch_bchw), 4))


def train(
    network: nn.Module,
    subset: TensorDataset,
    *,
    epochs: int,
    evaluations: int,
    evaluate: Callable[[], float],
    augment: Callable[[Tensor], Tensor] = augment,
    batch_size: int = BATCH,
) -> dict[str, Any]:
    """Train a network in place.

    Args:
        subset: normalised images (n, c, h, w) and target probabilities (n, k), float32.
        evaluations: how often to evaluate, evenly spread, the last time after the last epoch.
        evaluate: the accuracy at that moment.
        augment: what happens to the images of a batch.

    Returns:
        ``steps``, ``images`` (trained on, in all), ``step_seconds``, ``evaluation_seconds``,
        ``accuracies`` and ``losses``, the mean over the last batch of every epoch.
    """
    loader = DataLoader(subset, batch_size=batch_size, shuffle=True)
    optimiser = torch.optim.SGD(
        network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, max(1, epochs // DECAYS), DECAY)
    evaluation_epochs = {round(epochs * (n + 1) / evaluations) for n in range(evaluations)}
    steps, losses, accuracies = 0, [], []
    step_seconds = evaluation_seconds = 0.0
    for epoch in range(1, epochs + 1):
        begin = time.perf_counter()
        for batch, probabilities in loader:
            loss = F.cross_entropy(network(augment(batch)), probabilities)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1
        schedule.step()
        losses.append(loss.item())
        step_seconds += time.perf_counter() - begin
        if epoch in evaluation_epochs:
            begin = time.perf_counter()
            accuracies.append(evaluate())
            evaluation_seconds += time.perf_counter() - begin
    return {
        "steps": steps,
        "images": epochs * len(subset),
        "step_seconds": step_seconds,
        "evaluation_seconds": evaluation_seconds,
        "accuracies": accuracies,
        "losses": losses,
    }


if __name__ == "__main__":
    print(json.dumps(main(PlainStudent(**json.loads(sys.argv[1])))))
