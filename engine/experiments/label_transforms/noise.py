"""Labels mixed with random ones: (1 - alpha) · label + alpha · noise.

Noise is uniform numbers, normalised, one row for each (seed, sample id). n samples, k classes.
"""

from __future__ import annotations

import numpy as np

from engine.experiments.label_transforms.registry import label_transform, require_share
from engine.experiments.label_transforms.samples import (
    Probabilities,
    Samples,
    Weights,
    draw_rows,
)


@label_transform()
def uniform_noise(probabilities_nk: Probabilities, samples: Samples, alpha: float) -> Probabilities:
    """Noise mixed into every label; ``alpha`` is its share, and 1 leaves nothing else.

    Preserves neither entropy nor top class; the true class keeps 1 - alpha of its mass, and gets
    alpha / k on average. ``hard+uniform-noise:1`` is pure noise without asking an expert.
    """
    require_share(f"uniform-noise:{alpha:g}", alpha)
    return _mixed(probabilities_nk, samples, "uniform-noise", alpha)


@label_transform()
def noise_lowest_entropy(
    probabilities_nk: Probabilities, samples: Samples, share: float, alpha: float
) -> Probabilities:
    """Noise mixed into the labels of lowest entropy alone (the paper's Fig. 4).

    Args:
        probabilities_nk: float32 (n, k).
        samples: n of them.
        share: of the rows given, from 0 to 1; rounded to whole rows, halves up. Of equal entropies
            the lower sample id comes first.
        alpha: share of the noise in those labels.

    Which rows are changed depends on the other rows given; the noise of each does not, and more of
    them are a larger share of the same order. Preserves all other rows as they are.
    """
    require_share(f"noise-lowest-entropy:{share:g},{alpha:g}", share)
    require_share(f"noise-lowest-entropy:{share:g},{alpha:g}", alpha)
    count = int(share * len(probabilities_nk) + 0.5)
    chosen = np.lexsort((samples.ids, entropy(probabilities_nk)))[:count]
    few = Samples(labels=samples.labels[chosen], ids=samples.ids[chosen], seed=samples.seed)
    noisy_nk = probabilities_nk.copy()
    noisy_nk[chosen] = _mixed(probabilities_nk[chosen], few, "noise-lowest-entropy", alpha)
    return noisy_nk


def entropy(probabilities_nk: Probabilities) -> Weights:
    """Shannon entropy of each row in nats, (n,) float64; 0 log 0 is 0."""
    # Added in order of size, so that labels of the same numbers have equal entropies.
    exact_nk = np.sort(probabilities_nk, axis=1).astype(np.float64)
    logs_nk = np.log(exact_nk, out=np.zeros_like(exact_nk), where=exact_nk > 0)
    return -(exact_nk * logs_nk).sum(axis=1)


def _mixed(
    probabilities_nk: Probabilities, samples: Samples, what: str, alpha: float
) -> Probabilities:
    noise_nk = draw_rows(what, samples.seed, samples.ids, probabilities_nk.shape[1])
    noise_nk *= alpha / noise_nk.sum(axis=1, keepdims=True)
    noise_nk += (1 - alpha) * probabilities_nk.astype(np.float64)
    return noise_nk.astype(np.float32)
