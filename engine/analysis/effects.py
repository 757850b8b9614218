"""Effect sizes: how large a difference is, measured by how runs scatter.

Where runs share their seeds, Cohen's d_z: the mean of the pairs' differences over their standard
deviation. Otherwise Hedges' g: the difference of the means over the pooled standard deviation,
corrected for its bias with few runs. Intervals are exact for normal scatter: those noncentralities
of Student's t under which what was found is just not surprising at 95 %. With three seeds they are
wide, which is the point of giving them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from engine.analysis.statistics import CONFIDENCE, units_of

Key = TypeVar("Key", bound=Hashable)

NO_SCATTER = 1e-12
"""A standard deviation of accuracies that is rounding and nothing else."""


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """`value` in standard deviations, with its 95 % interval; `n` counts pairs, or all runs."""

    kind: Literal["paired d_z", "Hedges g"]
    value: float
    low: float
    high: float
    n: int


def effect_size(
    first: Mapping[Key, float],
    second: Mapping[Key, float],
    group_of: Mapping[Key, Hashable] | None = None,
) -> EffectSize | None:
    """How far `first` lies above `second`, in standard deviations.

    Keys are the seeds of the runs and `group_of` gives a key's group, as in `difference`. None
    where the scatter is not known (fewer than two pairs, or four runs) or is zero.
    """
    shared = [key for key in first if key in second]
    if shared:
        pairs = units_of({key: first[key] - second[key] for key in shared}, group_of)
        return _paired(np.asarray(list(pairs.values())))
    a, b = (np.asarray(list(units_of(each, group_of).values())) for each in (first, second))
    return _independent(a, b)


def _paired(differences: np.ndarray) -> EffectSize | None:
    n = len(differences)
    if n < 2 or (deviation := float(differences.std(ddof=1))) < NO_SCATTER:
        return None
    value = float(differences.mean()) / deviation
    low, high = _noncentralities(value * math.sqrt(n), n - 1)
    root = math.sqrt(n)
    return EffectSize(kind="paired d_z", value=value, low=low / root, high=high / root, n=n)


def _independent(a: np.ndarray, b: np.ndarray) -> EffectSize | None:
    degrees = len(a) + len(b) - 2
    if min(len(a), len(b)) < 1 or degrees < 2:
        return None
    squares = float(((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum())
    deviation = math.sqrt(squares / degrees)
    if deviation < NO_SCATTER:
        return None
    value = float(a.mean() - b.mean()) / deviation
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    low, high = _noncentralities(value * root, degrees)
    unbiased = _hedges_correction(degrees)
    return EffectSize(
        kind="Hedges g",
        value=unbiased * value,
        low=unbiased * low / root,
        high=unbiased * high / root,
        n=len(a) + len(b),
    )


def _hedges_correction(degrees: int) -> float:
    """The expected value of d is the true effect over this (Hedges 1981)."""
    logarithm = math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)
    return math.exp(logarithm) / math.sqrt(degrees / 2)


def _noncentralities(t: float, degrees: int) -> tuple[float, float]:
    """Between which noncentralities a found t is not surprising at 95 %."""
    from scipy.stats import nct

    tail = 0.5 - CONFIDENCE / 2
    low = _decreasing_root(lambda shift: float(nct.cdf(t, degrees, shift)) - (1 - tail), t)
    high = _decreasing_root(lambda shift: float(nct.cdf(t, degrees, shift)) - tail, t)
    return low, high


def _decreasing_root(function: Callable[[float], float], near: float) -> float:
    """Where a decreasing function is 0, searched outwards from `near`."""
    from scipy.optimize import brentq

    step = 1.0 + abs(near)
    low, high = near - step, near + step
    while function(low) < 0:
        low -= step
        step *= 2
    step = 1.0 + abs(near)
    while function(high) > 0:
        high += step
        step *= 2
    return float(brentq(function, low, high, xtol=1e-10))
