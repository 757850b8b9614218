"""How soft labels are: as the expert gave them, hard, flatter, sharper, smoothed.

n samples, k classes.
"""

from __future__ import annotations

import math

import numpy as np

from engine.errors import UsageError
from engine.experiments.label_transforms.registry import label_transform, require_share
from engine.experiments.label_transforms.samples import Probabilities, Samples
from engine.experiments.targets import hard_targets


@label_transform()
def soft(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """The expert's labels as they are."""
    return probabilities_nk


@label_transform(needs_expert=False)
def hard(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """The true class alone, one-hot."""
    return hard_targets(samples.labels, probabilities_nk.shape[1])


@label_transform()
def temperature(probabilities_nk: Probabilities, samples: Samples, value: float) -> Probabilities:
    """Flatter (value > 1) or sharper (value < 1): softmax(logits / value), from probabilities.

    Preserves the order of the classes.
    """
    require_temperature(value)
    with np.errstate(divide="ignore"):  # log 0 = -inf, which comes out as 0 again
        logits_nk = np.log(probabilities_nk.astype(np.float64)) / value
    powers_nk = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    return (powers_nk / powers_nk.sum(axis=1, keepdims=True)).astype(np.float32)


def require_temperature(value: float) -> None:
    """Raise UsageError unless a temperature is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"temperature:{value:g}: expected a finite number above 0")


@label_transform()
def smoothing(probabilities_nk: Probabilities, samples: Samples, eps: float) -> Probabilities:
    """A share ``eps`` of every label spread evenly over all classes (label smoothing).

    ``hard+smoothing:0.1`` is what is usually called so. Preserves the order of the classes; the
    entropy only grows.
    """
    require_share(f"smoothing:{eps:g}", eps)
    mixed_nk = (1 - eps) * probabilities_nk.astype(np.float64) + eps / probabilities_nk.shape[1]
    return mixed_nk.astype(np.float32)
