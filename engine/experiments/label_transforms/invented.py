"""Soft labels without an expert: a mass for the true class, and something for the rest.

n samples, k classes.
"""

from __future__ import annotations

import numpy as np

from engine.errors import UsageError
from engine.experiments.label_transforms.registry import label_transform, require_share
from engine.experiments.label_transforms.samples import (
    Probabilities,
    Samples,
    Weights,
    draw_rows,
    with_own_mass,
)


@label_transform(needs_expert=False)
def generated(probabilities_nk: Probabilities, samples: Samples, p: float) -> Probabilities:
    """The true class gets p, the others uniform random numbers that sum to 1 - p (Fig. 3a).

    Drawn from (seed, sample id). What comes in has no influence. The true class has mass p in every
    label, and is the top class where p > 1/2.
    """
    num_classes = probabilities_nk.shape[1]
    _require_mass(f"generated:{p:g}", p, num_classes)
    drawn_nk = draw_rows("generated", samples.seed, samples.ids, num_classes)
    return with_own_mass(p, drawn_nk, samples)


@label_transform(needs_expert=False)
def class_imbalanced(probabilities_nk: Probabilities, samples: Samples, p: float) -> Probabilities:
    """The true class gets p, the others share 1 - p by one long-tailed distribution over classes.

    Structure without meaning: the distribution is the same for all samples of a seed, 1 / rank with
    the ranks of the classes drawn from the seed (Zipf's law), less the true class. What comes in
    has no influence. The true class has mass p in every label, and is the top class where p > 1/2.
    """
    num_classes = probabilities_nk.shape[1]
    _require_mass(f"class-imbalanced:{p:g}", p, num_classes)
    tail_nk = np.broadcast_to(_long_tail(samples.seed, num_classes), probabilities_nk.shape)
    return with_own_mass(p, tail_nk, samples)


def _long_tail(seed: int, num_classes: int) -> Weights:
    drawn = draw_rows("class-imbalanced", seed, np.arange(num_classes), 1)[:, 0]
    weights = np.empty(num_classes)
    weights[drawn.argsort(kind="stable")] = 1 / np.arange(1, num_classes + 1)
    return weights


def _require_mass(written: str, mass: float, num_classes: int) -> None:
    require_share(written, mass)
    if num_classes < 2 and mass != 1:
        raise UsageError(f"{written}: expected another class for the rest, found one class alone")
