"""Mean, spread and interval of a handful of runs, and of the difference between two cells.

Two different questions, two different numbers:

- *How far do the runs scatter?* The population standard deviation (ddof = 0), as in the paper. It
  is the ± of every table.
- *Where does the mean lie?* The 95 % confidence interval by Student's t from the sample standard
  deviation (ddof = 1). With the usual 3 to 5 seeds it is 1.2 to 2.5 times the half-width that ±
  suggests, which is why both are given.

One run has no spread: `std` and the interval are None, not 0.

Which of several cells is the best is a third question (`engine.analysis.best`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", bound=Hashable)

CONFIDENCE = 0.95

NO_WIDTH = 1e-9
"""An interval of accuracies narrower than this is rounding and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """`n` values: mean, population standard deviation (ddof = 0), 95 % interval of the mean.

    `units` counts the independent units that the interval rests on: the values themselves, or the
    groups where several values share one. In that case `std_within` and `std_between` split the
    spread (std² = std_within² + std_between²); otherwise both are None.
    """

    n: int
    mean: float
    std: float | None
    std_within: float | None = None
    std_between: float | None = None
    ci_low: float | None
    ci_high: float | None
    units: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """first − second: its mean and 95 % interval; `paired` says how it was formed.

    `n` counts the pairs, or the smaller of the two cells where nothing pairs; `units`, how many of
    them are independent (runs on one subset are one), where that is known. `degrees` of freedom of
    the interval; None where there is none, or where it is not Student's.
    """

    mean: float
    ci_low: float | None
    ci_high: float | None
    n: int
    paired: bool
    degrees: float | None = None
    units: int | None = None


def summarise(values: Sequence[float], groups: Sequence[Hashable] | None = None) -> Summary | None:
    """Summary of `values`, or None when there are none.

    `groups` (one per value, e.g. the subset that a run was trained on) marks values that share
    something: runs on one subset are no independent evidence about other subsets. Where several
    groups exist and some hold several values, the interval is that of the group means, around the
    mean of the group means. With a single group it describes that group alone.
    """
    if not values:
        return None
    array = np.asarray(values, dtype=np.float64)
    units = array
    within = between = None
    if groups is not None:
        if len(groups) != len(values):
            raise ValueError(f"{len(values)} values but {len(groups)} groups")
        members: dict[Hashable, list[float]] = {}
        for group, value in zip(groups, values, strict=True):
            members.setdefault(group, []).append(value)
        if 1 < len(members) < len(values):
            mean_of = {group: float(np.mean(m)) for group, m in members.items()}
            own_mean = np.asarray([mean_of[group] for group in groups])
            within = float(np.sqrt(np.mean((array - own_mean) ** 2)))
            between = float(own_mean.std())
            units = np.asarray(list(mean_of.values()))
    low, high = _student_interval(units)
    return Summary(
        n=len(array),
        mean=float(array.mean()),
        std=float(array.std()) if len(array) > 1 else None,
        std_within=within,
        std_between=between,
        ci_low=low,
        ci_high=high,
        units=len(units),
    )


def difference(
    first: Mapping[Key, float],
    second: Mapping[Key, float],
    group_of: Mapping[Key, Hashable] | None = None,
) -> Difference | None:
    """Mean of first − second with its 95 % interval; None when either is empty.

    Keys are the seeds of the runs. Runs that share their seeds share images and initial weights,
    so the difference is formed pair by pair wherever pairs exist, which removes what both cells
    have in common. Only where no key is shared are the two means subtracted (Welch's interval).
    `group_of` gives the group of a key, as in `summarise`.
    """
    if not first or not second:
        return None
    shared = [key for key in first if key in second]
    if shared:
        groups = [group_of[key] for key in shared] if group_of is not None else None
        pairs = summarise([first[key] - second[key] for key in shared], groups)
        assert pairs is not None
        return Difference(
            mean=pairs.mean,
            ci_low=pairs.ci_low,
            ci_high=pairs.ci_high,
            n=pairs.n,
            paired=True,
            degrees=pairs.units - 1 if pairs.units > 1 else None,
            units=pairs.units,
        )
    a, b = (np.asarray(list(_apart(each, group_of).values())) for each in (first, second))
    mean = float(a.mean() - b.mean())
    low = high = degrees = None
    if min(len(a), len(b)) > 1:
        va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        half = 0.0
        if va + vb > 0:
            degrees = float((va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)))
            half = t_quantile(0.5 + CONFIDENCE / 2, degrees) * math.sqrt(va + vb)
        low, high = mean - half, mean + half
    return Difference(
        mean=mean,
        ci_low=low,
        ci_high=high,
        n=min(len(first), len(second)),
        paired=False,
        degrees=degrees,
        units=min(len(a), len(b)),
    )


def interval_among(found: Difference, comparisons: int) -> tuple[float, float] | None:
    """The 95 % interval that holds together with those of so many comparisons (Bonferroni).

    None where there is no interval, and where it has no width: a few runs that happen to be equal
    (a small test split, accuracies of exactly 0) say nothing of chance.
    """
    if found.ci_low is None or found.ci_high is None or found.ci_high - found.ci_low < NO_WIDTH:
        return None
    tail = (1 - CONFIDENCE) / 2
    wider = _quantile(1 - tail / comparisons, found.degrees) / _quantile(1 - tail, found.degrees)
    return (
        found.mean - wider * (found.mean - found.ci_low),
        found.mean + wider * (found.ci_high - found.mean),
    )


def units_of(
    cell: Mapping[Key, float], group_of: Mapping[Key, Hashable] | None
) -> dict[Hashable, float]:
    """The mean of every independent unit: of the groups, where there are several; else the runs.

    A group has the same name in every cell, however many runs of it the cell has.
    """
    if group_of is not None:
        members: dict[Hashable, list[float]] = {}
        for key, value in cell.items():
            members.setdefault(("group", group_of[key]), []).append(value)
        if len(members) > 1:
            return {group: float(np.mean(values)) for group, values in members.items()}
    return dict[Hashable, float](cell.items())


def _apart(
    cell: Mapping[Key, float], group_of: Mapping[Key, Hashable] | None
) -> dict[Hashable, float]:
    """Units of a cell that is compared without pairs; a run of unknown group is one by itself."""
    return units_of(cell, {key: (group_of or {}).get(key, key) for key in cell})


def _quantile(probability: float, degrees: float | None) -> float:
    """Of Student's t, or of the normal distribution where no degrees of freedom are known."""
    if degrees is not None:
        return t_quantile(probability, degrees)
    from scipy.special import ndtri

    return float(ndtri(probability))


def _student_interval(units: np.ndarray) -> tuple[float | None, float | None]:
    """95 % interval of the mean of independent `units` (n,) float64; (None, None) for one."""
    if len(units) < 2:
        return None, None
    error = float(units.std(ddof=1)) / math.sqrt(len(units))
    half = t_quantile(0.5 + CONFIDENCE / 2, len(units) - 1) * error
    return float(units.mean()) - half, float(units.mean()) + half


def t_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
