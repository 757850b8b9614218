"""Labels taken apart: what all samples of a class share, and what is a sample's own.

All three read `Population`, the expert's labels of all images that students may see, so they need
the expert, and nothing but a temperature may stand before them. In labels that samples share, the
true class is nearly always the top class (CIFAR-100, expert epoch 15: in 98 %, against 37 % of the
expert's own), which helps a student for a reason of its own. n samples, k classes.
"""

from __future__ import annotations

import numpy as np

from engine.experiments.label_transforms.registry import label_transform
from engine.experiments.label_transforms.samples import Probabilities, Samples, with_own_mass


@label_transform(needs_population=True)
def class_mean(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """Every sample gets the mean label of its class: class similarity, and nothing of the sample.

    Preserves, on average over a class, the mass of every class; nothing of a single label.
    """
    assert samples.population is not None
    return samples.population.class_means_kk[samples.labels]


@label_transform(needs_population=True)
def co_occurrence(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """The rest follows how often classes are named together, whatever the image is of.

    A sample of class c keeps the probability that c has in its class's mean label; the rest is
    spread in proportion to row c of the mean of p_i p_j over all images, without the diagonal.
    Preserves the true class's mass on average over a class; equal for all samples of a class.
    """
    assert samples.population is not None
    means_kk, together_kk = samples.population.class_means_kk, samples.population.co_occurrence_kk
    own_n = means_kk[samples.labels, samples.labels]
    return with_own_mass(own_n, together_kk[samples.labels], samples)


@label_transform(needs_population=True)
def residual(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """What is the sample's own: its label with the structure of its class divided out of the tail.

    With p the label of a sample of class c and m the mean label of that class, the true class keeps
    p_c and every other class j gets (1 - p_c) · r_j / Σ r, r_j = p_j / m_j: in logits, the mean's
    are subtracted. A sample whose tail is its class's mean tail gets an even one. Where m_j is 0,
    which means that the expert never names j in this class, r_j is 0. Preserves the true class's
    mass; neither entropy nor top class.
    """
    assert samples.population is not None
    means_nk = samples.population.class_means_kk[samples.labels].astype(np.float64)
    exact_nk = probabilities_nk.astype(np.float64)
    ratios_nk = np.divide(exact_nk, means_nk, out=np.zeros_like(exact_nk), where=means_nk > 0)
    own_n = probabilities_nk[samples.rows, samples.labels]
    return with_own_mass(own_n, ratios_nk, samples)
