"""Sweep folders are read and joined; what does not fit is refused by name."""

from __future__ import annotations

import json

import pytest
from report_synthetic_sweep import grid, trial, write_sweep

from engine.errors import ArtefactError, DamageError, MismatchError, UsageError
from engine.report.sweeps import read_sweeps
from engine.sweep.ledger import Ledger


def trial_file(sweep):
    return next((sweep / "trials").glob("*/*.json"))


def test_two_sweeps_are_joined_and_a_shared_trial_counts_once(tmp_path):
    first, second = grid({(1, 13): 0.15}), grid({(1, 13): 0.15, (10, 13): 0.3})
    a, b = write_sweep(tmp_path / "a", first), write_sweep(tmp_path / "b", second)
    results = read_sweeps([a, b])
    assert len(results.trials) == 6
    assert results.sweeps == ("a", "b")


def test_a_sweep_named_twice_is_read_once(tmp_path):
    sweep = write_sweep(tmp_path / "a", grid({(1, 13): 0.15}))
    assert read_sweeps([sweep, tmp_path / "." / "a"]).sweeps == ("a",)


def test_a_single_path_is_a_sweep_not_a_sequence_of_letters(tmp_path):
    sweep = write_sweep(tmp_path / "a", grid({(1, 13): 0.15}))
    assert len(read_sweeps(str(sweep)).trials) == 3


def test_a_trial_that_succeeded_in_one_sweep_is_done(tmp_path):
    done = trial(1, 13, 0.15)
    failed = {**done, "status": "failed", "error": "boom"}
    a, b = write_sweep(tmp_path / "a", [failed]), write_sweep(tmp_path / "b", [done])
    for order in ([a, b], [b, a]):
        assert [t.done for t in read_sweeps(order).trials] == [True]


def test_one_trial_with_two_results_is_noted(tmp_path):
    done = trial(1, 13, 0.15)
    other = {**trial(1, 13, 0.16), "id": done["id"]}
    a, b = write_sweep(tmp_path / "a", [done]), write_sweep(tmp_path / "b", [other])
    results = read_sweeps([a, b])
    assert results.trials[0].test["final"] == 0.15
    assert "different results in a and b" in results.notes[0]


@pytest.mark.parametrize(("word", "notes"), [("best-on-test", 1), ("best", 0)])
def test_a_plan_that_chose_epochs_on_test_is_noted(tmp_path, word, notes):
    plan = {"grids": [{"ipc": [1], "expert_epochs": [word]}]}
    sweep = write_sweep(tmp_path / "s", grid({(1, 13): 0.15}), plan=plan)
    found = [note for note in read_sweeps(sweep).notes if "chose expert epochs on test" in note]
    assert len(found) == notes


def test_that_a_plan_chose_epochs_on_test_is_noted_after_the_sweep_was_extended(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid({(1, 13): 0.15}))
    ledger = Ledger(sweep)
    head = ledger.head()
    noted = []
    for epochs in ([4], ["best-on-test"], [13, 41], [7]):
        ledger.begin({**head, "plan": {"grids": [{"ipc": [1], "expert_epochs": epochs}]}})
        noted.append("chose expert epochs on test" in " ".join(read_sweeps(sweep).notes))
    assert noted == [False, True, True, True]


def test_experts_that_share_a_name_are_told_apart_by_their_run(tmp_path):
    experts = [{"name": "d3", "run_id": run, "epochs": {}} for run in ("aaaa", "bbbb")]
    trials = [trial(1, 13, 0.1, cell={"expert": "d3"}), trial(1, 13, 0.2, cell={"expert": "d3"})]
    sweeps = [
        write_sweep(tmp_path / expert["run_id"], [record], experts=[expert])
        for record, expert in zip(trials, experts, strict=True)
    ]
    names = [t.axes["expert"] for t in read_sweeps(sweeps).trials]
    assert names == ["d3 (run aaaa)", "d3 (run bbbb)"]


def test_experts_of_several_sweeps_complete_each_other(tmp_path):
    def expert(**numbers):
        return [{"name": "d3", "run_id": "r", "epochs": {"13": numbers}}]

    trials = grid({(1, 13): 0.15})
    a = write_sweep(tmp_path / "a", trials, experts=expert(test=0.32, train=None))
    b = write_sweep(tmp_path / "b", trials, experts=expert(train=0.29, label_entropy=3.25))
    (row,) = read_sweeps([a, b]).experts
    assert (row.epoch, row.test, row.train, row.label_entropy) == (13, 0.32, 0.29, 3.25)


