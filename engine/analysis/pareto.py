"""Which expert epoch is best at each IPC, which cells are worth their cost, and how sure that is.

In: accuracies of cells by IPC and expert epoch. Images cost data and expert epochs cost knowledge:
a cell lies on the *front* if no other one is as accurate with no more of either (the reproduction's
Figure 3b). Both questions, best of its IPC and on the front, are asked again of every joint draw of
the cells' means (`engine.analysis.bootstrap.draw_means`), seeds paired; the shares of yes say how
much of the picture the seeds leave open. A share is no p-value: three equal cells get a third each.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.analysis.bootstrap import Array, draw_means, num_units, percentiles
from engine.analysis.trials import Seeds


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A cell: accuracies (fractions) by the seeds of its runs, one or more."""

    ipc: int
    expert_epoch: int
    values: Mapping[Seeds, float]


@dataclass(frozen=True, kw_only=True)
class ParetoPoint:
    """A cell's mean with its 95 % interval, and how it does against the others.

    `share`: of the draws in which it is the best of its IPC; of equal ones the earlier epoch is.
    `on_front`: by the means; `front_share`: of the draws in which it lies on the front. Intervals
    and shares are None where a cell that they depend on has a single independent run.
    """

    ipc: int
    expert_epoch: int
    mean: float
    low: float | None
    high: float | None
    share: float | None
    on_front: bool
    front_share: float | None


def pareto_front(
    points: Sequence[Measured],
    *,
    group_of: Mapping[Seeds, Hashable] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> list[ParetoPoint]:
    """Every cell, by IPC and expert epoch, with its place on the front.

    Args:
        points: cells, each IPC and epoch once.
        group_of: the group of a run's seeds (its subset), as in `summarise`.
        seed, resamples: of the draws.

    Raises:
        ValueError: a cell without values, or one that comes twice.
    """
    points = sorted(points, key=lambda point: (point.ipc, point.expert_epoch))
    places = [(point.ipc, point.expert_epoch) for point in points]
    if len(set(places)) < len(places) or not all(point.values for point in points):
        raise ValueError("expected every cell once and with a run")
    if not points:
        return []
    cells = [point.values for point in points]
    units = [num_units(cell, group_of) for cell in cells]
    means = np.asarray([np.mean(list(cell.values())) for cell in cells])
    draws = draw_means(cells, group_of, seed=seed, resamples=resamples)
    best = _best_of_ipc([ipc for ipc, _ in places], draws)
    dominators = _may_dominate(places)
    front = _on_front(draws, dominators).mean(axis=0)
    on_front = _on_front(means[None], dominators)[0]
    all_known = min(units) > 1
    found = []
    for i, (ipc, epoch) in enumerate(places):
        low, high = percentiles(draws[:, i]) if units[i] > 1 else (None, None)
        known = all(n > 1 for n, place in zip(units, places, strict=True) if place[0] == ipc)
        found.append(
            ParetoPoint(
                ipc=ipc,
                expert_epoch=epoch,
                mean=float(means[i]),
                low=low,
                high=high,
                share=float(best[i]) if known else None,
                on_front=bool(on_front[i]),
                front_share=float(front[i]) if all_known else None,
            )
        )
    return found


def _best_of_ipc(ipcs: Sequence[int], draws: Array) -> Array:
    """(cells,): share of draws in which a cell is the first greatest of its IPC."""
    shares = np.zeros(len(ipcs))
    for ipc in dict.fromkeys(ipcs):
        own = np.flatnonzero(np.asarray(ipcs) == ipc)
        winners = own[draws[:, own].argmax(axis=1)]
        shares += np.bincount(winners, minlength=len(ipcs)) / len(draws)
    return shares


def _may_dominate(places: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """(cell, other): whether the other one costs no more of anything, and less of something."""
    costs = np.asarray(places)
    no_more = (costs[None] <= costs[:, None]).all(axis=2)
    return np.asarray(no_more & (costs[None] < costs[:, None]).any(axis=2))


def _on_front(means: Array, dominators: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(draws, cells) accuracies → whether none of a cell's possible dominators is as accurate."""
    on_front = np.ones(means.shape, dtype=bool)
    for cell, others in enumerate(dominators):
        if others.any():
            on_front[:, cell] = means[:, others].max(axis=1) < means[:, cell]
    return on_front
