"""The gradient of a trained student's loss with respect to the labels it was trained on.

In: a network, initial weights, target probabilities and the batches of its training. Out: dL / dY,
where L is the loss of the weights that come out and Y the targets: back-propagation through the
last ``window`` steps of SGD with momentum and weight decay, exact up to rounding.

The chain rule of each step is written out instead of left to one graph of all steps: going back,
step t needs the product of the loss's second derivatives at its weights with one direction: one
more backward pass, through the gradient, in which the derivative by Y comes along. Only the weights
of each step are kept (2 MB each for ConvNetD3), so memory is that of one step, whatever the window.
(The same product in forward mode, ``torch.func.jvp`` of ``grad``, took 1.5 times as long here.)

b batch, c channels, h and w pixels, n samples, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """torch's SGD: v ← momentum · v + gradient + weight_decay · w; w ← w - lr · v."""

    lr: float
    momentum: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class InnerBatch:
    """images_bchw: float, as the network sees them. rows_b: int64, their rows of the targets."""

    images_bchw: Tensor
    rows_b: Tensor


def student_loss(model: nn.Module, weights: Weights, images: Tensor, targets_bk: Tensor) -> Tensor:
    """The protocol's loss: mean cross-entropy against probabilities (or class indices)."""
    return F.cross_entropy(functional_call(model, weights, (images,)), targets_bk)


def label_gradient(
    model: nn.Module,
    weights: Weights,
    targets_nk: Tensor,
    batch_of: Callable[[int], InnerBatch],
    *,
    start: int,
    window: int,
    sgd: Sgd,
    outer_loss: Callable[[Weights], Tensor],
) -> tuple[Tensor, Tensor]:
    """Train ``start + window`` steps and differentiate the outcome through the last ``window``.

    Args:
        model: the network; its own weights are not used.
        weights: initial ones, by name; left as they are.
        targets_nk: probabilities of all samples.
        batch_of: step → its batch, the same whenever it is asked.
        start: steps before the window; the weights they lead to are taken for constants.
        window: steps that are differentiated, at least 1.
        sgd: the student's optimiser.
        outer_loss: trained weights → the loss to lower, a scalar.

    Returns:
        The outer loss (scalar) and its gradient by ``targets_nk``, (n, k).
    """
    targets_nk = targets_nk.detach()
    velocity = {name: torch.zeros_like(value) for name, value in weights.items()}
    path: list[Weights] = []
    for step in range(start + window):
        if step >= start:
            path.append(weights)
        batch = batch_of(step)
        found = _gradient(model, weights, batch.images_bchw, targets_nk[batch.rows_b])
        velocity = {
            name: sgd.momentum * velocity[name] + found[name] + sgd.weight_decay * weights[name]
            for name in weights
        }
        weights = {name: weights[name] - sgd.lr * velocity[name] for name in weights}

    leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
    loss = outer_loss(leaves)
    by_weights = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    by_velocity = {name: torch.zeros_like(value) for name, value in weights.items()}
    gradient_nk = torch.zeros_like(targets_nk)
    for step in reversed(range(start, start + window)):
        by_velocity = {n: by_velocity[n] - sgd.lr * by_weights[n] for n in by_weights}
        batch, before = batch_of(step), path.pop()
        curved, by_targets = _second_derivatives(
            model, before, batch.images_bchw, targets_nk[batch.rows_b], by_velocity
        )
        gradient_nk.index_add_(0, batch.rows_b, by_targets)
        by_weights = {
            name: by_weights[name] + curved[name] + sgd.weight_decay * by_velocity[name]
            for name in by_weights
        }
        by_velocity = {name: sgd.momentum * value for name, value in by_velocity.items()}
    return loss.detach(), gradient_nk


def _gradient(model: nn.Module, weights: Weights, images: Tensor, targets_bk: Tensor) -> Weights:
    leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
    loss = student_loss(model, leaves, images, targets_bk)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def _second_derivatives(
    model: nn.Module, weights: Weights, images: Tensor, targets_bk: Tensor, direction: Weights
) -> tuple[Weights, Tensor]:
    """The derivatives, by weights and by targets, of the gradient's product with ``direction``."""
    leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
    targets_bk = targets_bk.detach().requires_grad_()
    loss = student_loss(model, leaves, images, targets_bk)
    gradient = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
    *by_weights, by_targets = torch.autograd.grad(
        gradient,
        [*leaves.values(), targets_bk],
        [direction[name] for name in leaves],
        materialize_grads=True,
    )
    return dict(zip(leaves, by_weights, strict=True)), by_targets
