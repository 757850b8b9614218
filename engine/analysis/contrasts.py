"""Several cells against one baseline, over the same seeds, with the scatter of all of them pooled.

In: accuracies of a baseline and of other cells by seeds. Out: a `Difference` for each other cell.
Runs of one seed share images, order and initial weights: accuracy = cell + seed + residual, a
randomised block design. Pooling the residual over all cells is what lets two or three seeds say
anything: eight cells on three seeds leave 14 degrees of freedom, one pair of them 2 (Student's t
2.1 instead of 4.3). It assumes that cells scatter alike. Each interval holds at 95 % by itself, not
all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from engine.analysis.statistics import CONFIDENCE, Difference, t_quantile

Name = TypeVar("Name", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)


def contrasts(cells: Mapping[Name, Mapping[Key, float]], baseline: Name) -> dict[Name, Difference]:
    """Every cell minus the baseline: mean over the seeds that all cells share, with an interval.

    Args:
        cells: accuracies by seeds, the baseline's among them. A cell without runs is left out.
        baseline: which of them the others are compared with.

    Returns:
        One `Difference` a cell, without interval where fewer than two seeds are shared by all;
        nothing where the baseline has no run, or no seed is shared.
    """
    measured = {name: values for name, values in cells.items() if values}
    if baseline not in measured or len(measured) < 2:
        return {}
    own = measured[baseline]
    shared = [key for key in own if all(key in values for values in measured.values())]
    if not shared:
        return {}
    table = np.array([[values[key] for key in shared] for values in measured.values()])
    half = _half_width(table)
    base = table[list(measured).index(baseline)]
    found = {}
    for name, row in zip(measured, table, strict=True):
        if name == baseline:
            continue
        mean = float((row - base).mean())
        found[name] = Difference(
            mean=mean,
            ci_low=None if half is None else mean - half,
            ci_high=None if half is None else mean + half,
            n=len(shared),
            paired=True,
        )
    return found


def _half_width(table: np.ndarray) -> float | None:
    """Half of a difference's 95 % interval, from (cell, seed) accuracies; None for one seed."""
    cells, seeds = table.shape
    if seeds < 2:
        return None
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    degrees = (cells - 1) * (seeds - 1)
    error = math.sqrt(2 * float(np.sum(residual**2)) / degrees / seeds)
    return t_quantile(0.5 + CONFIDENCE / 2, degrees) * error
