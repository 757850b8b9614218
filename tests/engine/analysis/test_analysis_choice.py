"""The best expert epoch is chosen on validation where there is validation."""

from __future__ import annotations

import pytest
from analysis_record import trial

from engine.analysis import choose_as_the_papers, choose_expert_epoch, split_into_panels


def cells(*trials):
    return split_into_panels(trials)[0].soft_cells(1)


def test_validation_decides_even_where_test_prefers_another_epoch():
    found = choose_expert_epoch(
        cells(trial(1, 5, 0.20, validation=0.10), trial(1, 13, 0.15, validation=0.12))
    )
    assert (found.cell.expert_epoch, found.chosen_on) == (13, "validation")


def test_without_validation_test_decides_and_is_named():
    found = choose_expert_epoch(
        cells(trial(1, 5, 0.20, validation=None), trial(1, 13, 0.15, validation=None))
    )
    assert (found.cell.expert_epoch, found.chosen_on) == (5, "test")


def test_one_candidate_without_validation_makes_test_decide():
    found = choose_expert_epoch(
        cells(trial(1, 5, 0.20, validation=None), trial(1, 13, 0.15, validation=0.9))
    )
    assert (found.cell.expert_epoch, found.chosen_on) == (5, "test")


def test_a_cell_whose_runs_all_failed_does_not_take_part():
    found = choose_expert_epoch(cells(trial(1, 5, status="failed"), trial(1, 13)))
    assert (found.cell.expert_epoch, found.chosen_on) == (13, "validation")


def test_of_equal_epochs_the_earlier_wins():
    assert choose_expert_epoch(cells(trial(1, 13), trial(1, 5))).cell.expert_epoch == 5


def test_nothing_measured_means_no_choice():
    nothing = cells(trial(test=None, validation=None, max_on_test=None))
    assert choose_expert_epoch(nothing) is None
    assert choose_as_the_papers(nothing) is None


def test_candidates_with_different_numbers_of_runs_are_flagged():
    unequal = cells(trial(1, 5, seed=0), trial(1, 5, seed=1), trial(1, 13, seed=0))
    assert not choose_expert_epoch(unequal).equal_n
    assert choose_expert_epoch(unequal[1:]).equal_n


@pytest.mark.parametrize("choose", [choose_expert_epoch, choose_as_the_papers])
def test_further_runs_of_one_epoch_do_not_make_it_win(choose):
    def run(epoch, accuracy, seed):
        return trial(1, epoch, accuracy, validation=accuracy, max_on_test=accuracy, seed=seed)

    better = [run(13, 0.20 + 0.01 * seed, seed) for seed in range(3)]
    worse = [run(5, 0.19 + 0.01 * seed, seed) for seed in range(3)]
    lucky = [run(5, 0.40, seed) for seed in (3, 4)]
    assert choose(cells(*better, *worse, *lucky)).cell.expert_epoch == 13
    # Without a seed in common there is nothing to compare but each epoch's own runs.
    assert choose(cells(*better, *lucky)).cell.expert_epoch == 5


@pytest.mark.parametrize("choose", [choose_expert_epoch, choose_as_the_papers])
@pytest.mark.parametrize(("stray", "best"), [(0.01, 4), (0.095, 41)])
def test_a_stray_run_of_one_epoch_leaves_the_others_their_seeds(choose, stray, best):
    """It is compared with the best of them over its own seed, the one in which that is not ahead:
    there it has to beat 9 %."""

    def run(epoch, accuracy, seed):
        return trial(1, epoch, accuracy, validation=accuracy, max_on_test=accuracy, seed=seed)

    ahead = [run(4, value, seed) for seed, value in enumerate([0.09, 0.10, 0.10, 0.10, 0.105])]
    behind = [run(13, value, seed) for seed, value in enumerate([0.10, 0.08, 0.08, 0.08, 0.075])]
    assert choose(cells(*ahead, *behind)).cell.expert_epoch == 4
    assert choose(cells(*ahead, *behind, run(41, stray, 0))).cell.expert_epoch == best


def test_the_papers_choose_by_the_maximum_on_test():
    found = choose_as_the_papers(
        cells(trial(1, 5, 0.2, max_on_test=0.21), trial(1, 13, 0.1, max_on_test=0.3))
    )
    assert (found.cell.expert_epoch, found.chosen_on) == (13, "test")
