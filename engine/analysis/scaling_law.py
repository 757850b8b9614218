"""The knowledge-data scaling law: which functional form fits, how well, and what it says elsewhere.

In: points (images per class, knowledge, accuracies). Out: one `LawFit` a form, the best first.
Forms are compared by *held-out error*: every IPC is left out in turn, the form fitted to the others
and its error taken at the points left out. The IPCs between others test interpolation; the largest
one tests extrapolation to more data and is reported apart. A form with more parameters has no
advantage there, as it would have in the fit itself: errors are taken at the points alone that every
form could be tested at, since what is left without the IPC of most points may not suffice for it.

Intervals come from a wild bootstrap of the residuals (`engine.analysis.law_fit`). They are those of
the curve, given that the form is right; how much the forms disagree is the other half of what is
not known, so look at several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.analysis.bootstrap import Array, Interval, percentiles
from engine.analysis.law_fit import draw_parameters, fit_form
from engine.analysis.law_forms import FORMS, Form

SEARCH_STEPS = 801
"""Values of knowledge among which the best one is searched, evenly spread over its logarithm."""


@dataclass(frozen=True, kw_only=True)
class LawPoint:
    """A cell: `knowledge` (> 0) is the expert epoch, or k of top-k; accuracies are fractions."""

    ipc: int
    knowledge: float
    accuracies: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A point beside what the fit says of it.

    `held_out`: what it said without that IPC; None where some form could not be fitted without it.
    """

    ipc: int
    knowledge: float
    accuracy: float
    fitted: float
    held_out: float | None

    @property
    def residual(self) -> float:
        """Measured minus fitted."""
        return self.accuracy - self.fitted


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best knowledge at an IPC, searched between `searched`; `low` to `high` is its interval.

    `at_edge`: the curve still rises ("last") or falls ("first") where the search ends, so that
    `knowledge` is a bound and no optimum.
    """

    knowledge: float
    low: float
    high: float
    searched: tuple[float, float]
    at_edge: str | None


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """A fitted form.

    Errors are root mean squares in accuracy, as fractions: `fitted_error` of the points that it was
    fitted to; `held_out_error` over the IPCs left out in turn, `held_out_ipcs`, the same for all
    forms; of these, `interpolation_error` of the inner ones and `extrapolation_error` of the
    largest. None where too few IPCs were measured.
    """

    form: str
    formula: str
    parameters: dict[str, Interval]
    fitted_error: float
    held_out_error: float | None
    held_out_ipcs: tuple[int, ...]
    interpolation_error: float | None
    extrapolation_error: float | None
    residuals: tuple[Residual, ...]
    ipc_range: tuple[int, int]
    knowledge_range: tuple[float, float]
    of: Form = field(repr=False)
    fitted: Array = field(repr=False, compare=False)
    draws: Array = field(repr=False, compare=False)

    def predict(self, ipc: float, knowledge: float) -> Interval:
        """Accuracy of the fitted curve, with the interval of that curve."""
        place = np.asarray([float(ipc)]), np.asarray([float(knowledge)])
        low, high = percentiles(self.of.accuracy(self.draws, *place)[:, 0])
        return Interval(mean=float(self.of.accuracy(self.fitted, *place)[0]), low=low, high=high)

    def extrapolates(self, ipc: float, knowledge: float) -> bool:
        """Whether a point lies outside the range of the measured ones."""
        (least, most), (first, last) = self.ipc_range, self.knowledge_range
        return not (least <= ipc <= most and first <= knowledge <= last)

    def best_knowledge(self, ipc: float, *, beyond: float = 1.0) -> Optimum | None:
        """Where the curve of an IPC is highest; None for a form without knowledge.

        Args:
            ipc: images per class.
            beyond: search so many times further than was measured, on both sides.
        """
        if self.of.least_knowledge < 2:
            return None
        first, last = self.knowledge_range[0] / beyond, self.knowledge_range[1] * beyond
        searched = np.geomspace(first, last, SEARCH_STEPS)  # whose ends are exact
        place = np.full_like(searched, float(ipc)), searched
        best = int(self.of.accuracy(self.fitted, *place).argmax())
        bests = searched[self.of.accuracy(self.draws, *place).argmax(axis=1)]
        low, high = percentiles(bests)
        edge = {0: "first", SEARCH_STEPS - 1: "last"}.get(best)
        return Optimum(
            knowledge=float(searched[best]),
            low=low,
            high=high,
            searched=(float(first), float(last)),
            at_edge=edge,
        )


def fit_laws(points: Sequence[LawPoint], *, seed: int = 0, resamples: int = 200) -> list[LawFit]:
    """Every form that the points suffice for, by held-out error; where there is none, by the fit's.

    Args:
        points: cells, each with a run or more; knowledge above 0.
        seed, resamples: of the bootstrap.

    Raises:
        ValueError: a point without accuracies, or with knowledge that is not above 0.
    """
    for point in points:
        if not point.accuracies or point.knowledge <= 0 or point.ipc < 1:
            raise ValueError(f"expected runs, an IPC from 1 on and knowledge above 0: {point}")
    points = sorted(points, key=lambda point: (point.ipc, point.knowledge))
    num_ipcs = len({point.ipc for point in points})
    num_knowledge = len({point.knowledge for point in points})
    forms = [
        form
        for form in FORMS
        if num_ipcs >= form.least_ipcs
        and num_knowledge >= form.least_knowledge
        and len(points) > len(form.parameters)
    ]
    held_out = [_held_out(form, *_columns(points)) for form in forms]
    tested = [~np.isnan(each) for each in held_out]
    compared = np.logical_and.reduce([each for each in tested if each.any()])
    fits = [
        _fit(form, points, np.where(compared, each, np.nan), seed, resamples)
        for form, each in zip(forms, held_out, strict=True)
    ]

    def rank(fit: LawFit) -> tuple[bool, float]:
        unknown = fit.held_out_error is None
        return unknown, fit.fitted_error if fit.held_out_error is None else fit.held_out_error

    return sorted(fits, key=rank)


def _fit(
    form: Form, points: Sequence[LawPoint], held_out: Array, seed: int, resamples: int
) -> LawFit:
    ipc, knowledge, accuracy, runs = _columns(points)
    fitted = fit_form(form, ipc, knowledge, accuracy, runs)
    draws = draw_parameters(
        form, fitted, ipc, knowledge, accuracy, runs, seed=seed, resamples=resamples
    )
    predicted = form.accuracy(fitted, ipc, knowledge)
    left_out = ~np.isnan(held_out)
    inner = left_out & (ipc > ipc.min()) & (ipc < ipc.max())
    largest = left_out & (ipc == ipc.max())
    ends = [percentiles(draws[:, i]) for i in range(len(form.parameters))]
    return LawFit(
        form=form.name,
        formula=form.formula,
        parameters={
            parameter.name: Interval(mean=float(fitted[i]), low=ends[i][0], high=ends[i][1])
            for i, parameter in enumerate(form.parameters)
        },
        fitted_error=_error(accuracy, predicted, np.ones_like(left_out)) or 0.0,
        held_out_error=_error(accuracy, held_out, left_out),
        held_out_ipcs=tuple(int(each) for each in np.unique(ipc[left_out])),
        interpolation_error=_error(accuracy, held_out, inner),
        extrapolation_error=_error(accuracy, held_out, largest),
        residuals=tuple(
            Residual(
                ipc=point.ipc,
                knowledge=point.knowledge,
                accuracy=float(accuracy[i]),
                fitted=float(predicted[i]),
                held_out=float(held_out[i]) if left_out[i] else None,
            )
            for i, point in enumerate(points)
        ),
        ipc_range=(int(ipc.min()), int(ipc.max())),
        knowledge_range=(float(knowledge.min()), float(knowledge.max())),
        of=form,
        fitted=fitted,
        draws=draws,
    )


def _columns(points: Sequence[LawPoint]) -> tuple[Array, Array, Array, Array]:
    """IPC, knowledge, mean accuracy and number of runs of every point."""
    return (
        np.asarray([point.ipc for point in points], dtype=np.float64),
        np.asarray([point.knowledge for point in points], dtype=np.float64),
        np.asarray([np.mean(point.accuracies) for point in points]),
        np.asarray([len(point.accuracies) for point in points], dtype=np.float64),
    )


def _held_out(form: Form, ipc: Array, knowledge: Array, accuracy: Array, runs: Array) -> Array:
    """(n,): what the form says of each point when fitted to the other IPCs; NaN if it can't."""
    predicted = np.full(len(ipc), np.nan)
    for left_out in np.unique(ipc):
        kept = ipc != left_out
        enough = len(np.unique(ipc[kept])) > 1 and kept.sum() >= len(form.parameters)
        if enough and len(np.unique(knowledge[kept])) >= form.least_knowledge:
            fitted = fit_form(form, ipc[kept], knowledge[kept], accuracy[kept], runs[kept])
            out = ~kept
            predicted[out] = form.accuracy(fitted, ipc[out], knowledge[out])
    return predicted


def _error(accuracy: Array, predicted: Array, of: Array) -> float | None:
    """Root mean square over some of the points; None over none."""
    if not of.any():
        return None
    return float(np.sqrt(np.mean((accuracy[of] - predicted[of]) ** 2)))
