"""Accuracy of a network on images held in memory or streamed, of all or of each class.

b images of a batch, k classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from engine.loading import Batch
from engine.training.step import Network

EVALUATION_BATCH = 500


@torch.no_grad()
def count_correct(network: Network, batches: Iterable[Batch]) -> Tensor:
    """How many images have their largest logit at their label: a scalar int64 tensor.

    The un-augmented view is used, in the precision the network trains in. A last batch of
    another size runs eagerly: it occurs once an evaluation and is not worth a compilation.
    """
    correct = torch.zeros((), dtype=torch.long, device=network.device)
    for _, is_right in _verdicts(network, batches):
        correct += is_right.sum()
    return correct


@torch.no_grad()
def count_correct_by_class(
    network: Network, batches: Iterable[Batch], num_classes: int
) -> tuple[Tensor, Tensor]:
    """How many images of each class are right, as in :func:`count_correct`, and how many there are.

    Two int64 tensors (k,). To count by class costs nothing beside the forward pass.
    """
    correct, images = torch.zeros((2, num_classes), dtype=torch.long, device=network.device)
    for labels, is_right in _verdicts(network, batches):
        correct.index_add_(0, labels, is_right.long())
        images.index_add_(0, labels, torch.ones_like(labels))
    return correct, images


def _verdicts(network: Network, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """Labels of every batch (b,) int64, and whether the network is right of each, (b,) bool."""
    network.model.eval()
    full: int | None = None
    for batch in batches:
        full = full or len(batch.labels)
        if len(batch.labels) == 0:
            continue
        logits = network.logits(network.normalise(batch.images), compiled=len(batch.labels) == full)
        labels = batch.labels.to(network.device)
        yield labels, logits.argmax(1) == labels
    network.model.train()
