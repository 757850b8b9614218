"""How many images a soft label is worth: the IPC at which hard labels reach the same accuracy.

In: accuracies with soft and with hard labels, by IPC and by the seeds of the runs. Out: for every
IPC of the soft labels the IPC of equal accuracy on the curve of hard labels, which is made monotone
first (isotonic regression, weighted by runs) and then interpolated linearly over the logarithm of
IPC. The interval comes from joint draws of all cells' means (`draw_means`), so runs that share
their seeds stay paired across both curves.

Beyond the measured curve there is a bound and no number, unless an extrapolation is asked for: then
the hard labels are fitted with a saturating form (`law_forms.DATA_DEMAND`) and the result is marked
(from the published IPCs 1 to 50 it finds the accuracy of IPC 100 at IPC 109).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from engine.analysis.bootstrap import Array, draw_means, num_units
from engine.analysis.law_forms import DATA_DEMAND
from engine.analysis.trials import Seeds

Kind = Literal["interpolated", "extrapolated", "more than measured", "less than measured"]

EXTRAPOLATION_DRAWS = 200
"""Fits of the extrapolated curve; each takes milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What soft labels at `ipc` are worth: `images` a class with hard labels.

    Where `kind` is "more than measured" or "less than measured", `images` is the bound, the largest
    or smallest IPC of the hard labels. `low` and `high` end the 95 % interval: 0 below the curve of
    hard labels, infinite beyond it; both None where some cell has a single run, so its scatter is
    not known. `units`: of how many independent runs or subsets the cell that has fewest consists.
    """

    ipc: int
    images: float | None
    low: float | None
    high: float | None
    kind: Kind
    units: int = 1

    @property
    def has_interval(self) -> bool:
        """Whether it is known how far chance reaches."""
        return self.low is not None

    @property
    def ends_on_curve(self) -> tuple[float | None, float | None]:
        """Both ends of the interval, None for what lies off the curve or is not known."""
        low, high = (
            None if end is None or not 0 < end < math.inf else end for end in (self.low, self.high)
        )
        return low, high

    @property
    def per_label(self) -> float | None:
        """Hard-labelled images that one soft-labelled image is worth."""
        return None if self.images is None else self.images / self.ipc


def worth_in_images(
    soft: Mapping[int, Mapping[Seeds, float]],
    hard: Mapping[int, Mapping[Seeds, float]],
    *,
    group_of: Mapping[Seeds, Hashable] | None = None,
    extrapolate: bool = False,
    seed: int = 0,
    resamples: int = 2000,
) -> list[Worth]:
    """The IPC at which hard labels reach the soft labels' accuracy, for every IPC of these.

    Args:
        soft, hard: accuracies (fractions) by IPC and by the seeds of the runs; empty cells count as
            missing.
        group_of: the group of a run's seeds (its subset), as in `summarise`.
        extrapolate: beyond the largest IPC of the hard labels, give a fitted value (with four IPCs
            or more), marked as such.
        seed, resamples: of the draws.

    Raises:
        ValueError: no hard labels to compare with.
    """
    soft = {ipc: cell for ipc, cell in sorted(soft.items()) if cell}
    hard = {ipc: cell for ipc, cell in sorted(hard.items()) if cell}
    if not hard:
        raise ValueError("no accuracies with hard labels to compare with")
    cells = [*hard.values(), *soft.values()]
    draws = draw_means(cells, group_of, seed=seed, resamples=resamples)
    means = np.asarray([np.mean(list(cell.values())) for cell in cells])
    ipcs = np.asarray(list(hard), dtype=np.float64)
    runs = np.asarray([len(cell) for cell in hard.values()], dtype=np.float64)
    curve = isotonic(means[: len(hard)], runs)
    curves = np.asarray([isotonic(row, runs) for row in draws[:, : len(hard)]])
    fewest = min(num_units(cell, group_of) for cell in hard.values())
    found = []
    for column, (ipc, cell) in enumerate(soft.items(), start=len(hard)):
        spread = None
        units = min(fewest, num_units(cell, group_of))
        if units > 1:
            spread = np.asarray(
                [
                    _reaching(level, ipcs, of)
                    for level, of in zip(draws[:, column], curves, strict=True)
                ]
            )
        worth = _measured(ipc, _reaching(means[column], ipcs, curve), ipcs, spread, units)
        if extrapolate and worth.kind == "more than measured" and len(ipcs) >= 4:
            own = draws[:, column] if spread is not None else None
            worth = _extrapolated(worth, ipcs, runs, means[column], curve, own, curves)
        found.append(worth)
    return found


def isotonic(values: Array, weights: Array) -> Array:
    """The non-decreasing sequence nearest to values (n,), by weighted least squares: (n,)."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, heavy, length = blocks.pop()
            whole = heavy + block[1]
            block = ((mean * heavy + block[0] * block[1]) / whole, whole, length + block[2])
        blocks.append(block)
    return np.repeat([mean for mean, _, _ in blocks], [length for _, _, length in blocks])


