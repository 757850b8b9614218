"""Scaling laws: synthetic truth, scipy's curve_fit, and the published grid."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.optimize import curve_fit, least_squares

from engine.analysis import FORMS, LawPoint, fit_laws
from engine.analysis.law_fit import draw_parameters, fit_form
from engine.analysis.published import read_published

PUBLISHED = read_published()["cifar100"].grid
BY_NAME = {form.name: form for form in FORMS}
GRID = ([1, 2, 5, 10, 20, 50], [2, 4, 7, 13, 24, 41, 80])
TRUTHS = {
    "data only": (0.55, 0.45, 0.4),
    "data only, demand": (0.55, 2.5, 0.8),
    "separable": (0.6, 0.3, 0.4, 0.4, 0.7),
    "scarcity grows with knowledge": (0.6, 0.12, 0.6, 0.6, 0.8, 0.35),
    "moving optimum": (0.5, 0.35, 0.5, 0.03, 2.2, 0.4),
    "moving optimum, logarithmic data": (0.12, 0.08, 0.03, 2.2, 0.4),
    "moving optimum, relative": (0.5, 0.35, 0.5, 0.15, 2.2, 0.4),
    "ceiling and demand": (0.6, 0.8, 0.5, -1.0, 0.8, 0.9),
}


def drawn(name, *, noise=0.0, runs=3, grid=GRID, seed=0):
    """Points of a form with known parameters."""
    generator = np.random.default_rng(seed)
    points = []
    for ipc in grid[0]:
        for knowledge in grid[1]:
            at = np.asarray([float(ipc)]), np.asarray([float(knowledge)])
            truth = BY_NAME[name].accuracy(np.asarray(TRUTHS[name]), *at)[0]
            noisy = truth + generator.normal(0, noise, runs)
            points.append(LawPoint(ipc=ipc, knowledge=knowledge, accuracies=tuple(noisy.tolist())))
    return points


def published_points():
    return [
        LawPoint(ipc=ipc, knowledge=epoch, accuracies=(percent / 100,))
        for ipc, by_epoch in PUBLISHED.items()
        for epoch, percent in by_epoch.items()
    ]


@cache
def published_laws():
    return fit_laws(published_points(), resamples=50)


def fitted(name, points):
    columns = (
        np.asarray([float(point.ipc) for point in points]),
        np.asarray([float(point.knowledge) for point in points]),
        np.asarray([np.mean(point.accuracies) for point in points]),
        np.asarray([float(len(point.accuracies)) for point in points]),
    )
    return fit_form(BY_NAME[name], *columns), columns


@pytest.mark.parametrize("name", BY_NAME)
def test_every_form_recovers_its_own_parameters_without_noise(name):
    found, _ = fitted(name, drawn(name))
    assert found == pytest.approx(TRUTHS[name], rel=0.03, abs=0.01)


@pytest.mark.parametrize("name", BY_NAME)
def test_held_out_error_chooses_the_true_form(name):
    laws = fit_laws(drawn(name, noise=0.001), resamples=2)
    best = laws[0]
    assert best.held_out_error < 0.002
    # A form that contains the true one may be as good; the true one is among the best then.
    alike = [law.form for law in laws if law.held_out_error < 1.3 * best.held_out_error]
    assert name in alike


@pytest.mark.parametrize("name", ["separable", "moving optimum", "ceiling and demand"])
def test_fit_is_scipys_curve_fit(name):
    form = BY_NAME[name]
    found, (ipc, knowledge, accuracy, _) = fitted(name, drawn(name, noise=0.004))

    def curve(x, *parameters):
        return form.accuracy(np.asarray(parameters), x[0], x[1])

    reference, _ = curve_fit(curve, (ipc, knowledge), accuracy, p0=TRUTHS[name], bounds=form.bounds)
    ours = form.accuracy(found, ipc, knowledge)
    assert ours == pytest.approx(curve((ipc, knowledge), *reference), abs=2e-4)


@pytest.mark.parametrize("name", BY_NAME)
def test_no_start_of_scipys_least_squares_finds_smaller_squares_on_the_published_grid(name):
    form = BY_NAME[name]
    found, (ipc, knowledge, accuracy, _) = fitted(name, published_points())

    def off(parameters):
        return form.accuracy(parameters, ipc, knowledge) - accuracy

    low, high = form.bounds
    generator = np.random.default_rng(0)
    others = [
        least_squares(off, generator.uniform(low, high), bounds=(low, high), x_scale=high - low)
        for _ in range(6)
    ]
    ours, best = np.sum(off(found) ** 2), 2 * min(fit.cost for fit in others)
    assert ours <= 1.01 * best


def test_more_runs_weigh_more():
    points = [LawPoint(ipc=n, knowledge=1, accuracies=(0.5 - 0.4 * n**-0.5,)) for n in (1, 4, 16)]
    outlier = LawPoint(ipc=64, knowledge=1, accuracies=(0.30,))
    heavy = LawPoint(ipc=64, knowledge=1, accuracies=(0.30,) * 50)
    of = {}
    for name, last in ("light", outlier), ("heavy", heavy):
        found, _ = fitted("data only", [*points, last])
        at = np.asarray([64.0]), np.asarray([1.0])
        of[name] = BY_NAME["data only"].accuracy(found, *at)[0]
    assert abs(of["heavy"] - 0.30) < abs(of["light"] - 0.30)


def test_intervals_hold_the_true_curve_nearly_as_often_as_95_percent():
    name, places = "moving optimum", ([1.0, 5.0, 50.0], [4.0, 24.0, 41.0])
    form, at = BY_NAME[name], tuple(np.asarray(each) for each in places)
    truth = form.accuracy(np.asarray(TRUTHS[name]), *at)
    held = []
    for seed in range(60):
        found, columns = fitted(name, drawn(name, noise=0.005, runs=1, seed=seed))
        draws = draw_parameters(form, found, *columns, seed=seed, resamples=100)
        low, high = np.quantile(form.accuracy(draws, *at), [0.025, 0.975], axis=0)
        held += [(low <= truth) & (truth <= high)]
    assert np.mean(held) == pytest.approx(0.92, abs=0.06)


def test_best_epoch_of_the_fit_is_the_true_one_and_moves_with_ipc():
    laws = fit_laws(drawn("moving optimum", noise=0.002), resamples=60)
    (law,) = [law for law in laws if law.form == "moving optimum"]
    for ipc in (1, 10, 50):
        truth = np.exp(2.2 + 0.4 * np.log(ipc))
        optimum = law.best_knowledge(ipc)
        assert optimum.knowledge == pytest.approx(truth, rel=0.1)
        assert optimum.low <= optimum.knowledge <= optimum.high
        assert optimum.at_edge is None


def test_an_optimum_at_the_end_of_what_was_measured_is_said_to_be_a_bound():
    laws = fit_laws(drawn("separable", noise=0.001), resamples=5)
    (law,) = [law for law in laws if law.form == "separable"]
    optimum = law.best_knowledge(10)
    assert (optimum.at_edge, optimum.knowledge) == ("last", pytest.approx(80))
    assert law.best_knowledge(10, beyond=2).knowledge == pytest.approx(160)
    (flat,) = [law for law in laws if law.form == "data only"]
    assert flat.best_knowledge(10) is None


def test_interpolation_and_extrapolation_are_told_apart():
    laws = fit_laws(drawn("moving optimum", noise=0.002), resamples=2)
    law = laws[0]
    inner = [r for r in law.residuals if 1 < r.ipc < 50]
    largest = [r for r in law.residuals if r.ipc == 50]
    for error, rows in (law.interpolation_error, inner), (law.extrapolation_error, largest):
        assert error == pytest.approx(
            np.sqrt(np.mean([(r.accuracy - r.held_out) ** 2 for r in rows]))
        )
    assert not law.extrapolates(7, 30)
    assert law.extrapolates(51, 30)
    assert law.extrapolates(7, 81)


UNBALANCED = {1: (2, 4, 7, 13, 24, 41, 60, 80), 5: (4, 13, 41), 10: (7, 41)}
"""IPC → epochs: without IPC 1 too few points are left for forms with six parameters."""


@pytest.mark.parametrize("name", ["separable", "moving optimum", "ceiling and demand"])
def test_forms_are_compared_at_the_points_that_all_were_tested_at(name):
    points = [
        point
        for ipc, epochs in UNBALANCED.items()
        for point in drawn(name, noise=0.002, grid=([ipc], epochs), seed=ipc)
    ]
    laws = fit_laws(points, resamples=2)
    assert laws[0].form == name
    for law in laws:
        assert law.held_out_ipcs == (5, 10)
        rows = [row for row in law.residuals if row.held_out is not None]
        assert [(row.ipc, row.knowledge) for row in rows] == [
            (ipc, epoch) for ipc in (5, 10) for epoch in UNBALANCED[ipc]
        ]
        # What a form says of an IPC is what it says when that was never measured.
        for ipc in (5, 10):
            found, _ = fitted(law.form, [point for point in points if point.ipc != ipc])
            own = [row for row in rows if row.ipc == ipc]
            at = (np.asarray([float(r.ipc) for r in own]), np.asarray([r.knowledge for r in own]))
            ours = BY_NAME[law.form].accuracy(found, *at)
            assert [row.held_out for row in own] == pytest.approx(ours)
        errors = [row.accuracy - row.held_out for row in rows]
        assert law.held_out_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert [law.held_out_error for law in laws] == sorted(law.held_out_error for law in laws)


def test_residuals_are_measured_minus_fitted():
    laws = fit_laws(drawn("separable", noise=0.01), resamples=2)
    for law in laws:
        assert law.fitted_error == pytest.approx(
            np.sqrt(np.mean([row.residual**2 for row in law.residuals]))
        )


def test_same_points_and_seed_give_the_same_numbers_in_any_order():
    points = drawn("separable", noise=0.01)
    first, second = (fit_laws(each, resamples=3) for each in (points, points[::-1]))
    assert [law.parameters for law in first] == [law.parameters for law in second]


def test_a_grid_of_two_ipcs_gets_the_forms_that_it_suffices_for():
    laws = fit_laws(drawn("moving optimum", grid=([1, 10], [4, 7, 13, 24])), resamples=2)
    assert [law.form for law in laws] == ["moving optimum, logarithmic data"]
    assert (laws[0].held_out_error, laws[0].held_out_ipcs) == (None, ())
    assert fit_laws(drawn("moving optimum", grid=([1], [4, 7, 13])), resamples=2) == []


@pytest.mark.parametrize(
    "point",
    [
        LawPoint(ipc=1, knowledge=0, accuracies=(0.1,)),
        LawPoint(ipc=1, knowledge=4, accuracies=()),
        LawPoint(ipc=0, knowledge=4, accuracies=(0.1,)),
    ],
)
def test_points_that_have_no_logarithm_or_no_run_are_refused(point):
    with pytest.raises(ValueError, match="expected runs"):
        fit_laws([point])


def test_published_grid_is_predicted_at_ipcs_left_out():
    best = published_laws()[0]
    assert best.interpolation_error < 0.015
    assert best.held_out_error < 0.025
    assert best.fitted_error < 0.012


def test_published_best_epoch_grows_with_ipc():
    law = next(law for law in published_laws() if law.best_knowledge(1) is not None)
    best = [law.best_knowledge(ipc).knowledge for ipc in PUBLISHED]
    assert best == sorted(best)
    assert 8 <= best[0] <= 20  # 15 of the measured ones, and 13 in the paper's Table 7
    assert 20 <= best[2] <= 60  # 57, with 24 beside it; 36 in Table 7
    assert best[3] >= 55  # 125


def test_published_knowledge_matters_at_every_ipc():
    errors = {law.form: law.held_out_error for law in published_laws()}
    assert errors["data only"] > 3 * min(errors.values())
