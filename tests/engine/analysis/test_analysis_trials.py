"""One trial record in, one `Trial` out; a wrong record is refused by the name of its key."""

from __future__ import annotations

import pytest
from analysis_record import record

from engine.analysis import parse_trial


def test_a_record_is_read_into_its_cell_and_accuracies():
    trial = parse_trial(record(10, 36, 0.32, validation=0.31, max_on_test=0.33), sweep="s")
    assert (trial.ipc, trial.labels, trial.expert_epoch, trial.sweep) == (10, "soft", 36, "s")
    assert trial.test == {"final": 0.32, "selected": 0.32, "max_on_test": 0.33}
    assert trial.validation == {"final": 0.31, "selected": 0.31}
    assert trial.dataset == "d1"


def test_hard_labels_have_no_expert_epoch():
    assert parse_trial(record(1, None)).expert_epoch is None


def test_an_absent_split_is_none_and_not_zero():
    trial = parse_trial(record(test=None, validation=None, max_on_test=None))
    assert set(trial.test.values()) == {None}
    assert set(trial.validation.values()) == {None}


def test_a_measure_that_is_null_as_a_whole_is_not_measured():
    tree = record()
    tree["result"]["selected"] = None
    trial = parse_trial(tree)
    assert (trial.test["selected"], trial.validation["selected"]) == (None, None)
    assert trial.test["final"] == 0.158


def test_whatever_else_the_cell_says_is_an_axis():
    axes = parse_trial(record(cell={"transform": {"name": "swap_ith", "i": 2}})).axes
    assert axes["transform.name"] == "swap_ith"
    assert axes["transform.i"] == 2
    assert axes["temperature"] == 1.0
    assert "ipc" not in axes


def test_the_students_settings_are_axes_but_seeds_and_repetitions_are_not():
    axes = parse_trial(record(student={"epochs": 30, "init_seed": 4, "seed": 4, "lr": 0.01})).axes
    assert axes["student.epochs"] == 30
    assert not {name for name in axes if "seed" in name or name.endswith(".lr")}


def test_an_expert_can_be_given_a_name_unique_among_sweeps():
    trial = parse_trial(record(), expert_names={"d3-s0": "d3-s0 (run abc)"})
    assert trial.axes["expert"] == "d3-s0 (run abc)"


def test_a_failed_trial_needs_no_result():
    tree = record(status="failed")
    del tree["result"]
    trial = parse_trial({**tree, "error": "boom"})
    assert (trial.done, trial.error) == (False, "boom")


@pytest.mark.parametrize(
    "path",
    [
        *("id", "status", "seeds", "cell", "cell.ipc", "cell.labels", "cell.expert_epoch"),
        *("result", "result.final", "result.selected", "result.max_on_test"),
        *("result.final.test", "result.selected.validation"),
    ],
)
def test_a_missing_key_is_named(path):
    tree = record()
    *parents, last = path.split(".")
    at = tree
    for key in parents:
        at = at[key]
    del at[last]
    with pytest.raises(ValueError, match=f'"{path}"'):
        parse_trial(tree)


@pytest.mark.parametrize("accuracy", [15.8, -0.1, float("nan"), "0.1", True])
def test_an_accuracy_that_is_no_fraction_is_refused(accuracy):
    with pytest.raises(ValueError, match=r'"result.final.test" is .* fraction from 0 to 1'):
        parse_trial(record(test=accuracy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "sweep"}, '"kind"'),
        ({"status": "running"}, '"status"'),
        ({"seeds": {"init_seed": "0"}}, '"seeds.init_seed"'),
        ({"parents": []}, '"parents"'),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        parse_trial({**record(), **change})


@pytest.mark.parametrize("cell", [{"ipc": 0}, {"ipc": True}, {"labels": "fuzzy"}])
def test_a_cell_that_cannot_be_is_refused(cell):
    with pytest.raises(ValueError, match=f'"cell.{next(iter(cell))}"'):
        parse_trial(record(cell=cell))
