"""How much of the scatter comes from initialisation, from the subset and from the expert.

In: runs of one cell, each with its subset of images and its expert. Out: a standard deviation for
each source, by the method of moments. Half the squared difference of two runs has as its expected
value the variances of all that they do not share, so the mean over the pairs of each kind gives
one equation:

    pairs that share        half their mean squared difference
    expert and subset       initialisation²
    expert                  initialisation² + subset² + interaction²
    subset                  initialisation² + expert² + interaction²
    neither                 initialisation² + subset² + expert² + interaction²

In balanced designs, nested or crossed, the solution is that of the analysis of variance; in
unbalanced ones it stays unbiased. Initialisation stands for initial weights, order and
augmentation; interaction for what a subset does with one expert and not with another. The
equations are those of runs of different initialisations: pairs that share theirs, as the runs of
one seed do over experts, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class VarianceSplit:
    """Standard deviations, in the unit of the values; None where the design can't tell.

    `total`: of one run with everything drawn anew that these runs vary; its square is the sum of
    the others' squares, unless one was negative. `notes` say what was negative, or could not be
    told apart.
    """

    total: float | None
    initialisation: float | None
    subset: float | None
    expert: float | None
    interaction: float | None
    num_runs: int
    num_subsets: int
    num_experts: int
    notes: tuple[str, ...] = ()


def split_variance(
    runs: Sequence[tuple[float, Hashable, Hashable]],
    initialisations: Sequence[Hashable] | None = None,
) -> VarianceSplit:
    """Split the variance of runs (value, subset, expert) that agree in everything else.

    Args:
        runs: any number of them.
        initialisations: one a run, equal where initial weights, order and augmentation are; None
            where every run has its own.

    Raises:
        ValueError: another number of initialisations than of runs.
    """
    if initialisations is not None and len(initialisations) != len(runs):
        raise ValueError(f"{len(runs)} runs but {len(initialisations)} initialisations")
    starts = _codes(range(len(runs)) if initialisations is None else initialisations)
    subsets = _codes([subset for _, subset, _ in runs])
    experts = _codes([expert for _, _, expert in runs])
    values = np.asarray([value for value, _, _ in runs], dtype=np.float64)
    apart, by_subset, by_expert, by_both = _moments(values, subsets, experts, starts)
    notes: list[str] = []
    subset = expert = interaction = None
    if by_subset is not None and by_expert is not None and by_both is not None:
        subset, expert = by_both - by_expert, by_both - by_subset
        rest = by_subset + by_expert - by_both
        if apart is None:
            apart = rest
            notes.append(
                "one run for each subset and expert: what the two do together counts as "
                "initialisation"
            )
        else:
            interaction = rest - apart
    elif by_subset is not None:
        expert = None if by_both is None else by_both - by_subset
        subset = None if apart is None else by_subset - apart
        if apart is None:
            notes.append("one run for each subset: initialisation and subset can't be told apart")
    elif by_expert is not None:
        subset = None if by_both is None else by_both - by_expert
        expert = None if apart is None else by_expert - apart
        if apart is None:
            notes.append("one run for each expert: initialisation and expert can't be told apart")
    elif by_both is not None:
        notes.append("every expert has a subset of its own: the two can't be told apart")
    total = next(
        (each for each in (by_both, by_subset, by_expert, apart) if each is not None), None
    )
    return VarianceSplit(
        total=_root(total, "", notes),
        initialisation=_root(apart, "initialisation", notes),
        subset=_root(subset, "subset", notes),
        expert=_root(expert, "expert", notes),
        interaction=_root(interaction, "interaction", notes),
        num_runs=len(runs),
        num_subsets=len(set(subsets.tolist())),
        num_experts=len(set(experts.tolist())),
        notes=tuple(notes),
    )


def _moments(
    values: npt.NDArray[np.float64],
    subsets: npt.NDArray[np.int64],
    experts: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
) -> list[float | None]:
    """Half the mean squared difference of pairs that differ in: neither, subset, expert, both."""
    first, second = np.triu_indices(len(values), 1)
    apart = starts[first] != starts[second]
    first, second = first[apart], second[apart]
    half_squares = (values[first] - values[second]) ** 2 / 2
    other_subset = subsets[first] != subsets[second]
    other_expert = experts[first] != experts[second]
    kinds = (
        ~other_subset & ~other_expert,
        other_subset & ~other_expert,
        ~other_subset & other_expert,
        other_subset & other_expert,
    )
    return [float(half_squares[kind].mean()) if kind.any() else None for kind in kinds]


def _codes(names: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.asarray([number[name] for name in names], dtype=np.int64)


def _root(variance: float | None, source: str, notes: list[str]) -> float | None:
    if variance is None:
        return None
    if variance < 0:
        notes.append(f"the estimate for {source} was negative and is given as 0")
    return math.sqrt(max(variance, 0.0))
