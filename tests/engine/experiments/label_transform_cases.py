"""Labels, samples and spellings that tests of label transforms share."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.experiments import Population, Samples

NUM_CLASSES = 6
SUPERCLASS_OF = np.array([4, 9, 4, 7, 9, 4])
"""Numbers with gaps, and one class alone in its superclass."""


def normalised(weights_nk: np.ndarray) -> np.ndarray:
    """Rows divided by their sums; a row of zeros becomes its first class alone."""
    weights_nk = np.array(weights_nk, dtype=np.float64)
    weights_nk[weights_nk.sum(axis=1) == 0, 0] = 1
    return (weights_nk / weights_nk.sum(axis=1, keepdims=True)).astype(np.float32)


probabilities = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 7), st.just(NUM_CLASSES)),
    # Ties and exact zeros are what ranks and ratios may stumble over.
    elements=st.one_of(st.sampled_from([0.0, 1e-6, 0.5, 1.0]), st.floats(1e-9, 1)),
).map(normalised)
seeds = st.integers(0, 2**32 - 1)
shares = st.sampled_from([0.0, 1.0]) | st.floats(0, 1).map(lambda share: round(share, 6))


def population(seed: int = 0, num_classes: int = NUM_CLASSES) -> Population:
    """What forty labels a class have in common, by loops; class 1 is never named in class 0."""
    generator = np.random.default_rng(seed)
    means = np.zeros((num_classes, num_classes))
    together = np.zeros((num_classes, num_classes))
    for c in range(num_classes):
        for _ in range(40):
            label = generator.random(num_classes) ** 3
            label[c] += 1
            label[1] *= c != 0
            label /= label.sum()
            means[c] += label / 40
            together += np.outer(label, label) / (40 * num_classes)
    return Population(
        class_means_kk=means.astype(np.float32), co_occurrence_kk=together.astype(np.float32)
    )


POPULATION = population()


def samples(count: int, seed: int = 0, num_classes: int = NUM_CLASSES) -> Samples:
    """Samples of all classes, class 0 among the first; their ids far apart and out of order."""
    ids = (np.arange(count) * 7919 + 11) % 10_007
    return Samples(
        labels=np.arange(count) * 5 % num_classes,
        ids=ids,
        seed=seed,
        superclass_of=SUPERCLASS_OF if num_classes == NUM_CLASSES else np.arange(num_classes) // 5,
        population=POPULATION if num_classes == NUM_CLASSES else population(0, num_classes),
    )


def rows_of(of: Samples, rows: np.ndarray) -> Samples:
    """Some of the samples, in that order."""
    return replace(of, labels=of.labels[rows], ids=of.ids[rows])


def _several(form: str, *values: st.SearchStrategy) -> st.SearchStrategy[str]:
    return st.tuples(*values).map(lambda given: form.format(*given))


classes = st.integers(0, NUM_CLASSES - 1)

row_by_row = st.one_of(
    st.sampled_from(
        ["soft", "hard", "shuffle-tail", "within-superclasses", "between-superclasses"]
    ),
    _several("swap-ith:{}", st.integers(1, NUM_CLASSES - 1)),
    _several("top-k:{}", st.integers(1, NUM_CLASSES)),
    _several("smoothing:{}", shares),
    _several("uniform-noise:{}", shares),
    _several("generated:{}", shares),
    _several("class-imbalanced:{}", shares),
    _several("drop-class-column:{}", classes),
)
"""Transforms whose rows depend on their own sample alone, without temperature."""

of_the_population = st.sampled_from(["class-mean", "co-occurrence", "residual"])
among_the_given = _several("noise-lowest-entropy:{},{}", shares, shares)
truncated = _several("top-k:{},keep", st.integers(1, NUM_CLASSES))
temperatures = st.floats(0.25, 8.0)
softened = _several("temperature:{}", temperatures)

compositions = st.tuples(
    st.lists(softened, max_size=1),
    st.lists(of_the_population, max_size=1),
    st.lists(st.one_of(row_by_row, among_the_given), max_size=3),
).map(lambda parts: "+".join(itertools.chain(*parts)) or "soft")
"""Whatever may be written, with a temperature at the head at most."""
