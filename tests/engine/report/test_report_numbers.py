"""How numbers are written."""

from __future__ import annotations

import pytest

from engine.analysis import difference, summarise
from engine.report import numbers


def test_an_accuracy_is_percent_with_one_decimal():
    assert numbers.accuracy(summarise([0.158, 0.162])) == "16.0 ± 0.2"


def test_a_single_run_has_no_plus_minus():
    assert numbers.accuracy(summarise([0.158])) == "15.8"


def test_nothing_measured_is_a_dash():
    assert numbers.accuracy(None) == numbers.gain(None) == numbers.percent(None) == "—"


@pytest.mark.parametrize(
    ("value", "text"), [(0.105, "+10.5"), (-0.105, "−10.5"), (0.0, "0.0"), (-0.0001, "0.0")]
)
def test_a_gain_shows_its_sign(value, text):
    assert numbers.gain(difference({0: value}, {0: 0.0})) == text


def test_tooltips_give_interval_and_n():
    text = numbers.accuracy_in_full(summarise([0.1, 0.2, 0.3]))
    assert text == "mean 20.00 %, std 8.16, n = 3, 95 % CI −4.84 to 44.84"
    text = numbers.gain_in_full(difference({0: 0.2, 1: 0.4}, {0: 0.1, 1: 0.1}))
    assert text.startswith("+20.00 percentage points, 95 % CI −107.06 to +147.06, 2 pairs")


def test_tooltips_split_the_spread_of_several_subsets():
    text = numbers.accuracy_in_full(summarise([0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]))
    assert "(5.00 within subsets, 20.00 between 2)" in text
    assert "from 2 subsets" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.4, "12 s"), (190, "3 min 10 s"), (7530, "2 h 05 min")]
)
def test_durations(seconds, text):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "none"), (True, "yes"), (1.0, "1"), (5e-4, "0.0005"), ("a", "a")]
)
def test_settings_in_words(value, text):
    assert numbers.setting("student.batch_size", value) == f"student batch size {text}"


def test_lists_in_words():
    assert [numbers.listed(w) for w in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]