def _reaching(level: float, ipcs: Array, curve: Array) -> float:
    """The smallest IPC at which a non-decreasing curve reaches a level; 0 below, inf beyond it."""
    if level < curve[0]:
        return 0.0
    if level > curve[-1]:
        return math.inf
    place = int(np.searchsorted(curve, level))
    if curve[place] == level:
        return float(ipcs[place])
    share = (level - curve[place - 1]) / (curve[place] - curve[place - 1])
    logs = np.log(ipcs)
    return float(np.exp(logs[place - 1] + share * (logs[place] - logs[place - 1])))


def _measured(ipc: int, images: float, ipcs: Array, spread: Array | None, units: int) -> Worth:
    kind: Kind = "interpolated"
    if images == math.inf:
        images, kind = float(ipcs[-1]), "more than measured"
    elif images == 0:
        images, kind = float(ipcs[0]), "less than measured"
    low, high = (None, None) if spread is None else _ends(spread)
    return Worth(ipc=ipc, images=images, low=low, high=high, kind=kind, units=units)


def _ends(spread: Array) -> tuple[float, float]:
    """The central 95 % of draws, some of them 0 or infinite, which stand for beyond the curve."""
    ordered = np.sort(spread)
    # Not interpolated, since infinity has no share.
    last = len(ordered) - 1
    return float(ordered[math.floor(0.025 * last)]), float(ordered[math.ceil(0.975 * last)])


def _extrapolated(
    worth: Worth,
    ipcs: Array,
    runs: Array,
    level: float,
    curve: Array,
    levels: Array | None,
    curves: Array,
) -> Worth:
    """By the fitted form of the hard labels; as it was, where that stays below the level."""
    images = _solved(level, _fitted(ipcs, curve, runs), ipcs[-1])
    if images is None:
        return worth
    low = high = None
    if levels is not None:
        pairs = zip(levels[:EXTRAPOLATION_DRAWS], curves[:EXTRAPOLATION_DRAWS], strict=True)
        solved = [
            _reaching(own, ipcs, of)
            if own <= of[-1]
            else _solved(own, _fitted(ipcs, of, runs), ipcs[-1]) or math.inf
            for own, of in pairs
        ]
        low, high = _ends(np.asarray(solved))
        # What hard labels never reach is known to lie beyond the last that were measured.
        low = float(ipcs[-1]) if low == math.inf else low
    return replace(worth, images=images, low=low, high=high, kind="extrapolated")


def _fitted(ipcs: Array, curve: Array, runs: Array) -> Sequence[float]:
    from engine.analysis.law_fit import fit_form

    return [float(p) for p in fit_form(DATA_DEMAND, ipcs, np.ones_like(ipcs), curve, runs)]


def _solved(level: float, parameters: Sequence[float], least: float) -> float | None:
    """The IPC at which the form has a level, no smaller than `least`; None if it never has."""
    a, h, c = parameters
    if level >= a:
        return None
    return float(max(least, np.exp(h) * (a / level - 1) ** (-1 / c)))
