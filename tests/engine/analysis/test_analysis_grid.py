"""Trials fall into panels of comparable cells, and are never averaged across them."""

from __future__ import annotations

import pytest
from analysis_record import asked, trial

from engine.analysis import missing_runs, split_into_panels, spread_meaning


def owed(panels):
    """(IPC, expert epoch) → the seeds that are missing there."""
    return {
        (cell.ipc, cell.expert_epoch): [dict(one)["init_seed"] for one in seeds]
        for _, cell, seeds in missing_runs(panels)
    }


def test_cells_are_keyed_by_ipc_and_expert_epoch():
    (panel,) = split_into_panels(
        [trial(i, e, 0.1 * i, seed=s) for i in (1, 2) for e in (5, 13, None) for s in (0, 1)]
    )
    assert (panel.ipcs, panel.expert_epochs, panel.has_hard) == ([1, 2], [5, 13], True)
    assert list(panel.cells) == [(1, 5), (1, 13), (1, None), (2, 5), (2, 13), (2, None)]
    summary = panel.cell(2, 13).summary("final")
    assert (summary.n, summary.mean) == (2, pytest.approx(0.2))


@pytest.mark.parametrize(
    "axis", ["temperature", "lr", "view", "expert", "codec", "something_new_in_the_cell"]
)
def test_values_of_an_axis_make_panels_not_averages(axis):
    trials = [trial(i, 13, 0.1 * k, cell={axis: k}) for i in (1, 10) for k in (1, 2)]
    panels = split_into_panels(trials)
    assert [dict(panel.axes) for panel in panels] == [{axis: 1}, {axis: 2}]
    means = [panel.cell(10, 13).summary("final").mean for panel in panels]
    assert means == pytest.approx([0.1, 0.2])


def test_labels_stored_by_another_codec_make_their_own_panel():
    trials = [trial(i, 13, codec=codec) for i in (1, 10) for codec in ("dense", "topk:5")]
    assert [p.axes["codec"] for p in split_into_panels(trials)] == ["dense", "topk:5"]


def test_equally_named_experts_are_told_apart_by_the_view_of_their_labels():
    trials = [trial(i, 13, label_view=v) for i in (1, 10) for v in ("view1", "view2")]
    assert [p.axes["label_view_id"] for p in split_into_panels(trials)] == ["view1", "view2"]


def test_the_view_of_the_labels_is_not_named_where_the_experts_name_says_it_already():
    trials = [trial(i, 13, label_view=e, cell={"expert": e}) for i in (1, 10) for e in ("a", "b")]
    assert [dict(p.axes) for p in split_into_panels(trials)] == [{"expert": "a"}, {"expert": "b"}]


def test_students_of_another_configuration_are_another_panel():
    trials = [trial(i, 13, student={"epochs": e}) for i in (1, 10) for e in (30, 3000)]
    assert [p.axes["student.epochs"] for p in split_into_panels(trials)] == [30, 3000]


def test_a_learning_rate_per_ipc_stays_in_one_table():
    trials = [trial(1, 13, cell={"lr": 0.001}), trial(10, 36, cell={"lr": 0.005})]
    (panel,) = split_into_panels(trials)
    assert panel.by_ipc["lr"] == {1: 0.001, 10: 0.005}


def test_an_expert_per_ipc_does_not_stay_in_one_table():
    trials = [trial(1, 13, cell={"expert": "a"}), trial(10, 13, cell={"expert": "b"})]
    assert [panel.axes["expert"] for panel in split_into_panels(trials)] == ["a", "b"]


def test_hard_labels_belong_to_every_panel_that_shares_their_settings():
    soft = [trial(1, 13, cell={"temperature": t, "lr": lr}) for t in (1, 2) for lr in (0.1, 0.2)]
    panels = split_into_panels([*soft, trial(1, None, 0.047, cell={"lr": 0.1})])
    with_hard = {(p.axes["temperature"], p.axes["lr"]) for p in panels if p.has_hard}
    assert len(panels) == 4
    assert with_hard == {(1, 0.1), (2, 0.1)}


def test_hard_labels_without_a_panel_make_their_own():
    trials = [trial(1, 13), trial(1, 13, cell={"lr": 0.1}), trial(1, None, cell={"lr": 0.5})]
    assert [p.has_hard for p in split_into_panels(trials)] == [False, False, True]


