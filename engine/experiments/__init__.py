"""Which images a student sees, and what becomes of their labels: pure functions by name."""

from engine.experiments.label_transforms import (
    LabelTransform,
    Samples,
    label_transform,
    label_transform_names,
    parse_label_transform,
)
from engine.experiments.selection import select_random, selection, selection_named
from engine.experiments.targets import hard_targets

__all__ = [
    "LabelTransform",
    "Samples",
    "hard_targets",
    "label_transform",
    "label_transform_names",
    "parse_label_transform",
    "select_random",
    "selection",
    "selection_named",
]
