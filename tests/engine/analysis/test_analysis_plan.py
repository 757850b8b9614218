"""What an old sweep was asked for, when its head had its plan alone, decides what is missing."""

from __future__ import annotations

import pytest
from analysis_record import trial

from engine.analysis import missing_runs, parse_plan, split_into_panels

GRID = {
    "ipc": [1, 10],
    "expert_epochs": [5, 13],
    "labels": ["soft", "hard"],
    "temperature": [1.0],
    "seeds": [0, 1],
    "subset_seed": None,
    "student": {"model": "convnet-d3", "optimizer": {"lr": 0.01}},
}


def missing(trials, **changes):
    plan = parse_plan({**GRID, **changes}, [0, 5, 13])
    panels = split_into_panels(trials, plan.asked_cells(trials))
    assert len(panels) == 1
    return {(c.ipc, c.expert_epoch): len(seeds) for _, c, seeds in missing_runs(panels)}


def test_cells_that_were_never_begun_are_missing():
    every = {(ipc, epoch): 2 for ipc in (1, 10) for epoch in (5, 13, None)}
    del every[1, 5]
    assert missing([trial(1, 5, seed=s) for s in (0, 1)]) == every


def test_a_plan_of_hard_labels_alone_concerns_them():
    assert missing([trial(1, None, seed=0)], labels=["hard"]) == {(1, None): 1, (10, None): 2}


def test_a_plan_for_another_student_says_nothing_of_these_trials():
    trials = [trial(1, 5)]
    assert missing(trials, student={"model": "resnet18"}) == {}


def test_all_epochs_are_those_of_the_store():
    asked = parse_plan({**GRID, "expert_epochs": "all"}, [0, 5, 13])
    assert asked.expert_epochs == (0, 5, 13)


def test_one_seed_sets_all_four_and_a_subset_seed_fixes_the_subset():
    assert dict(parse_plan(GRID, []).seeds[1]) == dict.fromkeys(
        ("subset_seed", "init_seed", "order_seed", "augment_seed"), 1
    )
    assert [dict(s)["subset_seed"] for s in parse_plan({**GRID, "subset_seed": 7}, []).seeds] == [
        7,
        7,
    ]


def test_seeds_of_a_plan_are_those_of_its_trials():
    assert parse_plan(GRID, []).seeds[0] == trial(1, 5, seed=0).seeds


def test_a_temperature_that_never_ran_is_missing_from_a_panel_of_its_own():
    trials = [trial(1, 5)]
    plan = parse_plan({**GRID, "labels": ["soft"], "ipc": [1], "temperature": [1.0, 2.0]}, [])
    panels = split_into_panels(trials, plan.asked_cells(trials))
    assert [panel.axes["temperature"] for panel in panels] == [1.0, 2.0]
    owed = {panel.axes["temperature"]: len(seeds) for panel, _, seeds in missing_runs(panels)}
    assert owed == {1.0: 2, 2.0: 2}


@pytest.mark.parametrize("grid", [{}, {"grids": [GRID]}, {**GRID, "by_ipc": {"1": {"lr": 0.1}}}])
def test_other_plans_of_old_sweeps_are_not_known(grid):
    assert parse_plan(grid, [5]) is None


def test_a_grid_that_is_none_is_refused():
    with pytest.raises(ValueError, match="ten"):
        parse_plan({**GRID, "ipc": ["ten"]}, [])
