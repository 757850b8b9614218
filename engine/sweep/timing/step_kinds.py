"""What a trial's time is made of: steps of a few kinds, each taken many times.

In: trials. Out: how many steps of each kind they take, what a step costs in floating-point
operations, and which kinds are worth measuring. Pace and estimates are built on these.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.models import build_model
from engine.sweep.planning.trial import Trial
from engine.training.step import compiles_partial_batch

UNCOMPILED_COSTS = 4.0
"""Guess of an uncompiled step's time over a compiled one's, to choose what to measure by."""

ENOUGH = 0.99
"""Share of the work beyond which further kinds of steps are not worth measuring."""


class NetworkKind(NamedTuple):
    """What the cost of an image depends on."""

    model: str
    resolution: int
    channels: int
    num_classes: int


class StepKind(NamedTuple):
    """What the cost of a step depends on. ``compiled``: False for a rare partial last batch."""

    network: NetworkKind
    batch_size: int
    compiled: bool
    augmentation: str


class Flops(NamedTuple):
    """Floating-point operations an image; a multiplication and its addition are two."""

    forward: int
    training: int


def network_of(trial: Trial) -> NetworkKind:
    """The network of a trial, with what its images and classes ask of it."""
    return NetworkKind(*trial.shape[:4])


def steps_of(trial: Trial) -> dict[StepKind, int]:
    """How many steps of each kind a trial takes."""
    full, *partial = trial.shape.batch_sizes
    network, recipe = network_of(trial), trial.student
    kind = StepKind(network, full, True, recipe.augmentation)
    steps = {kind: trial.num_images // full * recipe.epochs}
    for size in partial:
        compiled = compiles_partial_batch(trial.num_images, recipe.batch_size, recipe.epochs)
        steps[kind._replace(batch_size=size, compiled=compiled)] = recipe.epochs
    return steps


def steps_of_all(trials: Iterable[Trial]) -> Counter[StepKind]:
    """How many steps of each kind trials take together."""
    total: Counter[StepKind] = Counter()
    for trial in trials:
        total.update(steps_of(trial))
    return total


def steps_to_measure(steps: Mapping[StepKind, int], most: int) -> list[StepKind]:
    """The kinds that carry nearly all work, at most so many; each network's largest come first."""
    work = {kind: _guessed_work(kind) * count for kind, count in steps.items()}
    by_work = sorted(work, key=lambda kind: -work[kind])
    largest = {kind.network: kind for kind in reversed(by_work)}
    by_worth = sorted(by_work, key=lambda kind: largest[kind.network] != kind)
    chosen: list[StepKind] = []
    while by_worth and len(chosen) < most:
        if sum(work[kind] for kind in chosen) >= ENOUGH * sum(work.values()):
            break
        chosen.append(by_worth.pop(0))
    return chosen


def step_flops(kind: StepKind) -> int:
    """Floating-point operations of a step: forward and backward pass of its images."""
    return flops_per_image(kind.network).training * kind.batch_size


@functools.cache
def flops_per_image(network: NetworkKind) -> Flops:
    """Counted from the network itself; convolutions and matrix products alone, as is usual."""
    images = 2  # batch norm refuses to train on one
    model = build_model(network.model, init_seed=0, **_build_arguments(network)).to("meta")
    shape = (images, network.channels, network.resolution, network.resolution)
    batch = torch.empty(shape, device="meta")
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(batch)
    with FlopCounterMode(display=False) as training:
        model(batch).sum().backward()
    return Flops(forward.get_total_flops() // images, training.get_total_flops() // images)


def _build_arguments(network: NetworkKind) -> dict[str, int]:
    return {
        "num_classes": network.num_classes,
        "channels": network.channels,
        "resolution": network.resolution,
    }


def _guessed_work(kind: StepKind) -> float:
    return step_flops(kind) * (1.0 if kind.compiled else UNCOMPILED_COSTS)