def test_the_same_seeds_twice_count_once_and_are_set_aside():
    first, again = trial(1, 13, 0.10), trial(1, 13, 0.30)
    cell = split_into_panels([first, again])[0].cell(1, 13)
    assert (cell.trials, cell.repeated) == ((first,), (again,))


def test_a_failed_run_is_kept_apart_until_another_run_of_its_seeds_is_done():
    failed, done = trial(1, 13, status="failed"), trial(1, 13)
    assert split_into_panels([failed])[0].cell(1, 13).failed == (failed,)
    assert split_into_panels([failed, done])[0].cell(1, 13).failed == ()


def test_what_was_asked_for_and_not_run_is_missing_and_nothing_else():
    trials = [trial(1, 5, seed=0), trial(1, 5, seed=1), trial(10, 13, seed=0), trial(1, None)]
    wanted = [asked(1, 5, seeds=[0, 1, 2]), asked(10, 13, seeds=[0]), asked(10, None, seeds=[4])]
    panels = split_into_panels(trials, wanted)
    assert len(panels) == 1
    assert owed(panels) == {(1, 5): [2], (10, None): [4]}
    assert panels[0].cell(1, 13) is None


def test_without_a_plan_nothing_is_missing():
    assert owed(split_into_panels([trial(1, 5), trial(10, 13)])) == {}


def test_a_failed_run_is_not_missing():
    panels = split_into_panels([trial(1, 13, status="failed")], [asked(1, 13, seeds=[0])])
    assert owed(panels) == {}


def test_an_ipc_of_which_nothing_ran_yet_is_in_its_panel():
    (panel,) = split_into_panels([trial(1, 5)], [asked(1, 5), asked(100, 5), asked(100, None)])
    assert (panel.ipcs, panel.has_hard) == ([1, 100], True)
    assert panel.cell(100, 5).trials == ()


def test_a_setting_of_which_nothing_ran_yet_is_a_panel_without_runs():
    wanted = [asked(1, 5, cell={"lr": lr}) for lr in (0.01, 0.1)]
    panels = split_into_panels([trial(1, 5)], wanted)
    assert [(panel.axes["lr"], panel.has_runs) for panel in panels] == [(0.01, True), (0.1, False)]


def test_a_setting_by_ipc_stays_in_one_table_before_the_other_ipc_ran():
    wanted = [asked(1, 5, cell={"lr": 0.001}), asked(10, 5, cell={"lr": 0.005})]
    (panel,) = split_into_panels([trial(1, 5, cell={"lr": 0.001})], wanted)
    assert panel.by_ipc["lr"] == {1: 0.001, 10: 0.005}


def test_missing_hard_labels_are_told_once_however_many_panels_they_belong_to():
    soft = [trial(1, 5, cell={"temperature": t}) for t in (1.0, 2.0, 4.0)]
    panels = split_into_panels(soft, [asked(1, None, seeds=[0, 1])])
    assert len(panels) == 3
    assert [len(seeds) for *_, seeds in missing_runs(panels)] == [2]


@pytest.mark.parametrize(
    ("subsets", "words"),
    [
        ([0], "a single run"),
        ([0, 0, 0], "on one subset"),
        ([0, 1, 2], "subsets, initial weights"),
        ([0, 0, 1], "subsets and, within a subset"),
    ],
)
def test_what_the_spread_is_over_is_read_from_the_seeds(subsets, words):
    trials = [trial(1, 13, seed=i, subset_seed=s) for i, s in enumerate(subsets)]
    (meaning,) = spread_meaning(split_into_panels(trials)[0].cells.values())
    assert words in meaning


def test_runs_without_a_test_split_have_no_summary():
    cell = split_into_panels([trial(test=None, max_on_test=None)])[0].cell(1, 13)
    assert cell.summary("final") is None
    assert cell.summary("selected", "validation").mean == 0.15


def test_gain_pairs_the_runs_of_equal_seeds():
    soft = [trial(1, 13, 0.15 + 0.01 * s, seed=s) for s in (0, 1)]
    hard = [trial(1, None, 0.05 + 0.01 * s, seed=s) for s in (0, 1, 2)]
    (panel,) = split_into_panels(soft + hard)
    gain = panel.cell(1, 13).gain_over(panel.cell(1, None), "final")
    assert (gain.n, gain.paired) == (2, True)
    assert (gain.mean, gain.ci_low, gain.ci_high) == pytest.approx((0.1, 0.1, 0.1))