def test_sweeps_of_different_datasets_are_refused_with_both_ids(tmp_path):
    a = write_sweep(tmp_path / "a", grid({(1, 13): 0.15}))
    b = write_sweep(tmp_path / "b", grid({(1, 13): 0.15}), dataset={"id": "f" * 16})
    with pytest.raises(MismatchError, match=r"d{16}.*f{16}"):
        read_sweeps([a, b])


def test_a_trial_of_another_dataset_is_refused_with_its_file(tmp_path):
    sweep = write_sweep(tmp_path / "a", [trial(1, 13, 0.1, parents={"dataset": "f" * 16})])
    with pytest.raises(MismatchError, match=r"f{16} in .*\.json"):
        read_sweeps([sweep])


def test_a_folder_without_a_sweep_says_how_to_make_one(tmp_path):
    with pytest.raises(ArtefactError, match="engine sweep-students"):
        read_sweeps([tmp_path])


def test_no_folder_at_all_is_wrong_usage():
    with pytest.raises(UsageError, match="at least one sweep"):
        read_sweeps([])


def test_a_sweep_without_trials_says_so(tmp_path):
    with pytest.raises(ArtefactError, match="finished trials"):
        read_sweeps([write_sweep(tmp_path / "a", [])])


def test_a_trial_that_lacks_a_key_is_named_by_file_and_key(tmp_path):
    record = trial(1, 13, 0.15)
    del record["result"]["selected"]
    sweep = write_sweep(tmp_path / "a", [record])
    with pytest.raises(ArtefactError, match=rf'{record["id"]}\.json: "result.selected" is missing'):
        read_sweeps([sweep])


def test_a_trial_under_another_name_is_refused(tmp_path):
    sweep = write_sweep(tmp_path / "a", [trial(1, 13, 0.15)])
    trial_file(sweep).rename(trial_file(sweep).with_name("other.json"))
    with pytest.raises(ArtefactError, match=r"named other\.json"):
        read_sweeps([sweep])


def test_a_changed_result_is_found(tmp_path):
    sweep = write_sweep(tmp_path / "a", [trial(1, 13, 0.15)])
    file = trial_file(sweep)
    file.write_text(file.read_text().replace("0.15", "0.95"))
    with pytest.raises(DamageError, match=file.name):
        read_sweeps([sweep])


def test_a_damaged_sweep_file_names_the_command_that_writes_it_anew(tmp_path):
    sweep = write_sweep(tmp_path / "a", [trial(1, 13, 0.15)])
    (sweep / "sweep.json").write_bytes(b"")
    with pytest.raises(DamageError, match=rf"run the sweep again \(`engine .* --out {sweep}`"):
        read_sweeps([sweep])


def test_an_experts_accuracy_that_is_no_number_is_named_by_file(tmp_path):
    experts = [{"name": "d3", "run_id": "r", "epochs": {"13": {"test": "high"}}}]
    sweep = write_sweep(tmp_path / "a", grid({(1, 13): 0.15}), experts=experts)
    with pytest.raises(ArtefactError, match=r"sweep\.json: .*high"):
        read_sweeps([sweep])


def test_what_a_running_sweep_is_still_writing_is_left_alone(tmp_path):
    sweep = write_sweep(tmp_path / "a", [trial(1, 13, 0.15)])
    trial_file(sweep).with_name(".half.json").write_text('{"kind": "tri')
    assert len(read_sweeps([sweep]).trials) == 1


def test_progress_counts_the_trials(tmp_path):
    seen = []
    sweep = write_sweep(tmp_path / "a", grid({(1, 13): 0.15}))
    read_sweeps([sweep], progress=lambda *at: seen.append(at))
    assert seen == [("read trials", i, 3) for i in (1, 2, 3)]


def test_a_sweep_file_of_another_kind_is_refused(tmp_path):
    from engine.records import write_record

    write_record(tmp_path / "sweep.json", {"kind": "dataset"})
    with pytest.raises(ArtefactError, match="holds a dataset, expected a sweep"):
        read_sweeps([tmp_path])
    assert json.loads((tmp_path / "sweep.json").read_text())["kind"] == "dataset"
