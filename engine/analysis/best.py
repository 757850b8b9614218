"""Which of several cells is the best, and which others the seeds leave in the running.

In: accuracies of candidates over the same seeds. Runs of one seed share images, their order and
initial weights, so candidates are compared seed by seed: accuracy = candidate + seed + residual, a
randomised block design. The residual variance is pooled over all candidates, which is what lets
three seeds say anything: six candidates on three seeds leave 10 degrees of freedom, one pair of
them 2. It assumes that candidates scatter alike.

A candidate can't be ruled out as the best unless another one beats it significantly (multiple
comparisons with the best, Hsu 1984; the bound is Bonferroni's, a little wider than his). The set of
those that remain contains the truly best one with at least 95 % probability over seeds; it says
nothing of other experts or other validation images.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from engine.analysis.statistics import CONFIDENCE, t_quantile

Candidate = TypeVar("Candidate", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Contest(Generic[Candidate]):
    """How candidates did against each other.

    `blocks` counts the seeds (or subsets, where several runs share one) that all candidates have;
    in `wins` of them `best` was the greatest, alone or with others. `plausible`: the candidates
    that can't be ruled out as the best at 95 %, `best` among them; None where fewer than two blocks
    leave the scatter unknown.
    """

    best: Candidate
    wins: int
    blocks: int
    plausible: tuple[Candidate, ...] | None


def compare_candidates(
    values: Mapping[Candidate, Mapping[Key, float]],
    best: Candidate,
    group_of: Mapping[Key, Hashable],
    *,
    contests: int = 1,
) -> Contest[Candidate]:
    """What the seeds that all candidates share say about which one is the best.

    Args:
        values: of every candidate, by seeds.
        best: the one that was chosen, as a rule by its mean.
        group_of: the group of a key, as in `summarise`.
        contests: how many such contests are judged together: their sets then hold all together.
    """
    table = shared_blocks([values[each] for each in values], group_of)
    names = list(values)
    own = table[names.index(best)]
    return Contest(
        best=best,
        wins=int(np.sum(own >= table.max(axis=0))) if table.size else 0,
        blocks=table.shape[1],
        plausible=_plausible(names, table, best, contests),
    )


def shared_blocks(
    rows: Sequence[Mapping[Key, float]], group_of: Mapping[Key, Hashable]
) -> npt.NDArray[np.float64]:
    """(candidate, block): the values of shared seeds, averaged within a group of several."""
    shared = [key for key in rows[0] if all(key in row for row in rows)]
    groups: dict[Hashable, list[Key]] = {}
    for key in shared:
        groups.setdefault(group_of[key], []).append(key)
    if not 1 < len(groups) < len(shared):
        groups = {key: [key] for key in shared}
    return np.array(
        [[np.mean([row[key] for key in keys]) for keys in groups.values()] for row in rows]
    ).reshape(len(rows), len(groups))


def difference_error(table: npt.NDArray[np.float64]) -> tuple[float, int] | None:
    """Standard error of the difference of two rows of (cell, block), and its degrees of freedom.

    The residuals of a randomised block design, pooled over all cells; None where fewer than two
    cells or blocks leave the scatter unknown.
    """
    cells, blocks = table.shape
    if blocks < 2 or cells < 2:
        return None
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    degrees = (cells - 1) * (blocks - 1)
    return math.sqrt(2 * float(np.sum(residual**2)) / degrees / blocks), degrees


def _plausible(
    names: Sequence[Candidate], table: npt.NDArray[np.float64], best: Candidate, contests: int
) -> tuple[Candidate, ...] | None:
    known = difference_error(table)
    if known is None:
        return None
    error, degrees = known
    means = table.mean(axis=1)
    tail = (1 - CONFIDENCE) / ((len(names) - 1) * contests)
    margin = t_quantile(1 - tail, degrees) * error
    return tuple(
        name
        for name, mean in zip(names, means, strict=True)
        if name == best or mean >= means.max() - margin
    )
