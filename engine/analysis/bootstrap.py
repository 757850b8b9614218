"""Intervals by resampling, for means and for whatever is computed from several cells' means.

Two ways, for two uses:

- `bootstrap_mean` and `bootstrap_difference`: the plain percentile bootstrap, which makes no
  assumption about how runs scatter. With few independent units it is too narrow, since it never
  leaves the range of what was seen and its spread is that of the population formula: in a
  simulation with normal scatter, 95 % intervals held the true mean in 50 % (2 units), 75 % (3),
  84 % (5) and 90 % (10) of the cases. `Interval.is_too_narrow` says so; tables therefore show
  Student's t (`engine.analysis.summarise`).
- `draw_means`: joint draws of the means of many cells, for what has no formula (which epoch is the
  best, how many images a label is worth). A Bayesian bootstrap (Rubin 1981): random weights on the
  units, the same for every cell that has the unit, so that cells stay paired. The deviations are
  widened so that 95 % of a mean's draws span Student's interval; with 3 units that holds the truth
  in 95 % of the cases, too.

A *unit* is a run, or a group of runs that share something (a subset), as in `summarise`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.analysis.statistics import CONFIDENCE, t_quantile, units_of

Key = TypeVar("Key", bound=Hashable)
Array = npt.NDArray[np.float64]

FEW_UNITS = 10
"""Below so many units a plain bootstrap interval holds the true mean in less than 90 %."""

NORMAL_QUANTILE = 1.959963984540054
"""Of the standard normal distribution at (1 + CONFIDENCE) / 2."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number and its 95 % interval; `low` and `high` are None where the spread is not known.

    `units`: how many independent units a bootstrap drew from; None where that is not what it
    rests on.
    """

    mean: float
    low: float | None
    high: float | None
    units: int | None = None

    @property
    def is_too_narrow(self) -> bool:
        """Whether a bootstrap had too few units for its interval to hold what it promises."""
        return self.units is not None and self.units < FEW_UNITS


def bootstrap_mean(
    values: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """Mean with its percentile bootstrap interval; too narrow for a handful of units.

    Args:
        values: one or more.
        groups: one per value, as in `summarise`: groups are resampled as a whole, and the mean is
            that of the group means.
        seed, resamples: of the draws.

    Raises:
        ValueError: no value, or another number of groups than of values.
    """
    if groups is not None and len(groups) != len(values):
        raise ValueError(f"{len(values)} values but {len(groups)} groups")
    if not values:
        raise ValueError("the mean of no values")
    keyed = dict(enumerate(values))
    of_unit = units_of(keyed, None if groups is None else dict(enumerate(groups)))
    units = np.asarray(list(of_unit.values()))
    draws = _resampled(units, np.random.default_rng(seed), resamples)
    return _interval(float(units.mean()), draws, len(units))


def bootstrap_difference(
    first: Mapping[Key, float],
    second: Mapping[Key, float],
    group_of: Mapping[Key, Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval | None:
    """Mean of first − second with its percentile bootstrap interval; None when either is empty.

    Keys are the seeds of the runs. As in `difference`: pairs are resampled wherever seeds are
    shared, and only where none is, the two are resampled apart. `group_of` gives a key's group.
    """
    if not first or not second:
        return None
    shared = [key for key in first if key in second]
    if shared:
        groups = None if group_of is None else [group_of[key] for key in shared]
        pairs = [first[key] - second[key] for key in shared]
        return bootstrap_mean(pairs, groups, seed=seed, resamples=resamples)
    generator = np.random.default_rng(seed)
    a, b = (np.asarray(list(units_of(each, group_of).values())) for each in (first, second))
    draws = _resampled(a, generator, resamples) - _resampled(b, generator, resamples)
    return _interval(float(a.mean() - b.mean()), draws, min(len(a), len(b)))


def draw_means(
    cells: Sequence[Mapping[Key, float]],
    group_of: Mapping[Key, Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Array:
    """Draws of what the cells' true means may be, jointly: float64 (resamples, cells).

    Args:
        cells: values by the seeds of the runs. What cells share, seeds or groups, they share in
            every draw.
        group_of: a key's group, as in `summarise`.
        seed, resamples: of the draws.

    A cell with a single unit has no known spread and keeps its mean in every draw; a caller that
    wants an interval must look at `num_units` first.
    """
    by_unit = [units_of(cell, group_of) for cell in cells]
    position = {unit: i for i, unit in enumerate(dict.fromkeys(u for c in by_unit for u in c))}
    generator = np.random.default_rng(seed)
    weights = generator.exponential(size=(resamples, len(position)))
    draws = np.empty((resamples, len(cells)))
    for i, cell in enumerate(by_unit):
        own = weights[:, [position[unit] for unit in cell]]
        values = np.asarray(list(cell.values()))
        deviation = own @ (values - values.mean()) / own.sum(axis=1)
        draws[:, i] = values.mean() + _widening(len(values)) * deviation
    return draws


def num_units(cell: Mapping[Key, float], group_of: Mapping[Key, Hashable] | None = None) -> int:
    """How many independent units a cell has."""
    return len(units_of(cell, group_of))


def percentiles(draws: Array) -> tuple[float, float]:
    """Ends of the central 95 % of draws (resamples,)."""
    low, high = np.quantile(draws, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


def _resampled(units: Array, generator: np.random.Generator, resamples: int) -> Array:
    """Means of units (n,) drawn with replacement: (resamples,)."""
    drawn = generator.integers(0, len(units), size=(resamples, len(units)))
    return np.asarray(units[drawn].mean(axis=1))


def _interval(mean: float, draws: Array, units: int) -> Interval:
    low, high = percentiles(draws) if units > 1 else (None, None)
    return Interval(mean=mean, low=low, high=high, units=units)


def _widening(units: int) -> float:
    """What makes the spread of a randomly weighted mean that of Student's t.

    Exponential weights give a mean the variance Σ(v − m)² / (n(n + 1)); the unbiased one has n − 1.
    """
    if units < 2:
        return 1.0
    student = t_quantile(0.5 + CONFIDENCE / 2, units - 1) / NORMAL_QUANTILE
    return math.sqrt((units + 1) / (units - 1)) * student
