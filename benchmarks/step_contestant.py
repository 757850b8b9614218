"""One way of training ConvNetD3, in a process of its own: ``python -m … WAY IMAGES``.

Warms up, prints one line of JSON about itself, then for every line on standard input (seconds)
trains for about that long and prints ``{"images_per_second": …}``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from engine.augment import OPERATIONS, apply_operation

CLASSES, SIDE, BATCH = 100, 32, 256
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

Epoch = Callable[[], int]
"""Trains one epoch and returns the number of images."""


def main() -> None:
    """Serve bursts of the way named on the command line."""
    way, images = sys.argv[1], int(sys.argv[2])
    epoch, about = WAYS[way](images)
    for _ in range(2):
        epoch()
    print(json.dumps(about() if callable(about) else about), flush=True)
    for line in sys.stdin:
        seen, started = 0, time.perf_counter()
        while time.perf_counter() - started < float(line):
            seen += epoch()
        seconds = time.perf_counter() - started
        print(json.dumps({"images_per_second": seen / seconds}), flush=True)


def training_set(images: int) -> tuple[Tensor, Tensor]:
    """uint8 (n, 3, 32, 32) and probabilities float32 (n, 100); speed does not hang on content."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)
    logits = torch.randn(images, CLASSES, generator=generator)
    return pixels.permute(0, 3, 1, 2), logits.softmax(1)


def ours(images: int) -> tuple[Epoch, Any]:
    """The engine: the student's loop for a student's set, the expert's for a larger one."""
    from engine.training.precision import choose_arithmetic, keep_freed_memory

    keep_freed_memory()
    arithmetic = choose_arithmetic()
    pixels, targets = training_set(images)
    epoch, network = (
        _our_expert(pixels, targets, arithmetic)
        if images > 1000
        else _our_student(pixels, targets, arithmetic)
    )
    about = lambda: {  # noqa: E731 - asked once the network has compiled
        "precision": arithmetic.precision,
        "compile_seconds": network.compile_seconds,
    }
    return epoch, about


def _our_student(pixels: Tensor, targets: Tensor, arithmetic: Any) -> tuple[Epoch, Any]:
    from engine.training import Seeds, StudentRecipe, StudentTrainer
    from engine.training.student import Subset

    trainer = StudentTrainer(
        "convnet-d3",
        num_classes=CLASSES,
        channels=3,
        resolution=SIDE,
        mean=MEAN,
        std=STD,
        arithmetic=arithmetic,
    )
    subset = Subset(images_nchw=pixels, targets_nk=targets, ids=np.arange(len(pixels)))
    recipe = StudentRecipe(epochs=max(1, 1000 // len(pixels)), evaluations=1)

    def epoch() -> int:
        trainer.train(subset, recipe, Seeds(), lambda _network: {"test": None, "validation": None})
        return recipe.epochs * len(pixels)

    return epoch, trainer.network


def _our_expert(pixels: Tensor, targets: Tensor, arithmetic: Any) -> tuple[Epoch, Any]:
    from engine.loading import Resident
    from engine.models import build_model
    from engine.training.expert_training import train_one_epoch
    from engine.training.optimise import Optimiser, make_optimiser
    from engine.training.recipe import ExpertRecipe
    from engine.training.step import Network, TrainingStep

    ids = torch.arange(len(pixels))
    resident = Resident(pixels, targets.argmax(1), ids)
    model = build_model("convnet-d3", num_classes=CLASSES, channels=3, resolution=SIDE, init_seed=0)
    network = Network(model, arithmetic, MEAN, STD)
    optimiser = make_optimiser(model.parameters(), Optimiser(), 0.01)
    step = TrainingStep(network, optimiser)
    counter: Iterator[int] = iter(range(10**9))

    def epoch() -> int:
        train_one_epoch(
            step,
            resident,
            ids.numpy(),
            ExpertRecipe(),
            seed=0,
            epoch=next(counter),
            num_classes=CLASSES,
            progress=lambda _seen: None,
        )
        return len(pixels)

    return epoch, network


def plain_network() -> nn.Sequential:
    """ConvNetD3 from torch's own modules."""
    layers: list[nn.Module] = []
    for channels in (3, 128, 128):
        layers += [
            nn.Conv2d(channels, 128, 3, padding=1),
            nn.GroupNorm(128, 128),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, CLASSES))


def plain(images: int, *, compiled: bool) -> tuple[Epoch, Any]:
    """The way a tutorial writes it; normalised float32 images lie in memory, no workers needed."""
    pixels, targets = training_set(images)
    shape = (1, 3, 1, 1)
    normalised = (pixels / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)
    dataset = TensorDataset(normalised.contiguous(), targets)
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True)
    network: nn.Module = plain_network()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    if compiled:
        network = torch.compile(network, dynamic=False)  # type: ignore[assignment]
    names = list(OPERATIONS)

    def epoch() -> int:
        for batch, probabilities in loader:
            operation = names[int(torch.randint(len(names), ()))]
            augmented = apply_operation(operation, batch, torch.rand(len(batch), 4))
            # Strides differ between the operations, and every stride would be compiled for.
            loss = F.cross_entropy(network(augmented.contiguous()), probabilities)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return images

    return epoch, {"compiled": compiled}


def convolutions(images: int) -> tuple[Epoch, Any]:
    """The network's convolutions alone, forward and backward, in the precision that we use."""
    from engine.training.precision import choose_arithmetic, keep_freed_memory

    keep_freed_memory()
    dtype = torch.bfloat16 if choose_arithmetic().precision == "bf16" else torch.float32
    sizes = {min(BATCH, images - start) for start in range(0, images, BATCH)}
    layers = {size: list(_convolution_inputs(size, dtype)) for size in sizes}

    def epoch() -> int:
        for start in range(0, images, BATCH):
            for x, weight, bias, gradient, first in layers[min(BATCH, images - start)]:
                F.conv2d(x, weight, bias, padding=1)
                torch.ops.aten.convolution_backward(
                    gradient,
                    x,
                    weight,
                    [128],
                    [1, 1],
                    [1, 1],
                    [1, 1],
                    False,
                    [0, 0],
                    1,
                    [not first, True, True],
                )
        return images

    return epoch, {"dtype": str(dtype)}


def _convolution_inputs(
    batch: int, dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, bool]]:
    last = torch.channels_last
    for channels, side in ((3, 32), (128, 16), (128, 8)):
        x = torch.randn(batch, channels, side, side).to(dtype).contiguous(memory_format=last)
        weight = torch.randn(128, channels, 3, 3).to(dtype).contiguous(memory_format=last)
        gradient = torch.randn(batch, 128, side, side).to(dtype).contiguous(memory_format=last)
        yield x, weight, torch.zeros(128, dtype=dtype), gradient, channels == 3


WAYS: dict[str, Callable[[int], tuple[Epoch, Any]]] = {
    "ours": ours,
    "eager_fp32": lambda images: plain(images, compiled=False),
    "compiled_fp32": lambda images: plain(images, compiled=True),
    "convolutions": convolutions,
}

if __name__ == "__main__":
    main()
