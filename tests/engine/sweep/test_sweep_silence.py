"""How long a worker has been silent, and how much it is given ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sweep.executors.lookahead import MOST_AHEAD, Lookahead
from engine.sweep.executors.schedule import Job, Schedule
from engine.sweep.executors.silence import Silence, no_progress


@given(
    gaps=st.lists(st.floats(0, 10), min_size=1, max_size=30),
    heard_before=st.sets(st.integers(0, 29)),
)
def test_silence_is_the_time_since_a_worker_was_heard_as_far_as_somebody_listened(
    gaps: list[float], heard_before: set[int]
) -> None:
    silence = Silence(longest_look=1.0)
    now = 100.0
    silence.pass_time(now)
    silence.heard("worker")
    for number, gap in enumerate(gaps):
        if number in heard_before:
            silence.heard("worker")
        now += gap
        silence.pass_time(now)
    last = max((n for n in heard_before if n < len(gaps)), default=0)
    assert silence.of("worker") == pytest.approx(sum(min(gap, 1.0) for gap in gaps[last:]))


def test_the_time_before_the_first_look_counts_for_nothing() -> None:
    silence = Silence(longest_look=1.0)
    silence.heard("worker")
    silence.pass_time(1e9)
    assert silence.of("worker") == 0


def test_a_worker_that_is_gone_or_unknown_is_not_silent() -> None:
    silence = Silence(longest_look=1.0)
    for name in ("gone", "there"):
        silence.heard(name)
    silence.pass_time(0)
    silence.forget("gone")
    silence.pass_time(1)
    assert [silence.of(name) for name in ("gone", "there", "never seen")] == [0, 1, 0]


@pytest.mark.parametrize(("seconds", "words"), [(1800, "30 min"), (45, "45 s"), (90, "1.5 min")])
def test_the_reason_names_the_time_and_the_trial(seconds: float, words: str) -> None:
    assert (
        no_progress(seconds, "ab12")
        == f"made no progress for {words} at trial ab12, and was killed"
    )


def lookahead(seconds_a_trial: float, *, waiting: int = 1000) -> Lookahead:
    jobs = [Job(str(number), "a", 10.0) for number in range(waiting)]
    made = Lookahead(Schedule(jobs), seconds_ahead=0.2)
    made.finished(10.0, seconds_a_trial)
    return made


@pytest.mark.parametrize(
    ("seconds", "ahead"), [(1e-5, MOST_AHEAD), (0.02, 10), (0.15, 1), (0.3, 0), (600, 0)]
)
def test_a_worker_holds_a_fixed_times_worth_of_trials(seconds: float, ahead: int) -> None:
    assert lookahead(seconds).trials_ahead([], workers=2) == pytest.approx(ahead, abs=0)


def test_the_last_trials_are_shared_out() -> None:
    assert lookahead(1e-5, waiting=12).trials_ahead([], workers=3) == 2
    assert lookahead(1e-5, waiting=1).trials_ahead([], workers=3) == 0


def test_before_any_trial_has_ended_nothing_is_held() -> None:
    made = Lookahead(Schedule([Job(str(n), "a", 1.0) for n in range(9)]), seconds_ahead=0.2)
    assert made.trials_ahead([], workers=1) == 0


def test_a_long_trial_in_hand_is_judged_by_its_own_length() -> None:
    assert lookahead(1e-3).trials_ahead([Job("long", "a", 1e4)], workers=1) == 0


def test_the_pace_follows_the_trials() -> None:
    made = lookahead(1e-5)
    for _ in range(40):
        made.finished(10.0, 60.0)
    assert made.trials_ahead([], workers=1) == 0
