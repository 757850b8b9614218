"""The best expert epoch of every IPC, how sure it is, and whether it grows with IPC."""

from __future__ import annotations

import pytest
from analysis_record import asked, trial

from engine.analysis import best_epochs, judge_growth, split_into_panels

NOISE = (0.0, 0.001, 0.0015, 0.0005)


def panel_of(accuracies, *, seeds=3, noise=NOISE, wanted=()):
    """Panel of {IPC: {epoch: accuracy}}; every run a little off, validation as test."""
    runs = []
    for ipc, by_epoch in accuracies.items():
        for place, (epoch, accuracy) in enumerate(by_epoch.items()):
            for seed in range(seeds):
                value = accuracy + noise[(seed * (place + 1) + ipc) % len(noise)]
                runs.append(trial(ipc, epoch, value, validation=value, seed=seed))
    (panel,) = split_into_panels(runs, wanted)
    return panel


GROWING = {
    1: {4: 0.15, 13: 0.10, 41: 0.05},
    5: {4: 0.15, 13: 0.20, 41: 0.18},
    10: {4: 0.15, 13: 0.22, 41: 0.30},
}


def test_a_best_epoch_that_grows_beyond_the_scatter_is_established():
    found = best_epochs(panel_of(GROWING))
    assert [(each.ipc, each.epoch) for each in found] == [(1, 4), (5, 13), (10, 41)]
    growth = judge_growth(found)
    assert growth.direction == "grows"
    assert growth.rises == ((1, 5), (1, 10), (5, 10))
    assert growth.falls == ()


def test_one_run_a_cell_shows_a_direction_and_establishes_nothing():
    growth = judge_growth(best_epochs(panel_of(GROWING, seeds=1)))
    assert (growth.direction, growth.rises, growth.falls) == ("grows", (), ())


def test_large_scatter_establishes_nothing():
    found = best_epochs(panel_of(GROWING, noise=(0.2, 0.0, 0.1, 0.3)))
    assert judge_growth(found).rises == ()
    assert any(len(each.contest.plausible) > 1 for each in found)


@pytest.mark.parametrize(
    ("best", "direction"),
    [((4, 4, 4), "equal"), ((4, 13, 13), "grows"), ((41, 13, 4), "falls"), ((4, 41, 13), "mixed")],
)
def test_the_direction_is_that_of_the_chosen_epochs(best, direction):
    accuracies = {
        ipc: {epoch: 0.3 if epoch == top else 0.1 for epoch in (4, 13, 41)}
        for ipc, top in zip((1, 5, 10), best, strict=True)
    }
    growth = judge_growth(best_epochs(panel_of(accuracies)))
    assert growth.direction == direction
    assert bool(growth.rises) == (direction in ("grows", "mixed"))
    assert bool(growth.falls) == (direction in ("falls", "mixed"))


def test_ipcs_with_epochs_of_their_own_are_no_evidence_of_growth():
    found = best_epochs(panel_of({1: {4: 0.1, 7: 0.2}, 10: {24: 0.3, 41: 0.4}}))
    growth = judge_growth(found)
    assert (growth.direction, growth.same_epochs, growth.rises) == ("grows", False, ())


def test_an_ipc_with_one_epoch_has_no_best_one():
    found = best_epochs(panel_of({1: {13: 0.1}, 10: {13: 0.3, 41: 0.4}}))
    assert [each.ipc for each in found] == [10]
    assert judge_growth(found) is None


def test_epochs_that_still_lack_runs_are_named():
    wanted = [asked(1, epoch, seeds=range(3)) for epoch in (4, 13, 41, 57)]
    (found,) = best_epochs(panel_of({1: GROWING[1]}, wanted=wanted))
    assert (found.compared, found.owed) == ((4, 13, 41), (57,))


def test_the_end_of_the_range_is_told():
    first, middle, last = best_epochs(panel_of(GROWING))
    assert (first.is_first, first.is_last) == (True, False)
    assert (middle.is_first, middle.is_last) == (False, False)
    assert (last.is_first, last.is_last) == (False, True)


def test_the_contest_is_held_on_what_the_choice_was_made_by():
    runs = [
        trial(1, epoch, test, validation=validation, seed=seed)
        for epoch, test, validation in ((4, 0.9, 0.1), (13, 0.2, 0.3))
        for seed in (0, 1)
    ]
    (panel,) = split_into_panels(runs)
    (found,) = best_epochs(panel)
    assert (found.epoch, found.contest.wins, found.contest.blocks) == (13, 2, 2)
    assert (found.choice.measure, found.choice.chosen_on) == ("selected", "validation")


def test_the_more_ipcs_are_judged_together_the_more_is_left_open():
    noise = (0.0, 0.03, 0.015, 0.045)
    alone = best_epochs(panel_of({1: GROWING[1]}, noise=noise))[0]
    among = best_epochs(panel_of(dict.fromkeys((1, 5, 9, 13), GROWING[1]), noise=noise))[0]
    assert (alone.contest.plausible, among.contest.plausible) == ((4,), (4, 13))
