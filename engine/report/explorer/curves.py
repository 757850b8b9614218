"""The geometry of the explorer's two small charts: numbers in, points of an inline SVG out.

The lines of all training labels and of the expert are drawn here, so that they are there without
JavaScript; the script adds the chosen image's line and moves the mark of the chosen epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.report.explorer.labels import Floats

WIDTH, HEIGHT = 400, 162
LEFT, RIGHT, TOP, BOTTOM = 38, 392, 8, 126
"""The plot's edges, in the units of the SVG's view box."""
MOST_DOTS = 15
EPOCH_TICKS = 6
TICK_GAP = 26


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One chart. `points`: runs of "x,y x,y", broken where a number is unknown.

    dots: (x, y) of every number, if they are few. x_ticks, y_ticks: (place, text). most: the value
    at the top edge; the bottom edge is 0. x_of: the place of every epoch.
    """

    points: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    most: float
    x_of: tuple[float, ...]


def share_curve(epochs: Sequence[int], values: Floats) -> Curve:
    """A curve of fractions, from 0 to 100 %."""
    return _curve(epochs, values, 1.0, [(share, f"{100 * share:g} %") for share in (0, 0.5, 1)])


def entropy_curve(epochs: Sequence[int], values: Floats, num_classes: int) -> Curve:
    """A curve of entropies in nats, from 0 to that of the uniform label."""
    most = math.log(num_classes)
    step = next(s for s in (0.25, 0.5, 1.0, 2.0, 4.0) if most / s < 6)
    marks = [step * i for i in range(math.floor(most / step) + 1)]
    return _curve(epochs, values, most, [(mark, f"{mark:g}") for mark in marks])


def _curve(
    epochs: Sequence[int], values: Floats, most: float, y_marks: Sequence[tuple[float, str]]
) -> Curve:
    first, span = epochs[0], max(epochs[-1] - epochs[0], 1)
    x_of = [round(LEFT + (RIGHT - LEFT) * (epoch - first) / span, 2) for epoch in epochs]
    y_of = [_height(value, most) for value in values]
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y, value in zip(x_of, y_of, values, strict=True):
        if np.isnan(value):
            runs.append([])
        else:
            runs[-1].append((x, y))
    known = [point for run in runs for point in run]
    return Curve(
        points=tuple(" ".join(f"{x},{y}" for x, y in run) for run in runs if len(run) > 1),
        dots=tuple(known) if len(known) <= MOST_DOTS else (),
        x_ticks=tuple(_epoch_ticks(epochs, x_of)),
        y_ticks=tuple((_height(mark, most), text) for mark, text in y_marks),
        most=most,
        x_of=tuple(x_of),
    )


def _height(value: float, most: float) -> float:
    share = 0.0 if np.isnan(value) or not most else min(max(value / most, 0.0), 1.0)
    return round(float(BOTTOM - (BOTTOM - TOP) * share), 2)


def _epoch_ticks(epochs: Sequence[int], x_of: Sequence[float]) -> list[tuple[float, str]]:
    """The epochs there are, those left out whose numbers would touch a neighbour's."""
    if len(epochs) > 2 * EPOCH_TICKS:
        every = math.ceil(len(epochs) / EPOCH_TICKS)
        wanted = [*range(0, len(epochs) - 1, every), len(epochs) - 1]
    else:
        wanted = list(range(len(epochs)))
    last = len(epochs) - 1
    ticks: list[tuple[float, str]] = []
    for i in wanted:
        free = not ticks or x_of[i] - ticks[-1][0] >= TICK_GAP
        if i == last or (free and (x_of[last] - x_of[i] >= TICK_GAP)):
            ticks.append((x_of[i], str(epochs[i])))
    return ticks
