"""Accuracy of a network on images held in memory or streamed."""

from __future__ import annotations

from collections.abc import Iterable

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
    network.model.eval()
    correct = torch.zeros((), dtype=torch.long, device=network.device)
    full: int | None = None
    for batch in batches:
        full = full or len(batch.labels)
        if len(batch.labels) == 0:
            continue
        logits = network.logits(network.normalise(batch.images), compiled=len(batch.labels) == full)
        correct += (logits.argmax(1) == batch.labels.to(network.device)).sum()
    network.model.train()
    return correct
