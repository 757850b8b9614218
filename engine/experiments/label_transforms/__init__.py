"""What becomes of an expert's labels before a student sees them: pure functions by name.

In: probabilities, the samples they describe and a seed. Out: probabilities of the same shape. A
transform is written as its name with parameters (`temperature:2.0`), several in the order in which
they are applied (`temperature:2.0+hard`). Adding one is one decorated function in a file of its
family, named below; its parameters are those of the function, and their annotations (int, float,
str, bool) say how they are read.

Families: ``softness`` (soft, hard, temperature, smoothing), ``ranks`` (swap-ith, shuffle-tail,
top-k), ``noise`` (uniform-noise, noise-lowest-entropy), ``invented`` (generated, class-imbalanced),
``zero_shot`` (drop-class-column), ``superclasses`` (within- and between-superclasses) and
``class_structure`` (class-mean, co-occurrence, residual). An *ensemble* is no transform: it has
more than one expert or epoch, and is an axis of the grid (`engine.sweep.planning.grid`).

Temperature belongs to the logits. At the head of a composition it is handed to whoever turns
logits into probabilities (:attr:`LabelTransform.temperature`), which loses nothing to rounding;
further on it takes the probabilities to the power 1 / T, which is the same function.

What a transform draws is keyed on (seed, sample id), so a row of the result depends on its own
sample alone. The exceptions say so: noise-lowest-entropy ranks the rows it is given, and
``class_structure`` reads what all labels of the expert have in common (:class:`Population`).

Cost of a call, on one core: 35 ms at most for 5,000 × 100, 6 s at most for 50,000 × 1,000, once
before a student trains for minutes or hours.

n samples, k classes.
"""

from engine.experiments.label_transforms import (
    class_structure,
    invented,
    noise,
    ranks,
    softness,
    superclasses,
    zero_shot,
)
from engine.experiments.label_transforms.composition import LabelTransform, parse_label_transform
from engine.experiments.label_transforms.registry import label_transform, label_transform_forms
from engine.experiments.label_transforms.samples import Population, Probabilities, Samples

FAMILIES = (softness, ranks, noise, invented, zero_shot, superclasses, class_structure)
"""Modules whose transforms are known by name as soon as this room is imported."""

__all__ = [
    "FAMILIES",
    "LabelTransform",
    "Population",
    "Probabilities",
    "Samples",
    "label_transform",
    "label_transform_forms",
    "parse_label_transform",
]
