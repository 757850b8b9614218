"""Choosing a student's images, by name. Pure: labels and an expert's scores in, sample ids out.

A selection is written as its name with parameters and, where an expert scores the images, perhaps
the epoch of that expert: `random`, `difficulty:3`, `difficulty:3@41`. Adding one is one decorated
function (`named`).

n samples of the train split, m candidates among them, k classes, d features.
"""

# The modules are imported for what they register.
from engine.experiments.selection.anchors import centred, herding, k_centre
from engine.experiments.selection.deciles import difficulty, stratified
from engine.experiments.selection.drawn import drop_class, select_random
from engine.experiments.selection.named import (
    Selection,
    parse_selection,
    selection,
    selection_forms,
)
from engine.experiments.selection.pool import Pool

__all__ = [
    "Pool",
    "Selection",
    "centred",
    "difficulty",
    "drop_class",
    "herding",
    "k_centre",
    "parse_selection",
    "select_random",
    "selection",
    "selection_forms",
    "stratified",
]
