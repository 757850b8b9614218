"""Which images a student sees, and what becomes of their labels: pure functions by name."""

from engine.experiments.label_transforms import (
    LabelTransform,
    Population,
    Samples,
    label_transform,
    label_transform_forms,
    parse_label_transform,
)
from engine.experiments.selection import (
    Pool,
    Selection,
    centred,
    parse_selection,
    select_random,
    selection,
    selection_forms,
)
from engine.experiments.targets import hard_targets

__all__ = [
    "LabelTransform",
    "Pool",
    "Population",
    "Samples",
    "Selection",
    "centred",
    "hard_targets",
    "label_transform",
    "label_transform_forms",
    "parse_label_transform",
    "parse_selection",
    "select_random",
    "selection",
    "selection_forms",
]
