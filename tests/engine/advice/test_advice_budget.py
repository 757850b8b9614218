"""Budgets of time, and what fits them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.advice.budget import parse_budget
from engine.advice.costs import Costs, Wish, fit_budget
from engine.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("45s", 45),
        ("1.5h", 5400),
        ("1d 2h", 93_600),
        ("1H30M10S", 5410),
    ],
)
def test_a_budget_is_read_as_a_person_writes_it(text, seconds):
    assert parse_budget(text) == seconds


@given(*[st.integers(0, 400)] * 4)
def test_a_budget_of_every_unit_is_their_sum(days, hours, minutes, seconds):
    total = 86_400 * days + 3600 * hours + 60 * minutes + seconds
    if total:
        assert parse_budget(f"{days}d{hours}h{minutes}m{seconds}s") == total


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "m2", "30m1h", "-1h", "0h", "1h1h", "nan"])
def test_what_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"expected a budget .* 1h30m or 45s, found"):
        parse_budget(text)


COSTS = Costs(
    expert_epoch=10.0,
    labels=5.0,
    students=lambda count, epochs: 0.1 * count * (epochs or 100),
    basis="",
)
WISH = Wish(expert_epochs=20, students=3, student_epochs=100, shortest=30)
WHOLE = 20 * 10 + 5 + 0.1 * 3 * 100  # 235 s


def test_students_are_added_while_they_fit():
    plan = fit_budget(COSTS, WHOLE + 25, WISH)
    assert (plan.expert_epochs, plan.students, plan.student_epochs) == (20, 5, 100)
    assert (plan.seconds, plan.reduced) == (WHOLE + 20, "")


def test_students_get_shorter_before_the_expert_does():
    plan = fit_budget(COSTS, WHOLE - 12, WISH)
    assert (plan.expert_epochs, plan.students, plan.student_epochs) == (20, 3, 60)
    assert plan.reduced == "shorter students"


def test_the_expert_stops_earlier_where_the_shortest_students_do_not_fit():
    plan = fit_budget(COSTS, 100, WISH)
    assert (plan.expert_epochs, plan.students, plan.student_epochs) == (8, 3, 30)
    assert "earlier expert epoch" in plan.reduced


def test_nothing_fits_less_than_one_epoch_and_the_shortest_students():
    assert fit_budget(COSTS, 23, WISH) is None
    assert fit_budget(COSTS, 24, WISH).expert_epochs == 1


@given(st.floats(1, 3000))
def test_a_plan_never_exceeds_its_budget_and_a_larger_one_never_gets_less(budget):
    plan = fit_budget(COSTS, budget, WISH)
    more = fit_budget(COSTS, 1.3 * budget, WISH)
    if plan is None:
        return
    assert plan.seconds <= budget
    assert more.expert_epochs >= plan.expert_epochs
    assert more.students * more.student_epochs >= plan.students * plan.student_epochs
